"""Take a voice apart as WORLD does, into F0, envelope and aperiodicity, and put it together again, a few seconds at a time.

Reference: Morise, Yokomori and Ozawa, "WORLD: a vocoder-based high-quality speech synthesis system for real-time applications", IEICE
Trans. E99-D(7), 2016; Harvest (Morise 2017), CheapTrick (Morise 2015), D4C (Morise 2016).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from songfoundry.errors import MissingExtraError
from songfoundry.voice.tune import Curve

__all__ = ["PERIOD", "RATES", "Voice", "analyse", "synthesise", "track"]

PERIOD = 0.005
"""Seconds from frame to frame."""
RATES = (16000, 48000)
"""Hz, between which the analysis is made to work."""
LOW, HIGH = 65.0, 1000.0
"""Hz, where F0 is looked for by default."""
_PIECE, _MARGIN = 6000, 100
"""Frames that are analysed at once, and how many are heard on either side of them."""
_LONGEST, _SHORTEST, _SEAM = 4000, 2000, 4
"""Frames that are synthesised at once; they end at the softest frame between these, with a cross-fade of a few frames."""


@dataclass(frozen=True)
class Voice:
    """Hold a voice as WORLD describes it, frames every `PERIOD` seconds.

    Attributes
    ----------
    hertz : float64 (frames,), 0 where nothing is voiced. envelope : float32 (frames, bins), power. aperiodicity : float32 (frames, bins),
    0 to 1. rate : Hz; bins go from 0 to half of it.
    """

    hertz: np.ndarray
    envelope: np.ndarray
    aperiodicity: np.ndarray
    rate: int

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.hertz)

    @property
    def curve(self) -> Curve:
        """Give the F0 alone."""
        return Curve(self.hertz, PERIOD)


def _pyworld():
    try:
        import pyworld
    except ImportError:
        raise MissingExtraError(
            "expected the package pyworld to sing with, found none: install it with `pip install songfoundry[sing]`"
        ) from None
    return pyworld


def track(samples: np.ndarray, rate: int, low: float = LOW, high: float = HIGH) -> Curve:
    """Follow the F0 of one voice, with Harvest and what D4C says of voicing; float (samples,) at `rate` Hz, of any length.

    Raises
    ------
    MissingExtraError : pyworld is not installed.
    """
    world = _pyworld()
    parts = [_voiced(world, piece, rate, low, high)[0][kept] for piece, kept in _pieces(np.asarray(samples), rate)]
    return Curve(np.concatenate(parts), PERIOD)


def analyse(samples: np.ndarray, rate: int, low: float = LOW, high: float = HIGH) -> Voice:
    """Take float (samples,) at `rate` Hz, within `RATES`, apart; frames that D4C finds to be noise are unvoiced.

    Raises
    ------
    MissingExtraError : pyworld is not installed. ValueError : a rate that WORLD was not made for.
    """
    world = _pyworld()
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"expected a rate from {RATES[0]} to {RATES[1]} Hz, found {rate}")
    columns = []
    for piece, kept in _pieces(np.asarray(samples), rate):
        hertz, times, noise = _voiced(world, piece, rate, low, high)
        envelope = world.cheaptrick(piece, hertz, times, rate, f0_floor=71.0)
        columns.append((hertz[kept], envelope[kept].astype(np.float32), noise[kept].astype(np.float32)))
    return Voice(*(np.concatenate(column) for column in zip(*columns, strict=True)), rate)


def _voiced(world, piece: np.ndarray, rate: int, low: float, high: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measure F0 (0 where unvoiced), the frames' times and aperiodicity (frames, bins) of a piece."""
    hertz, times = world.harvest(piece, rate, f0_floor=low, f0_ceil=high, frame_period=1000 * PERIOD)
    noise = world.d4c(piece, hertz, times, rate)
    # D4C's "love train": all bins are 1 where its test says that nothing is voiced, whatever Harvest believes.
    return np.where(noise.min(1) > 0.99, 0.0, hertz), times, noise


def synthesise(
    hertz: np.ndarray, rate: int, frames: Callable[[int, int], tuple[np.ndarray, np.ndarray]], loudness: np.ndarray
) -> Iterator[np.ndarray]:
    """Put a voice of any length together, some seconds at a time: yields float32 (samples,), in all frames times `PERIOD`.

    Parameters
    ----------
    hertz : float64 (frames,), 0 where noise excites it. frames : gives envelope and aperiodicity, (count, bins) each, of frames from the
    first to before the second number. loudness : float (frames,), whatever is smallest where a seam is least heard.
    """
    world = _pyworld()
    total, at, held, given = len(hertz), 0, np.zeros(0, np.float32), 0
    while at < total:
        end = total
        if total - at > _LONGEST:
            end = at + _SHORTEST + int(np.argmin(loudness[at + _SHORTEST : at + _LONGEST]))
        last = min(end + _SEAM, total)
        envelope, noise = frames(at, last)
        pitch = np.ascontiguousarray(hertz[at:last], np.float64)
        made = world.synthesize(
            pitch, np.ascontiguousarray(envelope, np.float64), np.ascontiguousarray(noise, np.float64), rate, 1000 * PERIOD
        ).astype(np.float32)
        fade = min(len(held), len(made))
        rise = (np.arange(fade, dtype=np.float32) + 0.5) / max(fade, 1)
        made[:fade] = rise * made[:fade] + (1 - rise) * held[:fade]
        goal = round(end * PERIOD * rate) - given
        made = np.pad(made, (0, max(0, goal - len(made))))
        held = made[goal:]
        given += goal
        yield made[:goal]
        at = end


def _pieces(samples: np.ndarray, rate: int) -> Iterator[tuple[np.ndarray, slice]]:
    """Cut samples into pieces that overlap: float64 (samples,) each, and which of its frames count."""
    hop = rate * PERIOD
    total = max(1, int(np.ceil(len(samples) / hop)))
    for first in range(0, total, _PIECE):
        begin, end = max(0, first - _MARGIN), min(total, first + _PIECE + _MARGIN)
        # Harvest counts a last frame at the very end, which is the next piece's first.
        piece = samples[round(begin * hop) : round(end * hop)]
        piece = np.pad(np.asarray(piece, np.float64), (0, max(0, round((end - begin) * hop) - len(piece))))
        yield piece, slice(first - begin, min(total, first + _PIECE) - begin)
