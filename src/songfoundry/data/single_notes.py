"""Draw single notes for training: balanced over instruments and pitches, put in tune, moved by whole semitones into gaps.

Every random number of example n comes from a generator seeded by (seed, n), so a resumed training sees the examples that it
would have seen. What moves a pitch is resampling, as a tape played faster, so that a note stays the recording that it is.
"""

from collections.abc import Callable, Iterator
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from scipy import fft, signal

from songfoundry.config import Config
from songfoundry.data.note_folders import NoteFolder, OpenFolder
from songfoundry.data.note_sets import Note
from songfoundry.errors import ConfigError, DatasetError
from songfoundry.registry import nearest

__all__ = ["DRAWS", "NoteFolder", "SingleNotes", "SingleNotesConfig"]

_FADE = 0.008
"""Seconds of raised cosine at the end of each note."""
_GUARD = 256
"""Samples of silence that part a note's end from its beginning, which Fourier's sums join."""

Chance = Annotated[float, Field(ge=0, le=1)]
Pitch = Annotated[int, Field(ge=0, le=127)]


class SingleNotesConfig(Config):
    """Say which notes are drawn and how they are varied.

    `samples`: length of an example at `rate` Hz; `pitches`: lowest and highest MIDI pitch; `instruments`: those that are taken, in
    the order of their numbers, by default all by name; `semitones`: a pitch that an instrument lacks within its range is made of a
    note at most so far away, and with chance `shift` one that it has of a lower one; `in_tune`: take away what a recording was
    measured to be off its pitch; `cents`: largest random change of pitch; `delay`: longest silence before the note, seconds.
    """

    name: str = "single_notes"
    folders: list[NoteFolder]
    samples: PositiveInt = 32768
    rate: PositiveInt = 16000
    pitches: tuple[Pitch, Pitch] = (0, 127)
    instruments: list[str] = []
    semitones: NonNegativeInt = 2
    shift: Chance = 0.25
    in_tune: bool = True
    cents: Annotated[float, Field(ge=0, le=20)] = 3.0
    delay: NonNegativeFloat = 0.008


class SingleNotes:
    """Give example n as {"waveform", "pitch", "instrument", "velocity"}.

    `waveform`: float32 (samples,), peak 1, at `config.rate` Hz, silent after the note's end; `pitch`: int64, MIDI number;
    `instrument`: int64, place in `instruments`; `velocity`: float32, loudness of playing, 0 to 1.

    All instruments are as likely, within one all pitches, within a pitch all notes. Notes of split "test" and "unused" are never
    drawn, nor opened by drawing or `validation`; a drawn note moves only upwards where it can, since a note that was lowered lacks
    the top of the band.

    Attributes
    ----------
    instruments : tuple of names; pitches : (lowest, highest) MIDI pitch that is drawn; sounding : bool (instruments, 128), which
        pitches of an instrument are drawn.

    Raises
    ------
    DatasetError, AudioError : as `find_notes` and `kept`; or nothing is left for training.
    ConfigError : as `find_notes`; an instrument that is not there, or pitches in the wrong order.
    OutputError : the cache cannot be written.
    """

    Config = SingleNotesConfig

    def __init__(self, config: SingleNotesConfig, seed: int = 0, progress: Callable[[float], None] | None = None):
        if config.pitches[0] > config.pitches[1]:
            raise ConfigError(f"expected the lower pitch first, found {list(config.pitches)}: turn data.pitches round")
        self.config, self.seed = config, seed
        most = int(np.ceil(config.samples * 2 ** (config.semitones / 12) * 1.05)) + 64
        self._folders = [OpenFolder(f, config.pitches, config.samples, config.rate, most) for f in config.folders]
        self.instruments = self._named()
        self._stores = []
        places: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for number, folder in enumerate(config.folders):
            part = (lambda f, n=number: progress((n + f) / len(config.folders))) if progress else None
            store = self._folders[number].open("train", self.instruments, part)
            self._stores.append(store)
            if folder.weight:
                for which, note in enumerate(store.notes):
                    places.setdefault((self._index(number, note), note.pitch), []).append((number, which))
        if not places:
            paths = ", ".join(folder.path or folder.kind for folder in config.folders) or "data.folders"
            raise DatasetError(
                f"expected notes for training in {paths}, found none between pitches {config.pitches[0]} and {config.pitches[1]}: check "
                "paths, splits, weights and data.pitches"
            )
        self._places = places
        self._table()

    def _named(self) -> tuple[str, ...]:
        """Choose and number the instruments: those with notes for training."""
        folders = [opened for opened in self._folders if opened.folder.weight]
        there = {opened.label(note) for opened in folders for note in opened.notes if note.split == "train"}
        for name in self.config.instruments:
            if name not in there:
                known = nearest(name, sorted(there))
                raise ConfigError(f"expected in data.instruments what has notes for training, found {name!r}: {known}")
        return tuple(self.config.instruments or sorted(there))

    def _index(self, number: int, note: Note) -> int:
        return self.instruments.index(self._folders[number].label(note))

    def _table(self) -> None:
        """Work out what an example may be: for each instrument its chance and its pitches, for each pitch the notes it is made of."""
        reach = self.config.semitones
        weights = np.zeros(len(self.instruments))
        self._own: list[dict[int, list[int]]] = [{} for _ in self.instruments]
        for (instrument, pitch), notes in self._places.items():
            self._own[instrument][pitch] = [pitch]
            weights[instrument] = max(weights[instrument], *(self.config.folders[number].weight for number, _ in notes))
        self._lower: list[dict[int, list[int]]] = []
        for own in self._own:
            has = sorted(own)
            lower = {pitch: [from_ for from_ in range(pitch - reach, pitch) if from_ in own] for pitch in has}
            for gap in set(range(has[0], has[-1])) - set(has):
                # From below where something is there: a raised note keeps its band full.
                below, above = (
                    [from_ for from_ in near if from_ in has]
                    for near in (range(gap - reach, gap), range(gap + 1, gap + reach + 1))
                )
                if below or above:
                    own[gap] = below or above
            self._lower.append(lower)
        self._chance = weights / weights.sum()
        self.sounding = np.zeros((len(self.instruments), 128), bool)
        for instrument, own in enumerate(self._own):
            self.sounding[instrument, list(own)] = True
        drawn = np.flatnonzero(self.sounding.any(axis=0))
        self.pitches = (int(drawn[0]), int(drawn[-1]))

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """Draw example `number`, always the same for one seed and one list of notes."""
        config, rng = self.config, np.random.default_rng((self.seed, number))
        instrument = int(rng.choice(len(self.instruments), p=self._chance))
        own = self._own[instrument]
        pitch = sorted(own)[rng.integers(len(own))]
        moved = rng.random() < config.shift
        from_ = own[pitch]
        lower = self._lower[instrument].get(pitch)
        if moved and lower:
            from_ = lower
        source = from_[rng.integers(len(from_))]
        folder, which = self._choose(rng, self._places[instrument, source])
        store = self._stores[folder]
        note = store.notes[which]
        cents = 100 * (pitch - source) + config.cents * rng.uniform(-1, 1) - (note.cents if config.in_tune else 0)
        delay = int(rng.integers(0, int(config.delay * config.rate) + 1))
        waveform = self._fitted(store.read(which), 2 ** (cents / 1200), delay)
        return {
            "waveform": torch.from_numpy(waveform),
            "pitch": torch.tensor(pitch),
            "instrument": torch.tensor(instrument),
            "velocity": torch.tensor(note.velocity, dtype=torch.float32),
        }

    def _choose(self, rng: np.random.Generator, notes: list[tuple[int, int]]) -> tuple[int, int]:
        """Draw a note, of several folders' by their weights."""
        weights = np.array([self.config.folders[folder].weight for folder, _ in notes])
        return notes[rng.choice(len(notes), p=weights / weights.sum())]

    def _fitted(self, samples: np.ndarray, speed: float, delay: int = 0) -> np.ndarray:
        """Play a note at another speed, after a delay, fitted into an example; float32 (any,) -> (config.samples,), peak 1."""
        size = self.config.samples
        if speed != 1:
            # By Fourier's sums: the filter of a real-time resampler would take away what lies above 7.3 of 8 kHz.
            long = fft.next_fast_len(len(samples) + _GUARD)
            samples = signal.resample(np.pad(samples, (0, long - len(samples))), round(long / speed))[: round(len(samples) / speed)]
        waveform = np.zeros(size, np.float32)
        samples = samples[: max(1, size - delay)]
        fade = min(len(samples), round(_FADE * self.config.rate))
        waveform[delay : delay + len(samples)] = samples
        ramp = 0.5 + 0.5 * np.cos(np.pi * np.arange(1, fade + 1) / fade)
        waveform[delay + len(samples) - fade : delay + len(samples)] *= ramp.astype(np.float32)
        return waveform / max(float(np.abs(waveform).max()), 1e-9)

    def validation(self) -> Iterator[dict]:
        """Give the validation notes; see `held_out`."""
        return self.held_out("valid")

    def held_out(self, split: str = "test") -> Iterator[dict]:
        """Give the notes of a split as they were recorded, of the instruments and pitches that are drawn.

        Each is {"name", "waveform": float32 (samples,), peak 1, "pitch": MIDI, "instrument": place in `instruments`,
        "velocity": 0 to 1}; "train" gives the recordings behind the draws, each once.
        """
        for number, opened in enumerate(self._folders):
            store = opened.open(split, self.instruments)
            for which, note in enumerate(store.notes):
                yield {
                    "name": note.name, "waveform": self._fitted(store.read(which), 1), "pitch": note.pitch,
                    "instrument": self._index(number, note), "velocity": note.velocity,
                }  # fmt: skip

    def seen(self, examples: int) -> dict:
        """Say how much so many examples are, in hours of audio, for the card."""
        return {"hours_seen": round(self.config.samples / self.config.rate * examples / 3600, 2)}

    def describe(self) -> dict:
        """Say what the examples are drawn from: notes, instruments, pitches and licences, for the card."""
        drawn = [self._stores[folder].notes[which] for notes in self._places.values() for folder, which in notes]
        has = [np.flatnonzero(row) for row in self.sounding]
        return {
            "notes": len(drawn),
            "instruments": {name: [int(p[0]), int(p[-1])] for name, p in zip(self.instruments, has, strict=True)},
            "pitches": list(self.pitches),
            "folders": [folder.path or folder.kind for folder in self.config.folders],
            "licences": sorted({note.licence for note in drawn}),
            "validation": sum(len(opened.of_split("valid", self.instruments)) for opened in self._folders),
        }


DRAWS = SingleNotes
