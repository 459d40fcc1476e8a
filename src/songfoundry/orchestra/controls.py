"""Follow the controllers of a part: when its notes really end, how loud, where and how bent they are at each moment."""

from dataclasses import dataclass

import numpy as np

from songfoundry.notes import Part

__all__ = ["Controls"]

_GRID = 0.005
"""Seconds between the points at which controllers are looked at; in between they move in straight lines, without clicks."""
_AFTER = 5.0
"""Seconds after the last note in which a pedal may still hold it and controllers still move it."""
_VIBRATO_HZ = 5.5
_VIBRATO_SEMITONES = 0.5
_MODULATION, _DATA, _VOLUME, _PAN, _EXPRESSION, _SUSTAIN, _RPN_LOW, _RPN_HIGH = 1, 6, 7, 10, 11, 64, 100, 101


@dataclass(frozen=True)
class Controls:
    """Hold what the controllers of one part come to.

    ``ends``: float64 (notes,), seconds at which each note's key or pedal is up. ``curve``: float32 (2, points), gain of left
    and right every 5 ms; ``bend``: float64 (points,), semitones, or None where the part has none. Both hold their last
    value for ever.
    """

    ends: np.ndarray
    curve: np.ndarray
    bend: np.ndarray | None

    @classmethod
    def of(cls, part: Part) -> "Controls":
        """Work out the controllers of a part."""
        events = part.controls[np.argsort(part.controls[:, 0], kind="stable")]
        ends = _pedalled(part, events)
        modulated = bool((events[:, 1] == _MODULATION).any())
        last = max(float(events[-1, 0]) if len(events) else 0.0, float(part.bends[:, 0].max(initial=0.0)))
        # Vibrato goes on after its controller's last event; what comes hours after the last note is nobody's to hear.
        last = part.end + _AFTER if modulated else min(last, part.end + _AFTER)
        times = np.arange(int(np.ceil(max(0.0, last) / _GRID)) + 2) * _GRID
        loud = (_steps(events, _VOLUME, 100, times) * _steps(events, _EXPRESSION, 127, times)) ** 2
        # 0 and 1 are both hard left, 64 is the middle; the sum of both sides' powers stays the same.
        angle = np.clip((_steps(events, _PAN, 64, times) * 127 - 1) / 126, 0, 1) * (np.pi / 2)
        curve = np.sqrt(2) * loud * np.stack([np.cos(angle), np.sin(angle)])
        bend = None
        if len(part.bends) and part.bends[:, 1].any():
            bends = part.bends[np.argsort(part.bends[:, 0], kind="stable")]
            index = np.searchsorted(bends[:, 0], times, side="right")
            bend = np.concatenate([[0.0], bends[:, 1] / 8192])[index] * _bend_range(events, times)
        if modulated:
            depth = _steps(events, _MODULATION, 0, times) * _VIBRATO_SEMITONES
            bend = (0.0 if bend is None else bend) + depth * np.sin(2 * np.pi * _VIBRATO_HZ * times)
        return cls(ends, curve.astype(np.float32), bend)

    @property
    def most_bend_ratio(self) -> float:
        """The largest factor by which a bend shortens a note."""
        return 1.0 if self.bend is None else float(2.0 ** (max(0.0, self.bend.max()) / 12))

    def gains(self, start: float, samples: int, rate: int) -> np.ndarray:
        """Give the gain of a note from ``start`` on: float32 (2, samples), or (2, 1) where nothing moves."""
        first, span = self._window(start, samples / rate, self.curve.shape[1])
        part = self.curve[:, span]
        if part.shape[1] == 1 or (part == part[:, :1]).all():
            return part[:, :1]
        at = (start + np.arange(samples) / rate) / _GRID - first
        return np.stack([np.interp(at, np.arange(part.shape[1]), row) for row in part]).astype(np.float32)

    def positions(self, start: float, samples: int, rate: int) -> np.ndarray | None:
        """Give the samples of an unbent note that sound from ``start`` on: float64 (samples,); None where nothing is bent."""
        if self.bend is None:
            return None
        first, span = self._window(start, samples / rate, len(self.bend))
        part = self.bend[span]
        if not part.any():
            return None
        at = (start + np.arange(samples) / rate) / _GRID - first
        pace = 2.0 ** (np.interp(at, np.arange(len(part)), part) / 12)
        return np.concatenate([[0.0], np.cumsum(pace)[:-1]])

    @staticmethod
    def _window(start: float, seconds: float, points: int) -> tuple[int, slice]:
        """Find the grid points round a stretch of time: the first of them, and all as a slice."""
        first = min(max(0, int(start / _GRID)), points - 1)
        return first, slice(first, min(points, max(first + 1, int((start + seconds) / _GRID) + 2)))


def _steps(events: np.ndarray, number: int, default: int, times: np.ndarray) -> np.ndarray:
    """Give a controller's value, 0 to 1, at each time."""
    own = events[events[:, 1] == number]
    values = np.concatenate([[default], own[:, 2]]) / 127
    return values[np.searchsorted(own[:, 0], times + 1e-9, side="right")]


def _bend_range(events: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Give the semitones of a full bend at each time: two, until registered parameter 0 says otherwise."""
    when, ranges, selected = [], [2.0], [127, 127]
    for time, number, value in events.tolist():
        if number == _RPN_HIGH:
            selected[0] = value
        elif number == _RPN_LOW:
            selected[1] = value
        elif number == _DATA and selected == [0, 0]:
            when.append(time)
            ranges.append(min(float(value), 24.0))
    return np.array(ranges)[np.searchsorted(np.array(when), times + 1e-9, side="right")]


def _pedalled(part: Part, events: np.ndarray) -> np.ndarray:
    """Give the time at which each note is let go: its own end, or the pedal's if that is down, or the same key's next stroke."""
    ends = part.starts + part.durations
    pedal = events[events[:, 1] == _SUSTAIN]
    if not len(pedal):
        return ends
    down = pedal[:, 2] >= 64
    index = np.searchsorted(pedal[:, 0], ends, side="right") - 1
    held = (index >= 0) & down[np.maximum(index, 0)]
    # The next time that the pedal is up, for each event; at the end of the part if it stays down.
    ups = np.where(down, np.inf, pedal[:, 0])
    next_up = np.minimum.accumulate(ups[::-1])[::-1]
    until = np.where(np.isinf(next_up), part.end + _AFTER, np.minimum(next_up, part.end + _AFTER))
    longer = np.where(held, until[np.maximum(index, 0)], ends)
    order = np.lexsort((part.starts, part.pitches))
    same = part.pitches[order][1:] == part.pitches[order][:-1]
    again = np.full(len(ends), np.inf)
    again[order[:-1][same]] = part.starts[order[1:][same]]
    return np.where(held, np.maximum(np.minimum(longer, again), ends), ends)
