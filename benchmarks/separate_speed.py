"""Measure the separation of a song from file to files: real-time factor, CPU seconds, peak memory; a peer beside it.

Run: python benchmarks/separate_speed.py [--peer] [--peer-python PATH] [--markdown docs/speed.md]

The peer is demucs 4.1's `htdemucs`, built with its published arguments and random weights, which cost what trained ones do.
Where it is not installed (`pip install --no-deps demucs==4.1.0 einops julius`), its row is left out with a sentence.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import Table, default_model, make_song, parser, publish, run, separation

PEER = "demucs 4.1, htdemucs"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--model", help="name or path; default: the shipped one, else random weights of its kind")
    options.add_argument("--peer", action="store_true", help="measure demucs too")
    options.add_argument("--peer-python", default=sys.executable, help="a Python that has demucs")
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        song = make_song(folder / "song.wav", options.seconds)
        model, name = default_model(folder, options.model)
        found = {}
        for label, extra in ((f"songfoundry, {name}", ()), ("the same in bfloat16", ("--precision", "bfloat16"))):
            command = separation(song, folder / "out", model, "--threads", str(options.threads), *extra)
            found[label] = run(command, options.threads)
        missing = None
        if options.peer:
            missing = _missing(options.peer_python)
            if not missing:
                script = Path(__file__).with_name("demucs_peer.py")
                found[PEER] = run([options.peer_python, script, song, folder / "peer"], options.threads)
    about = f"{options.seconds:g} s of 44.1 kHz stereo, wav to four wav files, {options.threads} thread(s)"
    columns = ("program", "wall s", "times real time", "CPU s", "CPU, ratio", "peak MiB", "peak, ratio")
    table = Table(f"{about}, the start of the program included.", *columns)
    first = next(iter(found.values()))
    for label, one in found.items():
        table.add(label, one.wall, options.seconds / one.wall, one.cpu, one.cpu / first.cpu, one.peak, one.peak / first.peak)
    table.notes.append("Ratios hold on a busy machine too; wall seconds only on a quiet one.")
    if missing:
        table.notes.append(missing)
    publish(table, options, "Separating a minute")


def _missing(python: str) -> str | None:
    """Say in a sentence that the peer cannot be imported; None where it can."""
    tried = subprocess.run([python, "-c", "import demucs.htdemucs, demucs.apply"], capture_output=True, text=True)
    if tried.returncode == 0:
        return None
    reason = (tried.stderr.strip().splitlines() or ["no reason given"])[-1]
    return f"No row for {PEER}: it cannot be imported ({reason}); `pip install --no-deps demucs==4.1.0 einops julius` brings it."


if __name__ == "__main__":
    main()
