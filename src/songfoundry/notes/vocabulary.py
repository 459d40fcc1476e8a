"""Name the tokens of a piece: what the three tokenizers have in common."""

import hashlib
from abc import ABC, abstractmethod
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from songfoundry.config import Config

STYLES = ("pop", "folk", "chorale", "piano", "band", "drums", "other")
"""Kinds of music that a piece can be marked with: the collection that it is like."""
TONICS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
KEYS = tuple(f"{tonic} {mode}" for mode in ("major", "minor") for tonic in TONICS)
"""The 24 keys; the index is the pitch class of the tonic, plus 12 for minor."""
HEADER = 3
"""Tokens at the head of every sequence: BOS, Style and Key."""

_CONTROLS = [f"Style_{style}" for style in STYLES] + [f"Key_{key}" for key in (*range(24), "none")] + ["Fill_after", "Fill_before"]
_PITCHED = ("Pitch", "NoteOn", "NoteOff")


class TokenConfig(Config):
    """Say how notes become tokens.

    `kind`: "remi" (bars, positions, metres, tempi, programs), "performance" (a pianist's events on a 10 ms clock) or "chorale"
    (four voices on the grid of sixteenths). For remi alone: `velocities` and `tempi`, how many levels there are; `slowest` and
    `fastest`, quarters a minute; `positions` in a beat, the beat being the metre's denominator; `sustain`: prolong notes by the pedal.
    """

    kind: Literal["remi", "performance", "chorale"] = "remi"
    velocities: int = Field(32, ge=1, le=127)
    tempi: int = Field(64, ge=2, le=512)
    slowest: float = Field(20.0, ge=4.0)
    fastest: float = Field(320.0, le=1000.0)
    positions: int = Field(12, ge=4, le=48)
    sustain: bool = True

    @field_validator("positions")
    @classmethod
    def _even_grid(cls, positions: int) -> int:
        # Durations of more than four and eight beats are told in halves and quarters of these.
        if positions % 4:
            raise ValueError("positions in a beat must be a multiple of 4")
        return positions


class Vocabulary(ABC):
    """Hold the names of all tokens and what can be done with ids by looking them up.

    Attributes
    ----------
    config : the `TokenConfig` that it was made from.
    names : by id, "Pitch_60". ids : by name.
    kinds : str (size,), what stands before the underscore of each name.
    size : how many there are. pad, bos, eos : ids.
    """

    def __init__(self, config: TokenConfig, names: list[str]) -> None:
        self.config = config
        self.names = [*names, *_CONTROLS]
        self.ids = {name: number for number, name in enumerate(self.names)}
        self.kinds = np.array([name.split("_")[0] for name in self.names])
        self.size = len(self.names)
        self.pad, self.bos, self.eos = (self.ids[f"{name}_None"] for name in ("PAD", "BOS", "EOS"))
        self._transpositions: dict[int, np.ndarray] = {}

    @property
    def fingerprint(self) -> str:
        """Tell vocabularies apart: 16 hexadecimal digits that depend on all names and their order."""
        return hashlib.sha256("\n".join(self.names).encode()).hexdigest()[:16]

    def of_kind(self, *kinds: str) -> np.ndarray:
        """List the ids of the tokens of some kinds, ascending: int64 (n,)."""
        return np.flatnonzero(np.isin(self.kinds, kinds))

    def value(self, token: int) -> str:
        """Return what stands after the underscore of a token's name."""
        return self.names[token].partition("_")[2]

    def header(self, style: str | None = None, key: int | None = None) -> np.ndarray:
        """Return the three tokens that begin a sequence, int32 (3,); an unknown style is "other".

        Raises
        ------
        ValueError : no such style, or a key outside 0-23.
        """
        chosen = [f"Style_{style or 'other'}", f"Key_{'none' if key is None else key}"]
        for name in chosen:
            if name not in self.ids:
                raise ValueError(f"expected a style of {', '.join(STYLES)} and a key of 0-23, found {name}: choose one of those")
        return np.array([self.bos, *(self.ids[name] for name in chosen)], np.int32)

    def transpose(self, ids: np.ndarray, semitones: int) -> np.ndarray:
        """Move all pitches but the drums', and the key; a pitch that would leave the range moves by an octave more or less.

        `ids`: int (n,); returns the same shape and type.
        """
        if semitones not in self._transpositions:
            self._transpositions[semitones] = self._transposition(semitones)
        return self._transpositions[semitones].astype(ids.dtype)[ids]

    def _transposition(self, semitones: int) -> np.ndarray:
        """Tabulate what each token becomes."""
        table = np.arange(self.size)
        for token, name in enumerate(self.names):
            kind, _, value = name.partition("_")
            if kind in _PITCHED:
                moved = int(value) + semitones
                while f"{kind}_{moved}" not in self.ids:
                    moved += -12 if moved > 60 else 12
                table[token] = self.ids[f"{kind}_{moved}"]
            elif kind == "Key" and value != "none":
                key = int(value)
                table[token] = self.ids[f"Key_{key // 12 * 12 + (key % 12 + semitones) % 12}"]
        return table

    def retempo(self, ids: np.ndarray, steps: int) -> np.ndarray:
        """Move all tempi by so many levels, clipped at the slowest and fastest; ids: int (n,), returned in the same type."""
        ladder = self.of_kind("Tempo")
        if not len(ladder):
            return ids.copy()
        table = np.arange(self.size)
        table[ladder] = ladder[np.clip(np.arange(len(ladder)) + steps, 0, len(ladder) - 1)]
        return table.astype(ids.dtype)[ids]

    def fill(self, ids: np.ndarray, first: int, last: int) -> np.ndarray:
        """Write a piece as a task of filling bars [first, last): header, Fill_after, what follows, Fill_before, what precedes, the bars.

        Raises
        ------
        ValueError : there are no such bars.
        """
        bars = len(self.bars(ids))
        if not 0 <= first < last <= bars:
            raise ValueError(f"expected bars within 0-{bars}, found {first}-{last}")
        parts = [self._inside(ids, *pair) for pair in ((last, bars), (0, first), (first, last))]
        after, before = ([self.ids[f"Fill_{side}"]] for side in ("after", "before"))
        return np.concatenate([ids[:HEADER], after, parts[0], before, parts[1], parts[2], [self.eos]]).astype(ids.dtype)

    def in_order(self, ids: np.ndarray) -> np.ndarray:
        """Drop what is not music (header, padding, BOS, EOS, MASK) and put the bars of a filling task in order: int (n,)."""
        ids = np.asarray(ids)
        ids = ids[(ids >= 0) & (ids < self.size)]
        after, before = (np.flatnonzero(ids == self.ids[f"Fill_{side}"]) for side in ("after", "before"))
        if len(after) and len(before) and after[0] < before[0]:
            ids = np.concatenate([ids[: after[0]], ids[before[0] + 1 :], ids[after[0] + 1 : before[0]]])
        return ids[~np.isin(self.kinds[ids], ("PAD", "BOS", "EOS", "MASK", "Style", "Key", "Fill"))]

    def cut(self, ids: np.ndarray, first_bar: int, last_bar: int) -> np.ndarray:
        """Cut whole bars [first, last) out of a piece; the header stays, and what holds (tempo, velocity) is said again.

        An EOS at the end stays where the last bar does. `ids`: int (n,); returned in the same type.
        """
        ids = np.asarray(ids)
        ends = last_bar >= len(self.bars(ids)) and len(ids) and ids[-1] == self.eos
        return np.concatenate([ids[:HEADER], self._inside(ids, first_bar, last_bar), ids[-1:][: int(ends)]])

    @abstractmethod
    def bars(self, ids: np.ndarray) -> np.ndarray:
        """List where the bars begin: int64 (bars,), indices into `ids`."""

    def _inside(self, ids: np.ndarray, first: int, last: int) -> np.ndarray:
        """Return the tokens of bars [first, last) without header and EOS."""
        starts = np.append(self.bars(ids), len(ids) - int(len(ids) > 0 and ids[-1] == self.eos))
        first, last = (min(max(bar, 0), len(starts) - 1) for bar in (first, last))
        inside = ids[starts[first] : starts[max(first, last)]]
        return np.concatenate([inside[:0], self._resumed(ids, int(starts[first]), inside)])

    def _resumed(self, ids: np.ndarray, at: int, inside: np.ndarray) -> np.ndarray:
        """Begin `inside`, which is cut from `ids` at index `at`, with the state that holds there."""
        return inside
