"""Put a voice and its backing together, block by block: a room for the voice, levels by loudness; long sounds wait on the disk."""

import itertools
import math
import tempfile
from collections.abc import Iterable, Iterator

import numpy as np

from songfoundry.audio.loudness import CEILING_DBTP, integrated, limit
from songfoundry.audio.pieces import Resampler

__all__ = ["Loudness", "Take", "in_a_room", "limited", "mixed"]

_BLOCK = 1 << 16
_ROOM_SECONDS, _ROOM_DELAY, _ROOM_DECIBELS = 1.1, 0.018, -15.0
"""Reverberation time (to -60 dB), delay of its begin, and its energy against the voice's."""
_ROOM_BAND = (250.0, 6000.0)
"""Hz between which a room answers."""
_PIECE_SECONDS = 30.0
_LIMIT_SECONDS, _LIMIT_MARGIN = 10.0, 0.2
"""What is limited at once, and what a piece hears of its neighbours."""


class Take:
    """Hold a sound on the disk, float32 (channels, samples), to be read again; a context manager.

    Attributes
    ----------
    rate : Hz. channels : number. frames : samples a channel. peak : the largest absolute value.
    """

    def __init__(self, rate: int, channels: int = 1):
        self.rate, self.channels, self.frames, self.peak = rate, channels, 0, 0.0
        self._file = tempfile.TemporaryFile()

    def __enter__(self) -> "Take":
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._file.close()

    @property
    def seconds(self) -> float:
        """Say how long it is."""
        return self.frames / self.rate

    def add(self, block: np.ndarray) -> None:
        """Take a block, float32 (channels, n)."""
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(block.T, np.float32).tobytes())
        self.frames += block.shape[1]
        self.peak = max(self.peak, float(np.abs(block).max(initial=0)))

    def blocks(self, gain: float = 1.0) -> Iterator[np.ndarray]:
        """Give it from the start: float32 (channels, n) each."""
        self._file.flush()
        for first in range(0, self.frames, _BLOCK):
            self._file.seek(4 * self.channels * first)
            data = self._file.read(4 * self.channels * min(_BLOCK, self.frames - first))
            yield np.frombuffer(data, np.float32).reshape(-1, self.channels).T * np.float32(gain)


def in_a_room(blocks: Iterable[np.ndarray], rate: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Give a voice, float32 (1, n) blocks, as it sounds in a room: float32 (2, n), with the room's end after the voice's."""
    from scipy import fft, signal

    draw = np.random.default_rng(seed)
    count = round(_ROOM_SECONDS * rate)
    tail = draw.standard_normal((2, count)) * np.exp(-math.log(1000) * np.arange(count) / count)
    high = min(_ROOM_BAND[1], 0.45 * rate)
    tail = signal.sosfilt(signal.butter(2, (_ROOM_BAND[0], high), "bandpass", fs=rate, output="sos"), tail)
    tail *= 10 ** (_ROOM_DECIBELS / 20) / np.sqrt(np.square(tail).sum(1, keepdims=True))
    answer = np.concatenate((np.zeros((2, round(_ROOM_DELAY * rate))), tail), 1)
    answer[:, 0] = 1.0
    size = fft.next_fast_len(_BLOCK + answer.shape[1], real=True)
    spectrum = fft.rfft(answer, size)
    rest = np.zeros((2, answer.shape[1] - 1))
    for block in blocks:
        for first in range(0, block.shape[1], _BLOCK):
            part = block[0, first : first + _BLOCK]
            made = fft.irfft(fft.rfft(part, size) * spectrum, size)[:, : len(part) + rest.shape[1]]
            made[:, : rest.shape[1]] += rest
            rest = made[:, len(part) :].copy()
            yield made[:, : len(part)].astype(np.float32)
    yield rest.astype(np.float32)


class Loudness:
    """Measure the loudness of a stream, float32 (1 or 2, n) blocks at `rate` Hz, every half minute by itself.

    Raises
    ------
    MissingExtraError : pyloudnorm is not installed.
    """

    def __init__(self, rate: int):
        self.rate = rate
        self._found: list[float] = []
        self._held: list[np.ndarray] = []

    def through(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Pass blocks on, and listen to them."""
        for block in blocks:
            self._held.append(block)
            if sum(one.shape[1] for one in self._held) >= _PIECE_SECONDS * self.rate:
                self._measure()
            yield block
        self._measure()

    def of(self, blocks: Iterable[np.ndarray]) -> float:
        """Listen to all blocks and give `lufs`."""
        for _ in self.through(blocks):
            pass
        return self.lufs

    def _measure(self) -> None:
        if any(one.shape[1] for one in self._held):
            self._found.append(integrated(np.concatenate(self._held, 1), self.rate))
        self._held = []

    @property
    def lufs(self) -> float:
        """The mean power of the half minutes, in LUFS, without those that are 10 LU below it; -inf for silence."""
        power = 10 ** (np.array([value for value in self._found if math.isfinite(value)]) / 10)
        return 10 * math.log10(power[power >= 0.1 * power.mean()].mean()) if len(power) else -math.inf


def limited(blocks: Iterable[np.ndarray], rate: int, gain: float, ceiling: float = CEILING_DBTP) -> Iterator[np.ndarray]:
    """Lay a gain on a stream, float32 (channels, n), and limit what passes a true peak of `ceiling` dBTP, ten seconds at a time."""
    margin, size, lead, held = round(_LIMIT_MARGIN * rate), round(_LIMIT_SECONDS * rate), 0, None
    for block in itertools.chain(blocks, (None,)):
        if block is not None:
            block = block * np.float32(gain)
            held = block if held is None else np.concatenate((held, block), 1)
        while held is not None and (held.shape[1] - lead >= size + margin or (block is None and held.shape[1] > lead)):
            count = min(size, held.shape[1] - lead)
            # A hair below the ceiling: the neighbour's piece may be trimmed by another hundredth of a dB.
            piece = limit(held[:, : lead + count + margin], rate, ceiling - 0.05)
            yield piece[:, lead : lead + count]
            dropped = max(0, lead + count - margin)
            held, lead = held[:, dropped:], lead + count - dropped


def mixed(voice: Iterable[np.ndarray], voice_rate: int, backing: Iterable[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    """Add a voice, float32 (2, n) blocks at `voice_rate` Hz, to a backing, (2, n) at `rate` Hz: until the later of the two ends."""
    sung = Resampler(voice_rate, rate, 2).stream(voice)
    held = np.zeros((2, 0), np.float32)
    for block in backing:
        while held.shape[1] < block.shape[1]:
            more = next(sung, None)
            if more is None:
                held = np.pad(held, ((0, 0), (0, block.shape[1] - held.shape[1])))
                break
            held = np.concatenate((held, more), 1)
        yield block + held[:, : block.shape[1]]
        held = held[:, block.shape[1] :]
    if held.shape[1]:
        yield held
    yield from sung
