"""Make single notes by code: additive tones of a few timbres, for tests, and as a set of notes that needs no file.

They are exactly in tune, so they also stand as a row beside generated notes: what plain additive synthesis gives.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from songfoundry.data.note_sets import Note, hashed_split

VELOCITIES = (0.25, 0.5, 0.75, 1.0)
"""The loudnesses that a set of tones holds."""
TAKES = 3
"""Tones of one timbre, pitch and velocity in a set, each with other random partials."""
LICENCE = "none needed (made by code)"
_HIGHEST = 0.47
"""Partials stay below this share of the sampling rate."""


@dataclass(frozen=True)
class Timbre:
    """Hold a timbre: how partial k is weighted and how the tone runs in time.

    `slope`: partial k has amplitude k ** -slope at full velocity; `even`: weight of the even partials; `decay`: seconds to -60 dB
    (0: it holds); `attack`, `release`: seconds; `bands`: resonances in Hz.
    """

    slope: float
    even: float = 1.0
    decay: float = 0.0
    attack: float = 0.02
    release: float = 0.2
    bands: tuple[float, ...] = ()


TIMBRES = {
    "bell": Timbre(0.8, decay=1.6, attack=0.002),
    "bright": Timbre(0.7, attack=0.04),
    "hollow": Timbre(1.0, even=0.05, attack=0.05),
    "plucked": Timbre(1.1, decay=0.9, attack=0.003),
    "soft": Timbre(2.5, attack=0.12),
    "vocal": Timbre(1.0, attack=0.08, bands=(700.0, 1150.0, 2900.0)),
}


def tone(name: str, pitch: float, velocity: float = 0.63, *, samples: int = 32768, rate: int = 16000, seed: int = 0) -> np.ndarray:
    """Make a tone.

    Parameters
    ----------
    name : a key of `TIMBRES`.
    pitch : MIDI number, fractions allowed; velocity : 0 to 1, soft is darker and slower.
    seed : draws phases, the balance of the partials and the length of the sounding part.

    Returns
    -------
    float32 (samples,), peak 1.
    """
    timbre, rng = TIMBRES[name], np.random.default_rng(seed)
    base = 440.0 * 2 ** ((pitch - 69) / 12)
    order = np.arange(1.0, max(2, int(_HIGHEST * rate / base) + 1))
    level = order ** -(timbre.slope + 0.8 * (1 - velocity)) * np.where(order % 2, 1.0, timbre.even)
    level *= 10 ** (rng.normal(0, 1.5, len(order)) / 20)
    if timbre.bands:
        level *= 0.05 + sum(1 / (1 + ((base * order - centre) / (0.12 * centre)) ** 2) for centre in timbre.bands)
    time = np.arange(samples) / rate
    sounding = samples / rate * rng.uniform(0.7, 0.95)
    # High partials of what is struck or plucked die first.
    lost = 6.9 * time / timbre.decay if timbre.decay else np.zeros(samples)
    turn = np.exp(2j * np.pi * base * time - 0.15 * lost).astype(np.complex64)
    partial, wave = np.exp(-0.85 * lost).astype(np.complex64), np.zeros(samples)
    for weight in (level * np.exp(2j * np.pi * rng.random(len(order)))).astype(np.complex64):
        # The next partial is the last one times the first: a product costs far less than a sine.
        partial *= turn
        wave += weight.real * partial.imag + weight.imag * partial.real
    wave *= np.minimum(1, time / (timbre.attack * (1.5 - 0.5 * velocity)))
    wave *= np.clip((sounding - time) / timbre.release + 1, 0, 1) ** 2
    return (wave / np.abs(wave).max()).astype(np.float32)


def made_notes(low: int, high: int) -> list[Note]:
    """List a set of tones: all timbres, pitches low..high (MIDI), velocities and takes; those of one note stand in one split."""
    return [
        Note(
            f"{name}/{pitch}/{velocity}/{take}", Path(), pitch, name, name, velocity, hashed_split(name, pitch, velocity), LICENCE,
        )
        for name in TIMBRES for pitch in range(low, high + 1) for velocity in VELOCITIES for take in range(TAKES)
    ]  # fmt: skip


class MadeNotes:
    """Make the tones of a set, each when it is asked for; `read` as of recorded notes."""

    def __init__(self, notes: Sequence[Note], rate: int, samples: int):
        self.notes, self.rate, self.samples = tuple(notes), rate, samples

    def read(self, number: int) -> np.ndarray:
        """Make a tone: float32 (samples,), peak 1."""
        note = self.notes[number]
        seed = zlib.crc32(note.name.encode())
        return tone(note.instrument, note.pitch, note.velocity, samples=self.samples, rate=self.rate, seed=seed)
