"""Make the notes that stand in the rows of an evaluation: by a model, from the nearest training note, by adding sines."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from scipy import fft, signal

from songfoundry.systems.note import Note

__all__ = ["Additive", "Made", "NoteSet", "Shifted", "gather"]

_BATCH = 16
_GUARD = 256
"""Samples of silence that part a note's end from its beginning, which Fourier's sums join."""
_STEADY = 8192
"""Samples, from the loudest part of a note on, in which its partials are measured."""
_ENVELOPE_HOP = 160
_HIGHEST = 0.47
"""Partials stay below this share of the sampling rate."""


@dataclass
class NoteSet:
    """Hold notes: `waveform` int16 (notes, samples), peak at full scale; `pitch` int64 (notes,), MIDI; `instrument` int64 (notes,)."""

    waveform: np.ndarray
    pitch: np.ndarray
    instrument: np.ndarray

    def __len__(self) -> int:
        return len(self.pitch)

    def waves(self, chosen=slice(None)) -> np.ndarray:
        """Give the waveforms of some notes, float32 (notes, samples), peak 1."""
        return self.waveform[chosen].astype(np.float32) / np.float32(32767)

    def only(self, instruments: Iterable[int]) -> "NoteSet":
        """Give the notes of some instruments."""
        kept = np.isin(self.instrument, list(instruments))
        return NoteSet(self.waveform[kept], self.pitch[kept], self.instrument[kept])


def gather(notes: Iterable[dict], samples: int, most: int) -> NoteSet:
    """Collect what `SingleNotes.held_out` gives, at most so many, cut or filled up to so many samples."""
    rows, labels = [], []
    for note in islice(notes, most):
        rows.append(np.round(fitted(note["waveform"], samples) * 32767).astype(np.int16))
        labels.append((note["pitch"], note["instrument"]))
    pitch, instrument = np.array(labels, np.int64).reshape(-1, 2).T
    return NoteSet(np.array(rows, np.int16).reshape(-1, samples), pitch, instrument)


def fitted(waveform: np.ndarray, samples: int) -> np.ndarray:
    """Cut waveforms (..., any) or fill them up with silence, to float32 (..., samples), and bring each to a peak of 1."""
    waveform = np.asarray(waveform, np.float32)[..., :samples]
    room = [(0, 0)] * (waveform.ndim - 1) + [(0, samples - waveform.shape[-1])]
    waveform = np.pad(waveform, room)
    return waveform / np.maximum(np.abs(waveform).max(axis=-1, keepdims=True), 1e-9)


class Made:
    """Make notes with a model.

    Parameters
    ----------
    instruments : of the evaluation; `make` takes their numbers, of those alone that the model has.
    """

    def __init__(self, system: Note, instruments: list[str], samples: int):
        self.system, self.samples = system, samples
        self._numbers = np.array([system.instruments.index(name) if name in system.instruments else -1 for name in instruments])

    def make(self, pitch: np.ndarray, instrument: np.ndarray, latent: np.ndarray) -> np.ndarray:
        """Make notes, float32 (notes, samples), peak 1; each of `latent` is the number of a timbre, the same at all pitches."""
        drawn = {number: self.system.latents(1, number)[0] for number in set(latent.tolist())}
        made = []
        for start in range(0, len(pitch), _BATCH):
            part = slice(start, start + _BATCH)
            made.append(self.system.notes(
                torch.stack([drawn[number] for number in latent[part].tolist()]),
                torch.as_tensor(pitch[part], device=self.system.device),
                torch.as_tensor(self._numbers[instrument[part]], device=self.system.device),
            ).cpu().numpy())  # fmt: skip
        return fitted(np.concatenate(made), self.samples)

    def by_way_of_images(self, waveform: np.ndarray) -> np.ndarray:
        """Turn notes, float32 (notes, samples), into the model's images and back: what is lost without any net."""
        with torch.no_grad():
            parts = torch.from_numpy(fitted(waveform, self.system.config.samples)).split(_BATCH)
            made = [self.system.waveforms(self.system.images(part.to(self.system.device))).cpu().numpy() for part in parts]
        return fitted(np.concatenate(made), self.samples)


class Shifted:
    """Play the nearest training note of another pitch at another speed: what takes a sampler and no learning."""

    def __init__(self, train: NoteSet):
        self.train = train

    def near(self, pitch: int, instrument: int, latent: int) -> int:
        """Choose a training note: of the pitch that is nearest without being the one asked for (of two the lower), by a number."""
        own = np.flatnonzero(self.train.instrument == instrument)
        pitches = self.train.pitch[own]
        distance = np.abs(pitches - pitch) + 0.1 * (pitches > pitch)
        others = distance > 0
        # An instrument with one pitch alone has no other.
        distance = np.where(others, distance, np.inf) if others.any() else distance
        nearest = own[distance == distance.min()]
        return int(nearest[latent % len(nearest)])

    def make(self, pitch: np.ndarray, instrument: np.ndarray, latent: np.ndarray) -> np.ndarray:
        """Make notes; see `Made.make`."""
        found = np.zeros((len(pitch), self.train.waveform.shape[1]), np.float32)
        for number, (wanted, player, which) in enumerate(zip(pitch, instrument, latent, strict=True)):
            source = self.near(wanted, player, which)
            found[number] = self._moved(self.train.waves(source), wanted - self.train.pitch[source])
        return found

    def _moved(self, waveform: np.ndarray, semitones: float) -> np.ndarray:
        long = fft.next_fast_len(len(waveform) + _GUARD)
        speed = 2 ** (semitones / 12)
        moved = signal.resample(np.pad(waveform, (0, long - len(waveform))), round(long / speed))
        return fitted(moved[: round(len(waveform) / speed)], len(waveform))


class Additive(Shifted):
    """Add sines at the partials' frequencies, with the mean levels of the nearest training note and its one envelope."""

    def __init__(self, train: NoteSet, rate: int):
        super().__init__(train)
        self.rate = rate

    def make(self, pitch: np.ndarray, instrument: np.ndarray, latent: np.ndarray) -> np.ndarray:
        """Make notes; see `Made.make`."""
        samples = self.train.waveform.shape[1]
        found = np.zeros((len(pitch), samples), np.float32)
        for number, (wanted, player, which) in enumerate(zip(pitch, instrument, latent, strict=True)):
            source = self.near(wanted, player, which)
            levels, envelope = self._analysed(self.train.waves(source), self.train.pitch[source])
            base = _hertz(wanted)
            levels = levels[: int(_HIGHEST * self.rate / base)]
            # Phases by the order alone: in step they would make a pulse.
            order = np.arange(1, len(levels) + 1)
            turns = base / self.rate * np.arange(samples)
            phases = np.pi * order * (order - 1) / max(1, len(order))
            wave = sum(level * np.sin(2 * np.pi * k * turns + p) for level, k, p in zip(levels, order, phases, strict=True))
            found[number] = fitted(wave * envelope, samples)
        return found

    def _analysed(self, waveform: np.ndarray, pitch: int) -> tuple[np.ndarray, np.ndarray]:
        """Measure a note: amplitudes of its partials (partials,), and its course in time (samples,)."""
        power = np.square(waveform, dtype=np.float64)
        smooth = np.ones(4 * _ENVELOPE_HOP) / (4 * _ENVELOPE_HOP)
        envelope = np.sqrt(np.maximum(signal.fftconvolve(power, smooth, mode="same"), 0))
        start = min(int(envelope.argmax()), max(0, len(waveform) - _STEADY))
        part = waveform[start : start + _STEADY]
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 4 * _STEADY))
        base = _hertz(pitch) * 4 * _STEADY / self.rate
        count = max(1, int(_HIGHEST * 4 * _STEADY / base))
        # A partial's level is the highest within a third of a semitone of its place, and no further than half a partial.
        reach = np.minimum(0.02 * base * np.arange(1, count + 1) + 4, base / 2)
        places = base * np.arange(1, count + 1)
        levels = [
            spectrum[max(0, int(place - wide)) : int(place + wide) + 1].max(initial=0) for place, wide in zip(places, reach, strict=True)
        ]
        return np.array(levels), envelope


def _hertz(pitch: float) -> float:
    return 440.0 * 2 ** ((pitch - 69) / 12)
