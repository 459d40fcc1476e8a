"""Keep single notes decoded: they are decoded once, and mapped into memory afterwards.

NSynth's WAV files are not kept a second time (its training part would take 40 GB): they are read where they lie, which costs a
millisecond a note.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import soxr

from songfoundry.audio import io
from songfoundry.data.note_sets import Note
from songfoundry.data.songs import cache_root
from songfoundry.errors import DatasetError, OutputError

__all__ = ["FileNotes", "KeptNotes", "Part", "cut", "kept", "read_note"]

VERSION = 1
"""Raised when notes are decoded, trimmed or kept otherwise than before; what older versions kept is then not opened."""
_SILENT = 10 ** (-60 / 20)
"""Below this share of its peak a file has not begun."""
_LEAST = 1e-4


class Part:
    """Read some of the notes that a store holds, by numbers of their own."""

    def __init__(self, store, numbers: Sequence[int]):
        self._store, self._numbers = store, tuple(numbers)
        self.notes = tuple(store.notes[number] for number in self._numbers)

    def read(self, number: int) -> np.ndarray:
        """Read a note: float32 (samples,), peak 1."""
        return self._store.read(self._numbers[number])


class FileNotes:
    """Read notes from their own files, each when it is asked for.

    Parameters
    ----------
    most : as many samples as are read of a note, at `rate` Hz.
    """

    def __init__(self, notes: Sequence[Note], rate: int, most: int):
        self.notes, self.rate, self.most = tuple(notes), rate, most

    def read(self, number: int) -> np.ndarray:
        """Read a note: float32 (samples,), peak 1; raises `AudioError`, or `DatasetError` for silence."""
        note = self.notes[number]
        return read_note(note, _samples(note.path), self.rate, self.most)


class KeptNotes:
    """Read notes from the cache: int16 (all samples,) as a memory map, `bounds` int64 (notes + 1,) where each begins."""

    def __init__(self, notes: Sequence[Note], place: Path):
        self.notes, self.place = tuple(notes), place
        self._bounds = np.load(place.with_suffix(".bounds.npy"))
        # An empty file cannot be mapped.
        self._samples = np.load(place.with_suffix(".npy"), mmap_mode="r" if self._bounds[-1] else None)
        if len(self._samples) != self._bounds[-1] or len(self._bounds) != len(notes) + 1:
            raise ValueError("cut short")

    def __reduce__(self):
        """Travel to another process by name: the memory map is opened there, not copied."""
        return KeptNotes, (self.notes, self.place)

    def read(self, number: int) -> np.ndarray:
        """Read a note: float32 (samples,), peak 1."""
        return self._samples[self._bounds[number] : self._bounds[number + 1]].astype(np.float32) / np.float32(32767)


def kept(notes: Sequence[Note], rate: int, most: int, progress: Callable[[float], None] | None = None) -> KeptNotes:
    """Open notes in the cache, decoding them first where they are not there or their files have changed.

    Parameters
    ----------
    most : as many samples as are kept of a note, at `rate` Hz.
    progress : called with the fraction of the notes that are decoded.

    Raises
    ------
    AudioError : a file cannot be decoded.
    DatasetError : a file is missing, ends before a note, or a note is silent.
    OutputError : the cache cannot be written.
    """
    stats = {path: _stat(path) for path in {note.path for note in notes}}
    identity = [VERSION, rate, most, *((str(n.path), *stats[n.path], n.start, n.frames, n.rate, n.trim) for n in notes)]
    root = cache_root() / "notes"
    place = root / hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:20]
    try:
        return KeptNotes(notes, place)
    except (OSError, EOFError, ValueError):
        pass
    parts: list[np.ndarray] = [np.zeros(0, np.int16)] * len(notes)
    order, done = sorted(range(len(notes)), key=lambda number: str(notes[number].path)), 0
    for path, numbers in groupby(order, key=lambda number: notes[number].path):
        found = _samples(path)
        for number in numbers:
            parts[number] = np.round(read_note(notes[number], found, rate, most) * 32767).astype(np.int16)
            done += 1
        if progress:
            progress(done / len(notes))
    try:
        root.mkdir(parents=True, exist_ok=True)
        # Two processes that decode the same notes at once write the same, each aside; bounds last, for they are looked at first.
        for suffix, array in ((".npy", np.concatenate([np.zeros(0, np.int16), *parts])), (".bounds.npy", _bounds(parts))):
            aside = place.with_suffix(f".{os.getpid()}.part.npy")
            np.save(aside, array)
            os.replace(aside, place.with_suffix(suffix))
    except OSError as error:
        place.with_suffix(f".{os.getpid()}.part.npy").unlink(missing_ok=True)
        raise OutputError(
            f"expected to keep {len(notes)} notes decoded in {root}, found: {error.strerror or error}; free space there or name "
            "another folder by the variable SONGFOUNDRY_CACHE"
        ) from None
    return KeptNotes(notes, place)


def _bounds(parts: list[np.ndarray]) -> np.ndarray:
    return np.cumsum([0, *map(len, parts)], dtype=np.int64)


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise DatasetError(f"expected notes in {path}, found it unreadable ({error.strerror}): restore it or mend the index") from None
    return found.st_mtime_ns, found.st_size


def _samples(path: Path, start: int = 0, stop: int | None = None) -> tuple[np.ndarray, int]:
    """Decode a file as mono float32 (samples,), with its rate in Hz."""
    with io.open_reader(path) as reader:
        parts = [block.mean(axis=0) for block in reader.blocks(start=start, stop=stop)]
        return np.concatenate([np.zeros(0, np.float32), *parts]), reader.rate


def cut(note: Note, decoded: tuple[np.ndarray, int]) -> tuple[np.ndarray, int]:
    """Give the part of a decoded file, float32 (samples,) and its rate in Hz, where a note lies."""
    samples, own = decoded
    if note.frames is None:
        return decoded
    scale = own / note.rate
    return samples[round(note.start * scale) : round((note.start + note.frames) * scale)], own


def read_note(note: Note, decoded: tuple[np.ndarray, int], rate: int, most: int) -> np.ndarray:
    """Cut a note out of its decoded file and bring it to a rate.

    Parameters
    ----------
    decoded : float32 (samples,) of the whole file, and its rate in Hz.
    most : as many samples as are returned at most, at `rate` Hz.

    Returns
    -------
    float32 (samples,), peak 1.

    Raises
    ------
    DatasetError : the file ends before the note, or there is nothing to hear.
    """
    samples, own = cut(note, decoded)
    peak = float(np.abs(samples).max(initial=0))
    if not peak > _LEAST:
        what = "silence" if len(samples) else "its end before that"
        raise DatasetError(f"expected the note {note.name} in {note.path}, found {what}: restore the file, or take the note out")
    if note.trim:
        # 3 ms stay before the first sound, as a file's beginning is as long as its recorder liked.
        begin = int(np.argmax(np.abs(samples) > peak * _SILENT))
        samples = samples[max(0, begin - round(0.003 * own)) :]
    samples = samples[: round(most * own / rate) + own // 50]
    if own != rate:
        samples = soxr.resample(samples, own, rate, quality="HQ")
    samples = samples[:most]
    return (samples / max(float(np.abs(samples).max()), 1e-9)).astype(np.float32)
