"""Keep of a stream of samples what will be drawn or scored, and hand the rest on."""

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

__all__ = ["Loudest", "Same", "Seen"]


class Seen:
    """Keep the beginning of a stream, the mean of its channels: float32 (samples,), at most `most`."""

    def __init__(self, most: int):
        self._left, self._parts = most, []

    @property
    def samples(self) -> np.ndarray:
        """What was kept."""
        return np.concatenate(self._parts)

    def through(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Hand blocks on."""
        for block in blocks:
            if self._left > 0:
                self._parts.append(block[:, : self._left].mean(0))
                self._left -= len(self._parts[-1])
            yield block


class Loudest:
    """Keep the loudest stretch of a stream, found in steps of a second, or all of what is no longer than that.

    Attributes
    ----------
    first : number of its first sample; samples : float32 (channels, n). peak, length : of the whole stream.
    """

    def __init__(self, rate: int, seconds: float):
        self.first, self.peak, self.length = 0, 0.0, 0
        self._rate, self._most = rate, max(1, int(seconds))
        self._kept: list[np.ndarray] = []

    @property
    def samples(self) -> np.ndarray:
        """What was kept."""
        return np.concatenate(self._kept, 1)

    def through(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Hand blocks on."""
        held: deque[tuple[np.ndarray, float]] = deque()
        begun, filled, most, whole = [], 0, 0.0, True

        def close() -> None:
            nonlocal begun, filled, most, whole
            second = np.concatenate(begun, 1)
            held.append((second, float(np.square(second, dtype=np.float64).sum())))
            begun, filled = [], 0
            if len(held) > self._most:
                held.popleft()
                whole = False
            energy = sum(part for _, part in held)
            if whole or energy > most:
                most, self._kept = energy, [part for part, _ in held]
                self.first = self.length - sum(part.shape[1] for part in self._kept)

        for block in blocks:
            self.peak = max(self.peak, float(np.abs(block).max(initial=0)))
            at = 0
            while at < block.shape[1]:
                begun.append(block[:, at : at + self._rate - filled].copy())
                filled += begun[-1].shape[1]
                at += begun[-1].shape[1]
                self.length += begun[-1].shape[1]
                if filled == self._rate:
                    close()
            yield block
        if begun:
            close()


class Same:
    """Keep of a stream the samples that were kept of another."""

    def __init__(self, other: Loudest):
        self._first, self._last = other.first, other.first + other.samples.shape[1]
        self._parts: list[np.ndarray] = []

    @property
    def samples(self) -> np.ndarray:
        """What was kept."""
        return np.concatenate(self._parts, 1)

    def through(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Hand blocks on."""
        at = 0
        for block in blocks:
            part = block[:, max(0, self._first - at) : max(0, self._last - at)]
            if part.shape[1]:
                self._parts.append(part.copy())
            at += block.shape[1]
            yield block
