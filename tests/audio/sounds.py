"""Make sounds for the tests of this room."""

import numpy as np


def music(seconds: float = 2.0, rate: int = 44100, channels: int = 2, seed: int = 0) -> np.ndarray:
    """Return decaying low-passed noise bursts and tones: float32 (channels, samples), within ±0.7."""
    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    t = np.arange(n) / rate
    x = np.zeros((channels, n))
    for c in range(channels):
        for f in rng.uniform(80, 0.2 * rate, 6):
            x[c] += np.sin(2 * np.pi * f * t + rng.uniform(0, 6)) * (0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.5, 3) * t))
        noise = np.convolve(rng.standard_normal(n), np.ones(8) / 8, "same")
        x[c] += noise * np.exp(-8 * (t % 0.5))
    return (0.7 * x / np.abs(x).max()).astype(np.float32)


def lag(a: np.ndarray, b: np.ndarray, reach: int = 2000) -> int:
    """Return by how many samples (one dimension) ``b`` comes later than ``a``, by cross-correlation."""
    n = 1 << int(np.ceil(np.log2(len(a) + len(b))))
    cross = np.fft.irfft(np.conj(np.fft.rfft(a, n)) * np.fft.rfft(b, n), n)
    around = np.concatenate([cross[-reach:], cross[: reach + 1]])
    return int(np.argmax(around)) - reach


def snr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Return the signal-to-error ratio in dB."""
    return float(10 * np.log10(np.square(reference).sum() / max(np.square(reference - estimate).sum(), 1e-30)))
