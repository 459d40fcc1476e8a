"""Measure music on its notes: plain arrays in, numbers out, by MusPy's definitions.

The measures give what MusPy 0.5's functions of the same names give, oddities included, so that figures can be laid beside
published ones: `polyphony_rate` counts steps with *more than* ``threshold`` pitches; beats and bars are counted up to the one
in which the last note ends, and a note that ends on a bar line counts as sounding in the next bar. Times are whole ticks, and
`groove_consistency` depends on how many there are in a bar: `Notes.at` brings every piece to one resolution, MusPy's default.

Reference: Dong, Chen, McAuley, Berg-Kirkpatrick, "MusPy: a toolkit for symbolic music generation", ISMIR 2020, section 6.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError

RESOLUTION = 24
"""Ticks a quarter at which pieces are compared: MusPy's default."""
DRUMS = -1
"""The program of drum notes."""

_MAJOR = np.array([1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1], bool)
_MINOR = np.array([1, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0], bool)


@dataclass(frozen=True)
class Notes:
    """Hold the notes of a piece, in any order, in one unit of time (quarters, seconds or ticks: the function says which).

    ``starts``, ``durations``: float64 or int64 (notes,). ``pitches``: int64 (notes,), 0-127.
    ``velocities``: int64 (notes,), 1-127. ``programs``: int64 (notes,), 0-127, drums -1.

    Raises:
        InputError: the arrays are not of one length.
    """

    starts: np.ndarray
    durations: np.ndarray
    pitches: np.ndarray
    velocities: np.ndarray
    programs: np.ndarray

    def __post_init__(self):
        lengths = {len(getattr(self, name)) for name in self.__dataclass_fields__}
        if len(lengths) > 1:
            raise InputError(f"expected arrays of one length, found {sorted(lengths)}: give one value for each note")

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def ends(self) -> np.ndarray:
        """Give the times at which the notes end."""
        return self.starts + self.durations

    @property
    def end(self) -> float:
        """Give the time at which the last note ends, 0 where there is none."""
        return self.ends.max(initial=0)

    @property
    def pitched(self) -> "Notes":
        """Copy the notes that are not drums."""
        return self.keep(self.programs != DRUMS)

    def keep(self, chosen: np.ndarray) -> "Notes":
        """Copy the notes where ``chosen`` (bool (notes,)) holds."""
        return Notes(**{name: getattr(self, name)[chosen] for name in self.__dataclass_fields__})

    def between(self, begin: float, end: float = np.inf) -> "Notes":
        """Copy the notes that start in [begin, end), moved so that ``begin`` is 0."""
        cut = self.keep((self.starts >= begin) & (self.starts < end))
        return replace(cut, starts=cut.starts - begin)

    def at(self, resolution: int = RESOLUTION) -> "Notes":
        """Round times in quarters to whole ticks, ``resolution`` of them a quarter; a note lasts at least one."""
        starts = np.round(self.starts * resolution).astype(np.int64)
        durations = np.maximum(1, np.round(self.durations * resolution)).astype(np.int64)
        return replace(self, starts=starts, durations=durations)


def join(pieces: list[Notes]) -> Notes:
    """Put the notes of several pieces, or parts of one, into one."""
    if not pieces:
        return Notes(np.zeros(0), np.zeros(0), *(np.zeros(0, np.int64) for _ in range(3)))
    return Notes(**{name: np.concatenate([getattr(p, name) for p in pieces]) for name in Notes.__dataclass_fields__})


def n_pitches_used(notes: Notes) -> int:
    """Count the different pitches, drums left out."""
    return len(np.unique(notes.pitched.pitches))


def n_pitch_classes_used(notes: Notes) -> int:
    """Count the different pitch classes, drums left out."""
    return len(np.unique(notes.pitched.pitches % 12))


def pitch_range(notes: Notes) -> int:
    """Give the semitones from the lowest pitch to the highest, drums left out; 0 without notes."""
    pitches = notes.pitched.pitches
    return int(pitches.max() - pitches.min()) if len(pitches) else 0


def _pitches_sounding(notes: Notes) -> tuple[np.ndarray, np.ndarray]:
    """Count the different pitches that sound in each stretch of time: lengths in ticks and counts, int64 (stretches,)."""
    notes = notes.pitched
    order = np.lexsort((notes.starts, notes.pitches))
    pitch, start, end = notes.pitches[order], notes.starts[order], notes.ends[order]
    # One pitch sounds once, however many notes strike it: what a note adds begins where all earlier ones of its pitch have ended.
    far = int(end.max(initial=0)) + 1
    reached = np.maximum.accumulate(end + pitch * far) - pitch * far  # the offset keeps one pitch from reaching into the next
    earlier = np.concatenate([[0], np.where(np.diff(pitch) == 0, reached[:-1], 0)]) if len(pitch) else reached
    begin = np.maximum(start, earlier)
    real = end > begin
    times = np.concatenate([begin[real], end[real]])
    steps = np.concatenate([np.ones(real.sum(), np.int64), -np.ones(real.sum(), np.int64)])
    order = np.argsort(times, kind="stable")
    return np.diff(times[order], append=times.max(initial=0)), np.cumsum(steps[order])


def polyphony(notes: Notes) -> float:
    """Average the number of different pitches that sound, over the ticks in which one does; drums left out; NaN without notes."""
    lengths, counts = _pitches_sounding(notes)
    sounding = lengths[counts > 0].sum()
    return float((lengths * counts).sum() / sounding) if sounding else np.nan


def polyphony_rate(notes: Notes, threshold: int = 2) -> float:
    """Give the share of ticks with more than ``threshold`` different pitches, of all up to the last note's end."""
    lengths, counts = _pitches_sounding(notes)
    return float(lengths[counts > threshold].sum() / notes.end) if notes.end else np.nan


def in_scale_rate(notes: Notes, tonic: int, minor: bool = False) -> float:
    """Give the share of notes in the major or natural minor scale on ``tonic`` (0-11); drums left out; NaN without notes."""
    pitches = notes.pitched.pitches
    scale = np.roll(_MINOR if minor else _MAJOR, tonic)
    return float(scale[pitches % 12].mean()) if len(pitches) else np.nan


def scale_consistency(notes: Notes) -> float:
    """Give the largest share of notes that one major or natural minor scale holds; drums left out; NaN without notes."""
    return max(in_scale_rate(notes, tonic, minor) for tonic in range(12) for minor in (False, True))


def _entropy(values: np.ndarray) -> float:
    """Give the entropy in bits of how often each value occurs."""
    if not len(values):
        return np.nan
    share = np.unique(values, return_counts=True)[1] / len(values)
    return float(-(share * np.log2(share)).sum())


def pitch_entropy(notes: Notes) -> float:
    """Give the entropy in bits of the histogram of pitches, drums left out; NaN without notes."""
    return _entropy(notes.pitched.pitches)


def pitch_class_entropy(notes: Notes) -> float:
    """Give the entropy in bits of the histogram of pitch classes, drums left out; NaN without notes."""
    return _entropy(notes.pitched.pitches % 12)


def _empty_rate(notes: Notes, ticks: int) -> float:
    """Give the share of spans of ``ticks`` in which no note sounds, of all up to that of the last end; NaN without notes."""
    if notes.end < 1:
        return np.nan
    spans = int(notes.end // ticks) + 1
    change = np.zeros(spans + 1, np.int64)
    np.add.at(change, notes.starts // ticks, 1)
    np.add.at(change, notes.ends // ticks + 1, -1)
    return float(1 - np.count_nonzero(np.cumsum(change)[:spans]) / spans)


def empty_beat_rate(notes: Notes, resolution: int = RESOLUTION) -> float:
    """Give the share of quarters in which no note, drums included, sounds."""
    return _empty_rate(notes, resolution)


def empty_measure_rate(notes: Notes, bar: int) -> float:
    """Give the share of bars of ``bar`` ticks in which no note, drums included, sounds."""
    return _empty_rate(notes, bar)


def groove_consistency(notes: Notes, bar: int) -> float:
    """Compare the onsets of neighbouring bars of ``bar`` ticks: 1 less the mean Hamming distance; NaN for fewer than two bars.

    Reference: Wu and Yang, "The Jazz Transformer on the Front Line", ISMIR 2020.
    """
    bars = int(notes.end // bar) + 1
    if bars < 2:
        return np.nan
    onsets = np.zeros((bars, bar), bool)
    onsets[notes.starts // bar, notes.starts % bar] = True
    return float(1 - np.count_nonzero(onsets[:-1] != onsets[1:]) / (bar * (bars - 1)))


MEASURES: dict[str, Callable[[Notes, int], float]] = {
    "pitch range": lambda notes, bar: pitch_range(notes),
    "pitches used": lambda notes, bar: n_pitches_used(notes),
    "pitch classes used": lambda notes, bar: n_pitch_classes_used(notes),
    "polyphony": lambda notes, bar: polyphony(notes),
    "polyphony rate": lambda notes, bar: polyphony_rate(notes),
    "scale consistency": lambda notes, bar: scale_consistency(notes),
    "pitch entropy": lambda notes, bar: pitch_entropy(notes),
    "pitch-class entropy": lambda notes, bar: pitch_class_entropy(notes),
    "groove consistency": groove_consistency,
    "empty-beat rate": lambda notes, bar: empty_beat_rate(notes),
    "empty-bar rate": empty_measure_rate,
}
"""Name MusPy's measures as the tables do."""


def measures(notes: Notes, bar_quarters: float) -> dict[str, float]:
    """Take all of `MEASURES` of a piece in quarters whose bars last ``bar_quarters``, at `RESOLUTION`."""
    ticks, bar = notes.at(RESOLUTION), round(bar_quarters * RESOLUTION)
    return {name: float(measure(ticks, bar)) for name, measure in MEASURES.items()}


def empty_bars(notes: Notes, bar: float, bars: int) -> int:
    """Count the bars, of ``bars`` from time 0 that last ``bar`` each, in which no note sounds, however soon the piece ends.

    Unlike `empty_measure_rate` this knows how many bars there should be: music that stops early leaves empty ones.
    """
    slack = bar * 1e-6  # a note that ends on a bar line does not sound in the next bar
    first = np.floor(notes.starts / bar + 1e-6).astype(np.int64)
    last = np.floor((notes.ends - slack) / bar).astype(np.int64)
    covered = np.zeros(bars, bool)
    for begin, end in zip(first, np.maximum(first, last), strict=True):
        covered[max(0, begin) : max(0, end + 1)] = True
    return int(bars - covered.sum())


def hanging_notes(notes: Notes, end: float) -> int:
    """Count the notes that last no time, not a finite time, or on past ``end``, where the piece should be over."""
    ends = notes.ends
    return int(np.count_nonzero(~(notes.durations > 0) | ~np.isfinite(ends) | (ends > end * (1 + 1e-6))))
