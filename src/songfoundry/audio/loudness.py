"""Measure loudness and true peak, and bring a piece to a loudness without ever clipping it.

The meter is pyloudnorm's (BS.1770-4 gating; the filters that match the standard's coefficients), the rest stands on it.
"""

import math
from dataclasses import dataclass

import numpy as np
import soxr
from scipy import ndimage

from songfoundry.errors import AudioError, MissingExtraError

TARGET_LUFS = -16.0
"""Loudness that is aimed at: what most players and streaming services play at, 7 dB above EBU R 128's for broadcasts."""
CEILING_DBTP = -1.0
"""Highest true peak that is written (EBU R 128, and what lossy coders need)."""

_BLOCK_SECONDS = 0.4
_STEP_SECONDS = 0.1
_FAINT_LUFS = -55.0
"""Above it, a gain changes the loudness by just itself: no block that counts lies near the gate at -70."""
_OVERSAMPLING = 4
_PIECE = 1 << 18
_MARGIN = 64
"""Samples on either side of a piece that the oversampling filter hears."""
_LOOK_AHEAD = 0.008
_MAX_CHANNELS = 5
"""BS.1770 gives weights to left, right, centre and two surrounds."""


def integrated(samples: np.ndarray, rate: int) -> float:
    """Measure the integrated loudness in LUFS, gated at -70 LUFS and 10 LU below the ungated mean; -inf for silence.

    Args:
        samples: float (channels, samples), full scale ±1; 1 to 5 channels (left, right, centre, two surrounds).
        rate: Hz.

    What is shorter than one block of the standard (0.4 s) is taken as one block of its own length.

    Raises:
        AudioError: there is no sample, or there are more than five channels.
        MissingExtraError: pyloudnorm is not installed.

    Reference:
        ITU-R BS.1770-4, annex 1; EBU R 128.
    """
    try:
        import pyloudnorm
    except ImportError as error:
        raise MissingExtraError(
            "expected the package pyloudnorm to measure loudness, found none: install it with `pip install songfoundry[midi]`"
        ) from error
    channels, count = samples.shape
    if not count or not 1 <= channels <= _MAX_CHANNELS:
        raise AudioError(f"expected 1 to {_MAX_CHANNELS} channels of sound to measure, found {channels} of {count} samples: conform them")
    # Blocks of one minute at a time: an hour in float64 would need gigabytes. The second before lets the filters settle.
    meter = pyloudnorm.Meter(rate, filter_class="DeMan", block_size=min(_BLOCK_SECONDS, count / rate))
    blocks: list[float] = []
    for first in range(0, max(1, count - round(_BLOCK_SECONDS * rate) + 1), 60 * rate):
        lead = min(first, rate)
        part = samples[:, first - lead : min(count, first + 60 * rate + round((_BLOCK_SECONDS - _STEP_SECONDS) * rate))]
        meter.integrated_loudness(part.T.astype(np.float64))
        blocks += meter.blockwise_loudness[round(lead / rate / _STEP_SECONDS) :]
    power = 10 ** (np.array(blocks) / 10)
    power = power[power >= 10**-7]
    power = power[power >= 0.1 * power.mean()] if len(power) else power
    return 10 * math.log10(power.mean()) if len(power) else -math.inf


def true_peak(samples: np.ndarray) -> float:
    """Measure the true peak in dBTP: the largest absolute value of the signal at four times its rate; -inf for silence.

    Args:
        samples: float (channels, samples), full scale ±1.

    Reference:
        ITU-R BS.1770-4, annex 2 (with a longer filter than its 48 taps, so that less is missed near half the rate).
    """
    return _decibels(float(_envelope(samples).max(initial=0.0)))


def _decibels(value: float) -> float:
    return 20 * math.log10(value) if value > 0 else -math.inf


def _envelope(samples: np.ndarray) -> np.ndarray:
    """Give the largest absolute value between each sample and the next, over all channels: float32 (samples,)."""
    out = np.zeros(samples.shape[1], np.float32)
    for first in range(0, samples.shape[1], _PIECE):
        last = min(first + _PIECE, samples.shape[1])
        low, high = max(0, first - _MARGIN), min(samples.shape[1], last + _MARGIN)
        part = np.ascontiguousarray(samples[:, low:high].T, np.float32)
        fine = np.abs(soxr.resample(part, 1, _OVERSAMPLING, quality="HQ")).max(axis=1, initial=0.0)
        fine = np.pad(fine, (0, max(0, _OVERSAMPLING * (high - low) - len(fine))))[: _OVERSAMPLING * (high - low)]
        coarse = np.maximum(fine.reshape(-1, _OVERSAMPLING).max(axis=1), np.abs(part).max(axis=1))
        out[first:last] = coarse[first - low : last - low]
    return out


def limit(samples: np.ndarray, rate: int, ceiling: float = CEILING_DBTP) -> np.ndarray:
    """Turn down the moments that pass a true peak in dBTP, smoothly and ahead of time, all channels alike.

    Args:
        samples: float32 (channels, samples), of any level.
        rate: Hz.
        ceiling: dBTP.

    Returns:
        float32 (channels, samples) whose true peak is at most ``ceiling``; the array itself where nothing passes it.
    """
    envelope = _envelope(samples)
    if _decibels(float(envelope.max(initial=0.0))) <= ceiling:
        return samples
    return _limited(samples, envelope, rate, ceiling)


def _limited(samples: np.ndarray, envelope: np.ndarray, rate: int, ceiling: float) -> np.ndarray:
    """Limit samples whose `_envelope` is known."""
    reach = max(1, round(_LOOK_AHEAD * rate))
    gain = np.minimum(1.0, 10 ** (ceiling / 20) / np.maximum(envelope, 1e-9))
    # Every value of the smoothed curve is a mean of minima that each see the peak: none lies above what the peak needs.
    gain = ndimage.minimum_filter1d(gain, 2 * reach + 1, mode="nearest")
    for _ in range(2):
        gain = ndimage.uniform_filter1d(gain, 2 * (reach // 2) + 1, mode="nearest")
    out = samples * gain.astype(np.float32)
    over = true_peak(out) - ceiling
    # A moving gain shifts the peaks between samples by some hundredths of a dB.
    return out * np.float32(10 ** (-(over + 1e-3) / 20)) if over > 0 else out


@dataclass(frozen=True)
class Levelled:
    """Hold what `level` made: ``samples`` float32 (channels, samples), their loudness and peak, and the gain that was laid on."""

    samples: np.ndarray
    lufs: float
    dbtp: float
    gain_db: float


def level(samples: np.ndarray, rate: int, target: float = TARGET_LUFS, ceiling: float = CEILING_DBTP) -> Levelled:
    """Bring sound to a loudness; peaks that would pass the ceiling are limited.

    Where so much would have to be limited that the target cannot be met (a click, a drum alone), it stays softer.

    Args:
        samples: float32 (channels, samples), of any level.
        rate: Hz.
        target: integrated loudness, LUFS.
        ceiling: highest true peak, dBTP.
    """
    highest = float(np.abs(samples).max(initial=0.0))
    if not highest:
        return Levelled(samples, -math.inf, -math.inf, 0.0)
    # From full scale, since the gate at -70 LUFS would take a faint recording for silence.
    samples, start = samples / np.float32(highest), -_decibels(highest)
    measured, envelope = integrated(samples, rate), _envelope(samples)
    peak = _decibels(float(envelope.max()))
    gain = target - measured if math.isfinite(measured) else 0.0
    if peak + gain <= ceiling and measured > _FAINT_LUFS:
        return Levelled(samples * np.float32(10 ** (gain / 20)), target, peak + gain, start + gain)
    # Limiting takes loudness away: give it back, twice; more would only flatten the peaks.
    for attempt in range(3):
        factor = np.float32(10 ** (gain / 20))
        out = samples * factor
        if peak + gain > ceiling:
            out = _limited(out, envelope * factor, rate, ceiling)
        reached = integrated(out, rate)
        if abs(target - reached) < 0.05 or attempt == 2:
            break
        gain += target - reached
    return Levelled(out, reached, true_peak(out), start + gain)
