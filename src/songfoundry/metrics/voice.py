"""Compare voices: spectra along the best alignment, how alike the speakers are, and whether the same words are heard.

Everything rests on mel-frequency cepstra (MFCC) of 16 kHz sound, frames of 40 ms each 10 ms, and on dynamic time warping; nothing here is a
trained embedding, and no score pretends to be one.

Reference: Kubichek, "Mel-cepstral distance measure for objective speech quality assessment", IEEE PACRIM 1993; Davis and Mermelstein, IEEE
Trans. ASSP 28(4), 1980 (MFCC); Sakoe and Chiba 1978 (warping); Kailath, IEEE Trans. Communication Technology 15(1), 1967 (Bhattacharyya).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import fft

from songfoundry.audio.pieces import resample
from songfoundry.spectral.frames import Frames
from songfoundry.spectral.mel import mel_filterbank
from songfoundry.voice.warping import align

__all__ = ["DEFINITIONS", "Described", "describe", "recognised", "scores", "speaker_distance", "words_distance"]

RATE = 16000
_SIZE, _HOP, _MELS = 640, 160, 40
_CEPSTRA = 20
_DISTORTION, _WORDS = 13, 12
"""Cepstra 1 to these count: the shape of the mouth, not the harmonics of the pitch."""
_ACTIVE = -40.0
"""Decibels against the loudest tenth of the frames, below which a frame is a pause."""
_FLOOR = -80.0

DEFINITIONS = {
    "mcd": f"mel-cepstral distortion in dB, MFCC 1 to {_DISTORTION} of {_MELS} mels, aligned by DTW, pauses left out",
    "lsd": f"log-spectral distance in dB along the same alignment, levels made equal, down to {_FLOOR:g} dB",
    "speaker": f"Bhattacharyya distance of Gaussians of MFCC 1 to {_CEPSTRA - 1} (diagonal); not a trained embedding",
    "words": f"mean DTW distance of MFCC 1 to {_WORDS} and their slopes, each with mean 0 and deviation 1",
}  # fmt: skip
"""What each score is; all are 0 for the same sound, and larger for worse."""


@dataclass(frozen=True)
class Described:
    """Hold what is compared of one voice, pauses left out.

    Attributes
    ----------
    cepstra : float64 (frames, 20), natural logarithm of amplitude: a difference of log spectra over the mel scale has the root mean square
    ``sqrt(sum of squares / 2)``. decibels : float32 (frames, bins), 0 the mean level. slopes : float64 (frames, 12), a frame.
    """

    cepstra: np.ndarray
    decibels: np.ndarray
    slopes: np.ndarray

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.cepstra)


def describe(waveform: np.ndarray, rate: int) -> Described:
    """Describe a voice, float (samples,) at `rate` Hz, for all comparisons."""
    samples = resample(np.asarray(waveform, np.float32)[None], rate, RATE)[0]
    samples = np.pad(samples, (0, max(0, _SIZE - len(samples))))
    with torch.inference_mode():
        magnitude = Frames(_SIZE, _HOP)(torch.from_numpy(samples)[None])[0].abs().T
        mel = magnitude @ mel_filterbank(RATE, _SIZE, _MELS, 80.0, 7600.0, scale="htk").T
    magnitude, mel = magnitude.double().numpy(), mel.double().numpy()
    power = np.square(magnitude).sum(1)
    loud = np.sort(power)[-max(1, len(power) // 10) :].mean()
    active = power > max(loud * 10 ** (_ACTIVE / 10), 1e-12)
    peak = max(float(magnitude.max()), 1e-12)
    cepstra = fft.dct(np.log(np.maximum(mel, peak * 10 ** (_FLOOR / 20))), axis=1)[:, :_CEPSTRA] / _MELS
    slopes = np.gradient(cepstra[:, 1 : _WORDS + 1], axis=0) if len(cepstra) > 1 else np.zeros((len(cepstra), _WORDS))
    level = math.sqrt(max(float(np.square(magnitude[active]).mean()), 1e-24)) if active.any() else 1.0
    decibels = 20 * np.log10(np.maximum(magnitude[active] / level, 10 ** (_FLOOR / 20)))
    return Described(cepstra[active], decibels.astype(np.float32), slopes[active])


def scores(wanted: Described, sung: Described) -> dict[str, float]:
    """Compare two voices by all that `DEFINITIONS` names; NaN where one of them is silent."""
    if not len(wanted) or not len(sung):
        return dict.fromkeys(DEFINITIONS, math.nan)
    shape = slice(1, _DISTORTION + 1)
    path = align(wanted.cepstra[:, shape], sung.cepstra[:, shape])
    difference = wanted.cepstra[path[:, 0], shape] - sung.cepstra[path[:, 1], shape]
    spectral = wanted.decibels[path[:, 0]] - sung.decibels[path[:, 1]]
    return {
        "mcd": float(10 / math.log(10) * np.sqrt(2 * np.square(difference).sum(1)).mean()),
        "lsd": float(np.sqrt(np.square(spectral).mean(1)).mean()),
        "speaker": speaker_distance(wanted, sung), "words": words_distance(wanted, sung),
    }  # fmt: skip


def speaker_distance(one: Described, other: Described) -> float:
    """Measure how far apart two speakers' sounds lie, whatever they say: 0 for the same; NaN where one is silent."""
    if not len(one) or not len(other):
        return math.nan
    first, second = one.cepstra[:, 1:], other.cepstra[:, 1:]
    variances = first.var(0) + 1e-6, second.var(0) + 1e-6
    mean = (variances[0] + variances[1]) / 2
    away = np.square(first.mean(0) - second.mean(0)) / mean / 8
    return float((away + 0.5 * np.log(mean / np.sqrt(variances[0] * variances[1]))).sum())


def words_distance(one: Described, other: Described) -> float:
    """Measure how differently two recordings sound through their words, whoever says them; NaN where one is silent."""
    if not len(one) or not len(other):
        return math.nan
    first, second = _normal(one), _normal(other)
    path = align(first, second)
    return float(np.linalg.norm(first[path[:, 0]] - second[path[:, 1]], axis=1).mean() / math.sqrt(first.shape[1]))


def _normal(voice: Described) -> np.ndarray:
    """Take the speaker and the microphone out: cepstra and slopes with mean 0 and deviation 1."""
    features = np.concatenate([voice.cepstra[:, 1 : _WORDS + 1], voice.slopes], 1)
    return (features - features.mean(0)) / np.maximum(features.std(0), 1e-6)


def recognised(sung: Described, templates: Sequence[Described]) -> int:
    """Say which of some spoken sentences is heard: the number of the one with the least `words_distance`; -1 of silence.

    How often it is the right one is intelligibility in a closed set, by MFCC and DTW: chance is one part in as many as there are.
    """
    distances = [words_distance(template, sung) for template in templates]
    return int(np.argmin(distances)) if np.isfinite(distances).all() else -1
