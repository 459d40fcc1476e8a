"""Do what every sound needs: pitch in Hz, bands of noise, a place on a track, a room."""

import numpy as np
from scipy import signal


def hertz(pitch: float | np.ndarray) -> float | np.ndarray:
    """Give the frequency in Hz of a MIDI note number (fractions allowed; 69 is 440 Hz)."""
    return 440.0 * 2.0 ** ((np.asarray(pitch) - 69.0) / 12.0)


def band(noise: np.ndarray, low: float, high: float, rate: int, order: int = 2) -> np.ndarray:
    """Keep what lies between two frequencies in Hz; a `high` at or above half the rate leaves the top open."""
    low, top = min(max(low, 20.0), 0.4 * rate), 0.49 * rate
    if high >= top:
        return signal.sosfilt(signal.butter(order, low, "highpass", fs=rate, output="sos"), noise)
    return signal.sosfilt(signal.butter(order, (low, max(high, low * 1.1)), "bandpass", fs=rate, output="sos"), noise)


def add(track: np.ndarray, sound: np.ndarray, start: int) -> None:
    """Add a sound to a track (the last axis is time) at a sample, cut to what lies inside."""
    first, last = max(0, start), min(track.shape[-1], start + sound.shape[-1])
    if last > first:
        track[..., first:last] += sound[..., first - start : last - start]


def place(track: np.ndarray, sound: np.ndarray, seconds: float, rate: int) -> None:
    """Add a sound to a track in place, beginning at a time in seconds; what lies outside the track is cut off.

    Args:
        track: float (channels, samples) or (samples,).
        sound: float of the same channels.
        seconds: where the sound begins.
        rate: samples a second.
    """
    add(track, sound, round(seconds * rate))


def reverberate(dry: np.ndarray, seconds: float, amount: float, rate: int, draw: np.random.Generator) -> np.ndarray:
    """Add a room to (2, samples): decaying noise of `seconds` (to -60 dB), another one left than right."""
    time = np.arange(int(seconds * rate)) / rate
    tail = draw.standard_normal((2, len(time))) * np.exp(-6.9 * time / seconds) * np.minimum(1, time / 0.01)
    tail = band(tail, 250, 6000, rate, order=1)
    tail /= np.sqrt((tail**2).sum(axis=1, keepdims=True))
    wet = signal.oaconvolve(dry, tail, axes=-1)[:, : dry.shape[1]]
    # The convolution's rounding noise would make silence sound, at -300 dB, and every score of silence count it.
    wet[np.abs(wet) < 1e-9] = 0
    return dry + amount * wet
