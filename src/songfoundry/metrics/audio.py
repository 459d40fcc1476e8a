"""Compare a sound that was encoded and decoded with what it was: spectra at the level of the original, voices by PESQ and STOI.

Everything is measured on waveforms, at the original's level: what comes back softer is an error. All functions take float (samples,) of
one length, full scale ±1; of several channels take the mean.
"""

import importlib
import warnings

import numpy as np
import torch

from songfoundry.audio.pieces import resample
from songfoundry.errors import MissingExtraError
from songfoundry.metrics.separation import si_sdr
from songfoundry.spectral.frames import Frames
from songfoundry.spectral.mel import mel_filterbank

__all__ = ["DEFINITIONS", "TOP_DB", "image_scores", "log_spectral_distance", "mel_image", "multi_resolution_stft", "pesq", "scores", "stoi"]

TOP_DB = 80.0
MELS, N_FFT, HOP = 128, 1024, 256
RESOLUTIONS = (512, 1024, 2048)
_PESQ_RATE, _STOI_RATE = 16000, 10000

DEFINITIONS = {
    "mse": f"squared error of log-mel images ({MELS} mels, n_fft {N_FFT}, hop {HOP}), {TOP_DB:g} dB below the true peak 0, it 1",
    "mae": "absolute error of the same",
    "cosine": "cosine similarity of the same",
    "lsd": f"log-spectral distance in dB, n_fft {N_FFT}, down to {TOP_DB:g} dB below the original's peak",
    "mr_stft": f"multi-resolution STFT: spectral convergence plus log magnitude, n_fft {', '.join(map(str, RESOLUTIONS))}",
    "si_sdr": "scale-invariant SDR in dB: of waveforms, so that a phase that was found again counts as an error",
    "pesq": "PESQ, wide band (ITU-T P.862.2), at 16 kHz",
    "stoi": "STOI (Taal et al. 2011), at 10 kHz",
}  # fmt: skip
"""What each score is."""


def _magnitude(samples: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """Take the magnitudes of a spectrum: float64 (bins, frames)."""
    with torch.inference_mode():
        return Frames(n_fft, hop)(torch.as_tensor(samples, dtype=torch.float32)[None])[0].abs().double().numpy()


def mel_image(samples: np.ndarray, rate: int, peak: float | None = None) -> tuple[np.ndarray, float]:
    """Draw a log-mel image, float64 (mels, frames) in [0, 1]: its top 80 dB.

    Parameters
    ----------
    peak : mel amplitude that is 1; None for the sound's own largest.

    Returns
    -------
    image, peak : what the comparison with another sound needs.
    """
    mel = mel_filterbank(rate, N_FFT, MELS).double().numpy() @ _magnitude(samples, N_FFT, HOP)
    peak = max(float(mel.max(initial=0)), 1e-9) if peak is None else peak
    level = 20 * np.log10(np.maximum(mel / peak, 10 ** (-TOP_DB / 20)))
    return np.clip(level / TOP_DB + 1, 0, 1), peak


def image_scores(original: np.ndarray, decoded: np.ndarray) -> dict[str, float]:
    """Compare images in [0, 1] of one shape: "mse", "mae", "cosine"; the cosine with silence, all zeros, is 0."""
    norms = float(np.linalg.norm(original) * np.linalg.norm(decoded))
    error = decoded - original
    return {
        "mse": float(np.square(error).mean()), "mae": float(np.abs(error).mean()),
        "cosine": float((original * decoded).sum() / norms) if norms else 0.0,
    }  # fmt: skip


def log_spectral_distance(original: np.ndarray, decoded: np.ndarray) -> float:
    """Measure the root mean square over bins of the difference in dB, the mean over frames.

    Reference: Gray & Markel 1976 ("Distance measures for speech processing"), the measure d2.
    """
    one, other = (_magnitude(sound, N_FFT, HOP) for sound in (original, decoded))
    lowest = max(float(one.max(initial=0)), 1e-9) * 10 ** (-TOP_DB / 20)
    difference = 20 * np.log10(np.maximum(one, lowest) / np.maximum(other, lowest))
    return float(np.sqrt(np.square(difference).mean(0)).mean())


def multi_resolution_stft(original: np.ndarray, decoded: np.ndarray) -> float:
    """Measure spectral convergence plus log magnitude, the mean over three resolutions.

    Reference: Yamamoto, Song & Kim 2020 (arXiv 1910.11480), eq. 3 to 6.
    """
    total = 0.0
    for size in RESOLUTIONS:
        one, other = (_magnitude(sound, size, size // 4) for sound in (original, decoded))
        lowest = max(float(one.max(initial=0)), 1e-9) * 10 ** (-TOP_DB / 20)
        total += float(np.linalg.norm(one - other) / max(float(np.linalg.norm(one)), 1e-9))
        total += float(np.abs(np.log(np.maximum(one, lowest) / np.maximum(other, lowest))).mean())
    return total / len(RESOLUTIONS)


def scores(original: np.ndarray, decoded: np.ndarray, rate: int, *, voice: bool = False) -> dict[str, float]:
    """Compare two sounds by everything that `DEFINITIONS` names; "pesq" and "stoi" with `voice` alone.

    Parameters
    ----------
    original, decoded : float (samples,) or (channels, samples), of one shape; of channels the mean is given.

    Raises
    ------
    ValueError : the shapes differ. MissingExtraError : `voice`, and a package for it is not installed.
    """
    if original.shape != decoded.shape:
        raise ValueError(f"expected two sounds of one shape, found {original.shape} and {decoded.shape}")
    if original.ndim == 2:
        rows = [scores(one, other, rate, voice=voice) for one, other in zip(original, decoded, strict=True)]
        return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    image, peak = mel_image(original, rate)
    found = image_scores(image, mel_image(decoded, rate, peak)[0])
    found["lsd"] = log_spectral_distance(original, decoded)
    found["mr_stft"] = multi_resolution_stft(original, decoded)
    found["si_sdr"] = float(si_sdr(original[None, None], decoded[None, None])[0])
    if voice:
        found["pesq"] = pesq(original, decoded, rate)
        found["stoi"] = stoi(original, decoded, rate)
    return found


def _package(name: str, what: str):
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingExtraError(
            f"expected the package {name} for {what}, found it not installed: pip install 'songfoundry[scores]'"
        ) from None


def pesq(original: np.ndarray, decoded: np.ndarray, rate: int) -> float:
    """Measure the quality of a voice as the ITU has it, 1 to 4.6; NaN where it finds no speech.

    Raises
    ------
    MissingExtraError : the package `pesq` is not installed.

    Reference: ITU-T P.862.2 (2007).
    """
    package = _package("pesq", "PESQ")
    one, other = (resample(np.asarray(sound, np.float32)[None], rate, _PESQ_RATE)[0] for sound in (original, decoded))
    try:
        return float(package.pesq(_PESQ_RATE, one, other, "wb"))
    except (package.NoUtterancesError, package.BufferTooShortError):
        return float("nan")


def stoi(original: np.ndarray, decoded: np.ndarray, rate: int) -> float:
    """Measure how much of a voice can be understood, 0 to 1; NaN where less than 0.4 s of it sounds.

    Raises
    ------
    MissingExtraError : the package `pystoi` is not installed.

    Reference: Taal, Hendriks, Heusdens & Jensen 2011.
    """
    package = _package("pystoi", "STOI")
    one, other = (resample(np.asarray(sound, np.float32)[None], rate, _STOI_RATE)[0] for sound in (original, decoded))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(package.stoi(one.astype(np.float64), other.astype(np.float64), _STOI_RATE))
        except RuntimeWarning:  # too few frames that sound
            return float("nan")
