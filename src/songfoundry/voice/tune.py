"""Hold what is to be sung: a tune of notes, or an F0 curve."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Curve", "Tune", "TuneNote"]


@dataclass(frozen=True)
class TuneNote:
    """Hold one note of a tune: ``start`` and ``end`` in seconds, ``pitch`` as a MIDI number (69 is 440 Hz; fractions bend it)."""

    start: float
    end: float
    pitch: float

    def __post_init__(self) -> None:
        """Refuse what is no note."""
        if not (0 <= self.start < self.end < np.inf and np.isfinite(self.pitch)):
            raise ValueError(f"expected 0 <= start < end and a pitch, found {self.start:g}, {self.end:g} and {self.pitch:g}")


@dataclass(frozen=True)
class Tune:
    """Hold the notes of one voice, in order: none begins before the one before it has ended. Between them it rests."""

    notes: tuple[TuneNote, ...]

    def __post_init__(self) -> None:
        """Refuse notes that overlap or are out of order."""
        if any(after.start < before.end for before, after in zip(self.notes, self.notes[1:], strict=False)):
            raise ValueError("expected the notes of one voice in order, found notes that overlap")

    @property
    def seconds(self) -> float:
        """Say when the last note ends."""
        return self.notes[-1].end if self.notes else 0.0


@dataclass(frozen=True)
class Curve:
    """Hold an F0 curve: ``hertz`` float64 (frames,), 0 where nothing is voiced; frame n lies at ``n * period`` seconds."""

    hertz: np.ndarray
    period: float

    @property
    def seconds(self) -> float:
        """Say how long the curve is."""
        return len(self.hertz) * self.period
