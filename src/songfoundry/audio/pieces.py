"""Shape audio between file and net: channels, rate, level and long signals in pieces. No codec is known here.

Cross-faded chunks are in `songfoundry.audio.overlap`, the exact sum in `songfoundry.audio.grid`; both are named here too.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import soxr

from songfoundry.audio.grid import STEP, cost_db, exact_sum
from songfoundry.audio.overlap import WINDOWS, chunk_count, needed, overlap_add, slice_blocks, window
from songfoundry.errors import AudioError

__all__ = [
    "CLIP_MODES",
    "STEP",
    "WINDOWS",
    "ClipReport",
    "Peak",
    "Resampler",
    "chunk_count",
    "clip",
    "clip_report",
    "conform_channels",
    "cost_db",
    "exact_sum",
    "from_pairs",
    "loudest_window",
    "needed",
    "overlap_add",
    "resample",
    "slice_blocks",
    "to_pairs",
    "window",
]

_R = math.sqrt(0.5)
_DOWNMIX = {
    # rows left and right; columns in WAV order: FL FR FC LFE BL BR (BC) SL SR
    3: ((1, 0, _R), (0, 1, _R)),
    4: ((1, 0, _R, 0), (0, 1, 0, _R)),
    5: ((1, 0, _R, _R, 0), (0, 1, _R, 0, _R)),
    6: ((1, 0, _R, 0, _R, 0), (0, 1, _R, 0, 0, _R)),
    7: ((1, 0, _R, 0, 0.5, _R, 0), (0, 1, _R, 0, 0.5, 0, _R)),
    8: ((1, 0, _R, 0, _R, 0, _R, 0), (0, 1, _R, 0, 0, _R, 0, _R)),
}


def conform_channels(block: np.ndarray, channels: int) -> np.ndarray:
    """Change the number of channels by a fixed rule.

    - one to many: a copy in each;
    - two to one: the mean;
    - three to eight, taken in WAV order (3.0, quad, 5.0, 5.1, 6.1, 7.1), to two: the ITU-R BS.775 downmix; centre and
      surrounds at -3 dB, a single back centre at -6 dB, the low-frequency channel left out, no normalisation;
    - more than eight to two: the mean of the even channels left, of the odd channels right;
    - more than two to one: first to two.

    Args:
        block: float32 (channels, samples).
        channels: how many to return.

    Returns:
        float32 (channels, samples); the block itself where nothing is to do.

    Raises:
        AudioError: no rule leads there (two channels to five, say).

    Reference:
        ITU-R BS.775-3, annex 4, table 2.
    """
    have = block.shape[0]
    if have == channels:
        return block
    if have == 1:
        return np.repeat(block, channels, axis=0)
    if channels > 2:
        raise AudioError(f"expected mono to make {channels} channels of, found {have} channels; ask for 1, 2 or {have}")
    if have > 8:
        block = np.stack([block[0::2].mean(axis=0), block[1::2].mean(axis=0)])
    elif have > 2:
        block = np.asarray(_DOWNMIX[have], np.float32) @ block
    return block if channels == 2 else block.mean(axis=0, keepdims=True)


def to_pairs(block: np.ndarray) -> list[np.ndarray]:
    """Take a block of any channel count apart into stereo signals for a stereo net.

    Channels 0 and 1 make the first pair, 2 and 3 the next (in 5.1: front, centre and low frequency, back); a last single
    channel, as of a mono file, is doubled. `from_pairs` puts the results together, so that what is written has the input's
    channels.

    Args:
        block: float32 (channels, samples).

    Returns:
        list of float32 (2, samples).
    """
    return [block[i : i + 2] if i + 1 < block.shape[0] else np.repeat(block[i:], 2, axis=0) for i in range(0, block.shape[0], 2)]


def from_pairs(pairs: Sequence[np.ndarray], channels: int) -> np.ndarray:
    """Put stereo signals back together to the channels that `to_pairs` took apart.

    Args:
        pairs: float32 (..., 2, samples) each.
        channels: how many there were; if odd, the last pair becomes one channel by its mean.

    Returns:
        float32 (..., channels, samples).
    """
    parts = list(pairs)
    if len(parts) != (channels + 1) // 2:
        raise ValueError(f"expected {(channels + 1) // 2} pairs for {channels} channels, found {len(parts)}")
    if channels % 2:
        parts[-1] = parts[-1].mean(axis=-2, keepdims=True)
    return np.concatenate(parts, axis=-2)


def resampled_length(length: int, rate_in: int, rate_out: int) -> int:
    """Return ``length * rate_out / rate_in`` rounded to the nearest integer (halves up)."""
    return (2 * length * rate_out + rate_in) // (2 * rate_in)


class Resampler:
    """Change the rate of a stream with soxr (HQ, linear phase), sample-aligned and of exact length.

    The result has `resampled_length` samples, and sample 0 stays at time 0.
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        self.rate_in, self.rate_out, self.channels = rate_in, rate_out, channels
        self._taken = self._given = 0
        self._stream = None
        if rate_in != rate_out:
            self._stream = soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality="HQ")

    def push(self, block: np.ndarray, last: bool = False, *, length: int | None = None) -> np.ndarray:
        """Take a block and return what is ready.

        Args:
            block: float32 (channels, samples); may have no samples, with ``last`` for instance.
            last: nothing follows.
            length: with ``last``: total length to end with, in samples of the output, where the caller knows better (a
                round trip should end with the length it began with); zeros fill up a missing sample or two.

        Returns:
            float32 (channels, n), n >= 0.
        """
        self._taken += block.shape[1]
        out = block if self._stream is None else self._convert(block, last)
        if last:
            goal = length if length is not None else resampled_length(self._taken, self.rate_in, self.rate_out)
            missing = goal - self._given - out.shape[1]
            out = np.pad(out, ((0, 0), (0, missing))) if missing > 0 else out[:, : out.shape[1] + missing]
        self._given += out.shape[1]
        return out

    def _convert(self, block: np.ndarray, last: bool) -> np.ndarray:
        frames = np.ascontiguousarray(block.T, np.float32)
        if self.channels == 1:
            return self._stream.resample_chunk(frames[:, 0], last).reshape(1, -1)
        return np.ascontiguousarray(self._stream.resample_chunk(frames, last).T)

    def stream(self, blocks: Iterable[np.ndarray], *, length: int | None = None):
        """Yield a whole stream of float32 (channels, n) blocks resampled; no block is empty."""
        for block in blocks:
            out = self.push(block)
            if out.shape[1]:
                yield out
        out = self.push(np.zeros((self.channels, 0), np.float32), last=True, length=length)
        if out.shape[1]:
            yield out


def resample(samples: np.ndarray, rate_in: int, rate_out: int) -> np.ndarray:
    """Resample float32 (channels, samples) at once; the same as `Resampler` gives."""
    return Resampler(rate_in, rate_out, samples.shape[0]).push(samples, last=True)


class Peak:
    """Gather the largest absolute value of a stream."""

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, block: np.ndarray) -> None:
        """Take a block of any shape into account."""
        if block.size:
            self.value = max(self.value, float(block.max()), -float(block.min()))

    @property
    def db(self) -> float:
        """The peak in dB relative to full scale; -inf for silence."""
        return 20 * math.log10(self.value) if self.value > 0 else -math.inf


CLIP_MODES = ("rescale", "clamp", "float")
"""What is done with a stem beyond full scale: turn all stems down alike, cut the peaks off, or leave it (float files)."""


@dataclass(frozen=True)
class ClipReport:
    """Hold what is done about clipping: the ``gain`` for all stems, and how far each stem went over full scale in dB."""

    mode: str
    gain: float
    over_db: dict[str, float]

    @property
    def lines(self) -> list[str]:
        """A sentence for each stem that went over; none where nothing was to do."""
        what = {
            "rescale": f"all stems were turned down by {-20 * math.log10(self.gain):.2f} dB",
            "clamp": "its peaks were cut off",
            "float": "it was kept as it is, since the file holds floats",
        }[self.mode]
        return [f"{stem} goes {over:.2f} dB over full scale: {what}" for stem, over in self.over_db.items()]


def clip_report(peaks: Mapping[str, float], mode: str, *, full_scale: float = 1.0) -> ClipReport:
    """Decide what is done about clipping, from the peak of each stem.

    Args:
        peaks: the largest absolute value of each stem, full scale 1.
        mode: one of `CLIP_MODES`.
        full_scale: the largest value that is let through; for int16 1 - 2**-15, for instance.

    Returns:
        the report; its ``gain`` is 1 except for ``rescale`` with a stem that goes over. All stems get the same gain, so that
        their sum stays the mixture, only softer.
    """
    if mode not in CLIP_MODES:
        raise ValueError(f"expected a clip mode among {', '.join(CLIP_MODES)}, found '{mode}'")
    over = {stem: 20 * math.log10(peak / full_scale) for stem, peak in peaks.items() if peak > full_scale}
    highest = max(peaks.values(), default=0.0)
    gain = full_scale / highest if mode == "rescale" and over else 1.0
    return ClipReport(mode, gain, over)


def clip(block: np.ndarray, report: ClipReport, *, full_scale: float = 1.0) -> np.ndarray:
    """Apply a report to a float32 (..., samples) block of any stem."""
    if report.mode == "float" or not report.over_db:
        return block
    if report.mode == "clamp":
        return block.clip(-full_scale, full_scale)
    # a float32 product may still round to just above
    return (block * np.float32(report.gain)).clip(-full_scale, full_scale)


def loudest_window(blocks: Iterable[np.ndarray], rate: int, seconds: float, *, hop: float = 0.1) -> int:
    """Find the window with the most energy.

    Args:
        blocks: float32 (channels, n), streamed.
        rate: Hz.
        seconds: length of the window.
        hop: step of the search in seconds.

    Returns:
        its first sample, a multiple of ``hop``; the earliest of equals; 0 for audio shorter than the window.
    """
    step = max(1, round(hop * rate))
    energies, gathered, filled = [], 0.0, 0
    for block in blocks:
        squares = np.square(block, dtype=np.float64).sum(axis=0)
        at = 0
        while at < len(squares):
            count = min(step - filled, len(squares) - at)
            gathered += float(squares[at : at + count].sum())
            filled, at = filled + count, at + count
            if filled == step:
                energies.append(gathered)
                gathered, filled = 0.0, 0
    energies.append(gathered)
    width = max(1, round(seconds * rate / step))
    if len(energies) <= width:
        return 0
    sums = np.concatenate([[0.0], np.cumsum(energies)])
    windows = sums[width:] - sums[:-width]
    # sums of equal windows differ by rounding: take the first that comes within it
    best = int(np.argmax(windows >= windows.max() * (1 - 1e-9)))
    return best * step
