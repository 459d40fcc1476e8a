"""Find the longest verbatim copy from a training set, so that nobody calls a copy a composition.

A part's notes in order of time (then pitch) become symbols of (interval from the note before, duration), so that a transposed
copy is a copy too. Two pieces share a run of ``n`` such symbols where a polynomial hash of theirs agrees and the symbols do; a
run of ``n`` holds one of ``n - 1``, so the longest is found by bisection, each length once sorted for all queries.

A hash table a length, not a suffix array: a million symbols sort in a tenth of a second, and a search sorts about a dozen lengths.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .music import Notes

GRID = 12
"""Steps a quarter to which durations are rounded."""
_LONGEST = 16 * GRID
"""Durations beyond four whole notes count as that."""
_BASE = np.uint64(0x9E3779B97F4A7C15)
_KEPT = 24


@dataclass(frozen=True)
class Copy:
    """Hold a longest copy: how many notes, of how many different symbols (one note struck again and again has one), and where.

    ``start`` is the first note's number in the part that was searched for; ``piece`` the name of the training piece.
    """

    notes: int
    different: int = 0
    start: int = 0
    piece: str = ""


def symbols(notes: Notes) -> list[np.ndarray]:
    """Write each part (program) of a piece in quarters as int64 (notes - 1,) symbols; drums are left out."""
    found = []
    for program in np.unique(notes.pitched.programs):
        part = notes.keep(notes.programs == program)
        order = np.lexsort((part.pitches, np.round(part.starts * GRID)))
        interval = np.diff(part.pitches[order])
        duration = np.clip(np.round(part.durations[order] * GRID), 1, _LONGEST).astype(np.int64)[1:]
        found.append((interval + 128) * (_LONGEST + 1) + duration)
    return found


class CopyIndex:
    """Search a training set for the longest run of notes that a piece shares with it."""

    def __init__(self, pieces: Iterable[tuple[str, Notes]]):
        """Take named pieces, times in quarters; a million notes take 8 MB and as much again for each length searched."""
        parts, names, ends, length = [], [], [], 0
        for name, notes in pieces:
            for part in symbols(notes):
                # A symbol of its own ends each part, so that no run crosses from one into the next.
                parts.append(np.append(part, -1 - len(parts)))
                length += len(part) + 1
                names.append(name)
                ends.append(length)
        self.names, self._ends = names, np.array(ends, np.int64)
        self._text = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        self._tables: OrderedDict[int, tuple[np.ndarray, np.ndarray]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._text)

    def longest(self, notes: Notes) -> Copy:
        """Find the longest copy in any part of a piece in quarters."""
        return max((self._longest(part) for part in symbols(notes)), key=lambda copy: copy.notes, default=Copy(0))

    def _longest(self, query: np.ndarray) -> Copy:
        """Find the longest run that one part shares with the text: gallop, then bisect."""
        most = min(len(query), len(self._text))
        best, found, low, step = 0, None, 1, 8
        high = most
        while low <= high:
            trial = min(high, max(low, step)) if step <= high else (low + high + 1) // 2
            hit = self._find(query, trial)
            if hit is None:
                high, step = trial - 1, most + 1
            else:
                best, found, low = trial, hit, trial + 1
                step = step * 2
        if found is None:
            return Copy(0)
        start, place = found
        name = self.names[int(np.searchsorted(self._ends, place, side="right"))]
        return Copy(best + 1, len(np.unique(query[start : start + best])), start, name)

    def _find(self, query: np.ndarray, length: int) -> tuple[int, int] | None:
        """Find a run of ``length`` symbols of the query in the text: where in each, or None."""
        hashes, places = self._table(length)
        wanted = _hashes(query, length)
        at = np.searchsorted(hashes, wanted)
        hits = np.flatnonzero(hashes[np.minimum(at, len(hashes) - 1)] == wanted) if len(hashes) else []
        for start in hits:
            place = int(places[at[start]])
            if np.array_equal(self._text[place : place + length], query[start : start + length]):
                return int(start), place
        return None

    def _table(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Give the hashes of the text's runs of a length, sorted, each once, with a place where it occurs."""
        if length not in self._tables:
            hashes, places = np.unique(_hashes(self._text, length), return_index=True)
            self._tables[length] = hashes, places.astype(np.int32)
            if len(self._tables) > _KEPT:
                self._tables.popitem(last=False)
        self._tables.move_to_end(length)
        return self._tables[length]


def _hashes(text: np.ndarray, length: int) -> np.ndarray:
    """Hash each run of ``length`` symbols: uint64 (len(text) - length + 1,), by doubling, modulo 2**64."""
    if len(text) < length:
        return np.zeros(0, np.uint64)
    power, width = _mixed(text), 1  # hashes of runs of `width`, a power of two
    result, done = np.zeros(len(text), np.uint64), 0
    while True:
        if length & width:  # append a run of this width to what is hashed so far
            result = result[: len(power) - done] * _pow(width) + power[done : done + len(result)]
            result, done = result[: len(text) - done - width + 1], done + width
        if done == length:
            return result[: len(text) - length + 1]
        power = power[:-width] * _pow(width) + power[width:]
        width *= 2


def _mixed(text: np.ndarray) -> np.ndarray:
    """Scatter the symbols over 64 bits (the finaliser of splitmix64), without which short runs of small numbers collide."""
    value = text.astype(np.uint64) + _BASE
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _pow(exponent: int) -> np.uint64:
    """Raise the base to a power modulo 2**64."""
    return np.uint64(pow(int(_BASE), exponent, 2**64))
