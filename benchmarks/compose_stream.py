"""Measure writing as a user meets it: all rules on, note by note, from a made prompt of a piano and a bass.

Run: python benchmarks/compose_stream.py [--model NAME ...] [--markdown docs/speed.md]

Each model writes in a fresh process, twice: seconds from the first call to the first note (reading the prompt, finding its key
and style, building the rules, reading it by the net), and notes a CPU second. Real time is what the written notes last.
"""

import argparse
import json
import sys
import time

from measuring import Table, parser, publish, run

BARS = 16


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--model", nargs="*", default=["transformer", "lstm"], help="names or files")
    options.add_argument("--write", metavar="MODEL", help=argparse.SUPPRESS)
    options = options.parse_args()
    if options.write:
        print(json.dumps(written(options.write)))
        return
    columns = ("model", "import and load, s", "to the first note, s", "the second time, s", "notes a CPU second", "times real time")
    table = Table(f"Writing {BARS} bars with all locks on, {options.threads} thread(s), in a fresh process.", *columns)
    for model in options.model:
        row = json.loads(run([sys.executable, __file__, "--write", model], threads=options.threads).output)
        table.add(model, row["load"], *row["first"], row["notes"], row["real"])
    publish(table, options, "Writing music note by note")


def written(name: str) -> dict:
    """Load a model and let it go on from a prompt twice."""
    begun = time.perf_counter()
    from songfoundry.composing.composer import Composer

    composer = Composer(name, threads=1)
    load, first = time.perf_counter() - begun, []
    prompt = made_prompt()
    for seed in (0, 1):
        begun = time.process_time()
        stream = composer.stream(prompt, bars=BARS, seed=seed)
        for event in stream:
            last = event.seconds + event.sounds
        seconds = time.process_time() - begun
        first.append(stream.first_seconds)
    return {"load": load, "first": first, "notes": stream.notes / seconds, "real": last / seconds}


def made_prompt():
    """Make eight bars of 4/4 at 120: chords of three on the quarters of a piano, a bass below them: 16 notes a bar."""
    import symusic

    score = symusic.Score(480)
    score.tempos.append(symusic.Tempo(0, qpm=120))
    score.time_signatures.append(symusic.TimeSignature(0, 4, 4))
    chords, roots = ((60, 64, 67), (57, 60, 64), (53, 57, 60), (55, 59, 62)), ((36,), (33,), (41,), (43,))
    for program, bars in ((0, chords), (32, roots)):
        track = symusic.Track("", program)
        for beat in range(32):
            for pitch in bars[beat // 4 % 4]:
                track.notes.append(symusic.Note(480 * beat, 480, pitch, 90))
        score.tracks.append(track)
    return score


if __name__ == "__main__":
    main()
