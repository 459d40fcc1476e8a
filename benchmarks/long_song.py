"""Compare the peak memory of a long song with that of a short one, through the command line, file to files.

Run: python benchmarks/long_song.py [--minutes 30 | --hours 3] [--model PATH | --smallest] [--markdown docs/speed.md]

`--smallest` takes a net of next to no work, for the streaming alone. Three hours need 12 GB of free disk.
"""

import tempfile
from pathlib import Path

from measuring import Table, default_model, make_model, make_song, parser, publish, run, separation

SMALLEST = {"preset": "tiny", "net_options": {"features": 8, "hidden": 8, "layers": 1, "mask_hidden": 8}}
SHORT_MINUTES = 3


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, default=30.0)
    options.add_argument("--hours", type=float)
    options.add_argument("--model", help="name or path; default: the shipped one, else random weights of its kind")
    options.add_argument("--smallest", action="store_true", help="a net of next to no work")
    options = options.parse_args()
    minutes = options.hours * 60 if options.hours else options.minutes
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        if options.smallest:
            model, name = make_model(folder / "smallest.safetensors", **SMALLEST), "the smallest net"
        else:
            model, name = default_model(folder, options.model)
        for length in (SHORT_MINUTES, minutes):
            song = make_song(folder / "song.wav", length * 60)
            command = separation(song, folder / "out", model, "--threads", str(options.threads))
            rows.append((length, run(command, options.threads)))
    about = f"44.1 kHz stereo, wav to four wav files, {name}, {options.threads} thread(s)."
    table = Table(about, "song, minutes", "peak MiB", "ratio", "CPU s a minute", "wall s")
    for length, one in rows:
        table.add(length, one.peak, one.peak / rows[0][1].peak, one.cpu / length, one.wall)
    table.notes.append("The promise: a ratio of 0.9 to 1.1, and less than 1536 MiB.")
    publish(table, options, "Memory of long songs")


if __name__ == "__main__":
    main()
