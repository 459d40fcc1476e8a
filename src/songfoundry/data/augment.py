"""Vary waveforms; all pure functions."""

import numpy as np
from scipy.signal import lfilter


def tilt(samples: np.ndarray, amount: float) -> np.ndarray:
    """Brighten (amount > 0) or darken (amount < 0) float32 (channels, samples) by a first-order filter.

    `amount` in (-1, 1) is the filter's coefficient: y[n] = x[n] - amount * x[n-1].
    """
    return lfilter([1.0, -amount], [1.0], samples, axis=-1).astype(np.float32)
