"""Bring music that comes in blocks to one loudness: it waits in a temporary file, so that memory holds a few seconds of it."""

import math
import tempfile
from collections.abc import Iterable, Iterator

import numpy as np

from songfoundry.audio.loudness import CEILING_DBTP, integrated, limit, true_peak

__all__ = ["Spool"]

_PIECE_SECONDS = 10.0
_MARGIN_SECONDS = 0.2
"""What a piece hears of its neighbours, so that limiting goes on smoothly over its ends."""


class Spool:
    """Hold music on the disk, float32 stereo, until its loudness is known; a context manager.

    Attributes
    ----------
    frames : samples a channel. lufs, dbtp : integrated loudness and true peak, after `level`.
    """

    def __init__(self, rate: int):
        self.rate, self.frames, self.lufs, self.dbtp = rate, 0, -math.inf, -math.inf
        self._files = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, kind, error, trace) -> None:
        for file in self._files:
            file.close()

    def take(self, blocks: Iterable[np.ndarray]) -> None:
        """Write blocks, float32 (2, n), down."""
        for block in blocks:
            self._files[0].write(np.ascontiguousarray(block.T, np.float32).tobytes())
            self.frames += block.shape[1]
        self._files[0].flush()

    def level(self, target: float, ceiling: float = CEILING_DBTP) -> None:
        """Bring it to a loudness in LUFS; moments whose true peak would pass the ceiling are limited, what that costs is given back once.

        Reference: ITU-R BS.1770-4, as `songfoundry.audio.loudness.level`.
        """
        raw = self._mapped(self._files[0])
        measured, gain = integrated(raw, self.rate), 0.0
        if math.isfinite(measured):
            gain = target - measured
        for _ in range(2):
            file = self._files[1]
            file.seek(0)
            for piece in self._pieces(raw):
                file.write(np.ascontiguousarray(self._limited(raw, piece, gain, ceiling).T).tobytes())
            file.flush()
            made = self._mapped(file)
            self.lufs = integrated(made, self.rate)
            if not math.isfinite(self.lufs) or target - self.lufs < 0.05:
                break
            gain += target - self.lufs
        self.dbtp = max((true_peak(np.array(made[:, piece])) for piece in self._pieces(made)), default=-math.inf)

    def blocks(self) -> Iterator[np.ndarray]:
        """Give what `level` made: float32 (2, n) each."""
        made = self._mapped(self._files[1])
        for piece in self._pieces(made):
            yield np.array(made[:, piece])

    def _limited(self, raw: np.ndarray, piece: slice, gain: float, ceiling: float) -> np.ndarray:
        margin = round(_MARGIN_SECONDS * self.rate)
        low, high = max(0, piece.start - margin), min(self.frames, piece.stop + margin)
        # A hair below the ceiling: the neighbour's piece may be trimmed by another hundredth of a dB.
        part = limit(raw[:, low:high] * np.float32(10 ** (gain / 20)), self.rate, ceiling - 0.05)
        return part[:, piece.start - low : piece.stop - low]

    def _pieces(self, samples: np.ndarray) -> list[slice]:
        step = round(_PIECE_SECONDS * self.rate)
        return [slice(first, min(first + step, samples.shape[1])) for first in range(0, samples.shape[1], step)]

    def _mapped(self, file) -> np.ndarray:
        return np.memmap(file, np.float32, "r", shape=(self.frames, 2)).T
