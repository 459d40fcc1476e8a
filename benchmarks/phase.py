"""Measure how well phase comes back from magnitudes, and notes and mixes from their images, and how long that takes.

Run: python benchmarks/phase.py --threads 1 [--data DIR] [--count 24] [--markdown docs/results.md]

Notes made by code, recorded notes and excerpts of mixes (2.048 s at 16 kHz each) are treated one at a time; the data folder is that
which SONGFOUNDRY_DATA names. Two tables: the spectral convergence of phases found from true magnitudes, and how far images are from
those of the waveforms that come of them.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measuring import Table, parser, publish
from torch import Tensor

from songfoundry.data.places import data_root
from songfoundry.data.single_notes import SingleNotes, SingleNotesConfig
from songfoundry.data.songs import find_songs, read_song
from songfoundry.spectral import Frames, InstantaneousMel, LogMel, griffin_lim, pghi

RATE, SAMPLES, HOP = 16000, 32768, 256
SONGS = ("musicdelta/MusicDelta_80sRock", "musicdelta/MusicDelta_Punk", "everythingisfree/5.Rubidium")
SECONDS = SAMPLES / RATE


def made_notes(count: int) -> Tensor:
    """Make additive notes (count, samples): pitch, brightness, decay, vibrato and the harmonics' phases are drawn."""
    rng = np.random.default_rng(0)
    clock = np.arange(SAMPLES) / RATE
    notes = []
    for _ in range(count):
        base = 440 * 2 ** ((rng.integers(36, 84) - 69) / 12)
        slope, decay, depth = rng.uniform(0.5, 2), rng.uniform(0.3, 3), 0.004 * rng.integers(0, 2)
        angle = 2 * np.pi * np.cumsum(base * (1 + depth * np.sin(2 * np.pi * 5 * clock))) / RATE
        wave = np.zeros(SAMPLES)
        for harmonic in range(1, int(7600 / base) + 1):
            part = np.sin(harmonic * angle + rng.uniform(0, 2 * np.pi))
            wave += harmonic**-slope * np.exp(-decay / 2 * clock * harmonic**0.5) * part
        wave *= np.minimum(1, clock / 0.02) * np.minimum(1, (SECONDS - clock) / 0.1)
        notes.append(wave / np.abs(wave).max())
    return torch.from_numpy(np.array(notes, np.float32))


def recorded_notes(folder: Path, count: int) -> Tensor:
    """Read notes of the validation split (count, samples), spread over the instruments."""
    draws = SingleNotes(SingleNotesConfig(folders=[{"path": str(folder)}], samples=SAMPLES, rate=RATE))
    notes = [torch.as_tensor(note["waveform"]) for note in draws.validation()]
    return torch.stack(notes[:: max(1, len(notes) // count)][:count])


def mixes(folder: Path, count: int) -> Tensor:
    """Cut excerpts (count, samples) out of mixed songs, mono."""
    songs = find_songs(folder, SONGS)
    pieces = []
    for song in songs:
        mix = sum(stem.mean(0) for stem in read_song(song, RATE).values())
        starts = np.linspace(0.1 * len(mix), 0.9 * len(mix) - SAMPLES, -(-count // len(songs))).astype(int)
        pieces += [mix[start : start + SAMPLES] for start in starts]
    return torch.from_numpy(np.stack(pieces[:count]).astype(np.float32))


def measured(work: Callable[[Tensor], Tensor], items: Tensor) -> tuple[Tensor, float]:
    """Do something to each item alone; return the results and the median CPU seconds of one."""
    work(items[:1])
    seconds, results = [], []
    for item in items:
        begun = time.process_time()
        results.append(work(item[None]))
        seconds.append(time.process_time() - begun)
    return torch.cat(results), float(np.median(seconds))


def convergence(sets: dict[str, Tensor], threads: int) -> Table:
    """Find the phase of true magnitudes in every way."""
    frames = Frames(1024, HOP)
    ways = {
        "Griffin-Lim 32": lambda m: griffin_lim(m, HOP),
        "fast Griffin-Lim 16": lambda m: griffin_lim(m, HOP, iterations=16, momentum=0.99),
        "fast Griffin-Lim 32": lambda m: griffin_lim(m, HOP, momentum=0.99),
        "PGHI": lambda m: griffin_lim(m, HOP, iterations=0, start=pghi(m, HOP)),
        "PGHI, bins down to -80 dB": lambda m: griffin_lim(m, HOP, iterations=0, start=pghi(m, HOP, tolerance=1e-4)),
        "**PGHI + 16 fast Griffin-Lim**": lambda m: griffin_lim(m, HOP, iterations=16, momentum=0.99, start=pghi(m, HOP)),
        "the same, compiled (numba)": lambda m: griffin_lim(
            m, HOP, iterations=16, momentum=0.99, start=pghi(m, HOP, compiled=True)
        ),
        "PGHI alone, no waveform": lambda m: pghi(m, HOP),
        "the same, compiled (numba)  ": lambda m: pghi(m, HOP, compiled=True),
    }
    table = Table(
        f"Spectral convergence in dB (mean over items; lower is better) of n_fft 1024, hop {HOP}; CPU ms for 2.048 s; {threads} thread(s).",
        "phase", *sets, "CPU ms", "times real time",
    )  # fmt: skip
    for name, way in ways.items():
        cells, seconds = [], []
        for waves in sets.values():
            magnitude = frames(waves).abs()
            result, spent = measured(way, magnitude)
            seconds.append(spent)
            if result.dim() == 3:
                cells.append("")
                continue
            distance = (frames(result).abs() - magnitude).flatten(1).norm(dim=1) / magnitude.flatten(1).norm(dim=1)
            cells.append(f"{20 * float(torch.log10(distance).mean()):.1f}")
        spent = float(np.mean(seconds))
        table.add(name.strip(), *cells, 1e3 * spent, SECONDS / spent)
    return table


def images(sets: dict[str, Tensor], threads: int) -> Table:
    """Turn waveforms into images and those into waveforms again."""
    ruler, frames = LogMel(), Frames(1024, HOP)
    small, instantaneous = LogMel(mels=128), InstantaneousMel()
    ways = {
        "**mel 256, PGHI + 16 fast Griffin-Lim**": (ruler, {}),
        "mel 256, PGHI + 16 fast Griffin-Lim, compiled (numba)": (ruler, {"compiled": True}),
        "mel 256, fast Griffin-Lim 32": (ruler, {"phase": "fast_griffinlim"}),
        "mel 256, Griffin-Lim 32": (ruler, {"phase": "griffinlim"}),
        "mel 128, PGHI + 16 fast Griffin-Lim": (small, {}),
        "mel 128, Griffin-Lim 32": (small, {"phase": "griffinlim"}),
        "IF-mel 1024 (GANSynth)": (instantaneous, {}),
    }
    columns = [f"{name}, {what}" for name in sets for what in ("mel dB", "bins dB")]
    table = Table(
        "Mean distance in dB where the true one is in its top 60 dB, of the 256-mel images (mel) and of the magnitudes at n_fft 1024 "
        f"(bins); CPU ms to invert 2.048 s, mel inverse included; {threads} thread(s).",
        "image and way back", *columns, "CPU ms", "times real time",
    )  # fmt: skip
    for name, (image, options) in ways.items():
        cells, seconds = [], []
        for waves in sets.values():
            back, spent = measured(lambda drawn, image=image, options=options: image.invert(drawn, **options), image(waves))
            seconds.append(spent)
            mel, bins = (_distance(level(waves), level(back)) for level in (lambda w: 30 * ruler(w), lambda w: _decibels(frames(w).abs())))
            cells += [f"{mel:.2f}", f"{bins:.2f}"]
        spent = float(np.mean(seconds))
        table.add(name, *cells, 1e3 * spent, SECONDS / spent)
    return table


def _decibels(magnitude: Tensor) -> Tensor:
    """Give levels below each item's peak, cut 60 dB down: -30 to 30 dB, as the image has it."""
    relative = magnitude / magnitude.amax((1, 2), keepdim=True)
    return 20 * torch.log10(relative.clamp(min=1e-3)) + 30


def _distance(true: Tensor, found: Tensor) -> float:
    return float((found - true).abs()[true > -30 + 0.03].mean())


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--data", type=Path, default=data_root(), help="the folder with notes/ and songs/; without it, made notes alone")
    options.add_argument("--count", type=int, default=24, help="items of each kind")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    sets = {"made notes": made_notes(options.count)}
    if options.data:
        sets["recorded notes"] = recorded_notes(options.data / "notes", options.count)
        sets["mixes"] = mixes(options.data / "songs", options.count)
    publish(convergence(sets, options.threads), options, "Phase from magnitude")
    publish(images(sets, options.threads), options, "Images of sound and back")


if __name__ == "__main__":
    main()
