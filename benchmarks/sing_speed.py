"""Measure how fast speech is sung by the engine `world` on one core, and where the time goes.

Run: python benchmarks/sing_speed.py [--seconds 60] [--speech FILE] [--markdown docs/speed.md]

CPU seconds of this process, as a share of the seconds that are sung: below 1 is faster than real time. A voice that is made by code
speaks where no file is given.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time

import numpy as np
from measuring import Table, parser, publish

from songfoundry.audio import io
from songfoundry.audio.pieces import resample
from songfoundry.singing.engine import Controls, WorldSinger
from songfoundry.voice import world
from songfoundry.voice.tune import Tune, TuneNote

SCALE = (0, 2, 4, 5, 7, 9, 7, 5, 4, 2)


def made_voice(rate: int, seconds: float) -> np.ndarray:
    """Make a buzz in syllables: float32 (samples,)."""
    clock = np.arange(round(seconds * rate)) / rate
    buzz = sum(np.sin(2 * np.pi * 130 * k * clock) / k for k in range(1, 30))
    return (0.1 * buzz * np.clip(np.sin(2 * np.pi * 2 * clock), 0, 1)).astype(np.float32)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=60.0, help="that are sung")
    options.add_argument("--speech", help="a recording; default: a voice made by code, 5 s")
    options = options.parse_args()
    table = Table(
        f"CPU seconds for a second of singing, {options.seconds:g} s sung from a few seconds of speech, one core.",
        "rate", "speech, s", "analysis", "plan", "synthesis", "sum",
    )  # fmt: skip
    tune = Tune(tuple(TuneNote(0.5 * k, 0.5 * k + 0.48, 50 + SCALE[k % len(SCALE)]) for k in range(round(2 * options.seconds))))
    for rate in (16000, 44100):
        if options.speech:
            clip = io.read(options.speech)
            speech = resample(clip.samples.mean(0, keepdims=True), clip.rate, rate)[0]
        else:
            speech = made_voice(rate, 5.0)
        world.analyse(speech[: rate // 2], rate)  # what is imported and set up once
        marks = [time.process_time()]
        singer = WorldSinger()
        prepared = singer.prepare(speech, rate)
        marks.append(time.process_time())
        show = singer.perform(prepared, tune, Controls())
        marks.append(time.process_time())
        for _ in show.blocks():
            pass
        marks.append(time.process_time())
        parts = [(after - before) / options.seconds for before, after in zip(marks, marks[1:], strict=False)]
        table.add(f"{rate} Hz", f"{len(speech) / rate:.1f}", *parts, sum(parts))
    publish(table, options, "How fast speech is sung")


if __name__ == "__main__":
    main()
