"""Vary waveforms: colour, pitch and tempo apart from each other, what a studio adds, an mp3 round trip. All pure functions."""

import tempfile
from pathlib import Path

import numpy as np
import soxr
from scipy.signal import get_window, lfilter, oaconvolve

from songfoundry.audio import io


def tilt(samples: np.ndarray, amount: float) -> np.ndarray:
    """Brighten (amount > 0) or darken (amount < 0) float32 (channels, samples) by a first-order filter.

    `amount` in (-1, 1) is the filter's coefficient: y[n] = x[n] - amount * x[n-1].
    """
    return lfilter([1.0, -amount], [1.0], samples, axis=-1).astype(np.float32)


def saturate(samples: np.ndarray, drive_db: float) -> np.ndarray:
    """Overdrive float32 (channels, samples): a soft limit `drive_db` below the signal's own level times four, at the level it had."""
    level = float(np.sqrt(np.square(samples).mean()))
    if not level:
        return samples
    driven = np.tanh(samples * np.float32(10 ** (drive_db / 20) / (4 * level)))
    return (driven * np.float32(level / np.sqrt(np.square(driven).mean()))).astype(np.float32)


def echo(samples: np.ndarray, delay: int, gain: float) -> np.ndarray:
    """Add to float32 (2, samples) its copy `delay` samples later, sides exchanged, `gain` times as loud: doubling, or an echo."""
    late = np.pad(samples[::-1], ((0, 0), (delay, 0)))[:, : samples.shape[1]]
    return samples + np.float32(gain) * late


def reverberate(samples: np.ndarray, seconds: float, gain: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Add the sound of a room to float32 (2, samples) at `rate` Hz.

    The room is noise that falls by 60 dB in `seconds`, another one on each side, its top falling faster; `gain` is its level beside
    the dry sound's. (Moorer 1979, "About this reverberation business", takes such noise for the response of a hall.)
    """
    length = round(seconds * rate)
    fall = 10 ** (-3 * np.arange(length) / length)
    response = lfilter([0.5], [1.0, -0.5], rng.standard_normal((2, length)) * fall, axis=-1)
    response *= gain / np.sqrt(np.square(response).sum(1, keepdims=True))
    return (samples + oaconvolve(samples, response, axes=1)[:, : samples.shape[1]]).astype(np.float32)


def stretch(samples: np.ndarray, factor: float, n_fft: int = 2048, hop_length: int = 512) -> np.ndarray:
    """Make a signal `factor` times as long at the same pitch, by a phase vocoder whose channels share one phase advance.

    Parameters
    ----------
    samples : float32 (channels, samples).
    factor : 0.5 to 2; above 1 is slower.

    Returns
    -------
    stretched : float32 (channels, round(samples * factor)).

    Reference
    ---------
    Laroche & Dolson 1999, "Improved phase vocoder time-scale modification of audio", eq. 4 to 8 (no phase locking). The phase
    advance is that of the channels' sum, so that the picture between the channels stays.
    """
    length = round(samples.shape[1] * factor)
    window = get_window("hann", n_fft).astype(np.float32)
    padded = np.pad(samples, ((0, 0), (n_fft // 2, n_fft)))
    # Analysis frames at hop / factor, each with the frame one hop earlier: their phase difference is the advance of a hop.
    starts = np.arange(0, length + n_fft, hop_length) / factor
    starts = starts[starts + n_fft + hop_length <= padded.shape[1]].astype(int)
    at = starts[:, None] + np.arange(n_fft)
    frames = np.fft.rfft(padded[:, at] * window)  # (channels, frames, bins)
    before = np.fft.rfft(padded[:, np.maximum(at - hop_length, 0)] * window)
    advance = np.angle(frames.sum(0)) - np.angle(before.sum(0))
    phase = np.angle(frames.sum(0))
    turned = np.concatenate((phase[:1], phase[:1] + np.cumsum(advance[1:], axis=0))) - phase
    frames = np.fft.irfft(frames * np.exp(1j * turned), n=n_fft) * window
    out = np.zeros((samples.shape[0], len(starts) * hop_length + n_fft))
    weight = np.zeros(out.shape[1])
    for number in range(len(starts)):
        place = slice(number * hop_length, number * hop_length + n_fft)
        out[:, place] += frames[:, number]
        weight[place] += window**2
    out = (out / np.maximum(weight, 1e-3))[:, n_fft // 2 : n_fft // 2 + length]
    return np.pad(out, ((0, 0), (0, length - out.shape[1]))).astype(np.float32)


def pitch_and_tempo(samples: np.ndarray, semitones: float, slower: float, rate: int) -> np.ndarray:
    """Shift the pitch by semitones and make the signal `slower` times as long, one apart from the other.

    float32 (channels, samples) at `rate` Hz -> (channels, about samples * slower).
    """
    ratio = 2 ** (semitones / 12)
    stretched = stretch(samples, slower * ratio)
    return np.ascontiguousarray(soxr.resample(stretched.T, rate * ratio, rate, quality="MQ").T)


def mp3_round_trip(samples: np.ndarray, rate: int, bitrate: int) -> np.ndarray:
    """Write float32 (channels, samples) as mp3 at `bitrate` kbit/s and read it back: same length, sample-aligned."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trip.mp3"
        # mp3 clips at full scale; a mixture of remixed stems may lie above it.
        peak = max(1.0, float(np.abs(samples).max(initial=0)))
        io.write(path, samples / peak, rate, bitrate=bitrate)
        back = io.read(path).samples[:, : samples.shape[1]] * np.float32(peak)
    return np.pad(back, ((0, 0), (0, samples.shape[1] - back.shape[1])))
