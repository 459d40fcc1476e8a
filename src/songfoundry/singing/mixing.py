"""Put a voice and its backing together, block by block: a room for the voice, levels by loudness; long sounds wait on the disk."""

import math
import tempfile
from collections.abc import Iterable, Iterator

import numpy as np

from songfoundry.audio.loudness import integrated
from songfoundry.audio.pieces import Resampler

__all__ = ["Take", "in_a_room", "loudness_of", "mixed"]

_BLOCK = 1 << 16
_ROOM_SECONDS, _ROOM_DELAY, _ROOM_DECIBELS = 1.1, 0.018, -15.0
"""Reverberation time (to -60 dB), delay of its begin, and its energy against the voice's."""
_ROOM_BAND = (250.0, 6000.0)
"""Hz between which a room answers."""
_PIECE_SECONDS = 30.0


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


def loudness_of(blocks: Iterable[np.ndarray], rate: int) -> float:
    """Measure the loudness of a stream, float32 (1 or 2, n), in LUFS; -inf for silence.

    Every half minute by itself; their mean power, without those that are 10 LU below it.

    Raises
    ------
    MissingExtraError : pyloudnorm is not installed.
    """
    found: list[float] = []
    held, size = [], 0
    for block in blocks:
        held.append(block)
        size += block.shape[1]
        if size >= _PIECE_SECONDS * rate:
            found.append(integrated(np.concatenate(held, 1), rate))
            held, size = [], 0
    if size:
        found.append(integrated(np.concatenate(held, 1), rate))
    power = 10 ** (np.array([value for value in found if math.isfinite(value)]) / 10)
    if not len(power):
        return -math.inf
    return 10 * math.log10(power[power >= 0.1 * power.mean()].mean())


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
