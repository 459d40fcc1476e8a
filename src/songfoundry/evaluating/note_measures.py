"""Measure a row of notes: what a judge and YIN hear, how like real notes they are, whether a timbre stays itself, flaws, scales."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.spatial.distance import cdist

from songfoundry.metrics.generation import entropy, frechet, ndb, nearest, precision_recall
from songfoundry.metrics.pitch import median_cents
from songfoundry.spectral import LogMel
from songfoundry.systems.note_classifier import LOWEST, NoteClassifier

__all__ = ["Flaws", "Heard", "Judge", "beyond", "bursts", "flaws", "heard_as_asked", "jumps", "likeness", "same_timbre", "scale"]

NEIGHBOURS = 3
"""Of precision and recall: a note lies among others within reach of their third nearest neighbours."""
_A_BIN = 8
"""Real notes that a bin of NDB holds on average, at most 50 bins."""
_REACH = 6
"""Semitones around a note's pitch from which real notes say how far a sample may be from the next."""
_OCTAVE = 12
_BATCH = 64


@dataclass
class Heard:
    """Hold what is heard of notes.

    `pitch` (notes, 88) and `instrument` (notes, instruments): the judge's probabilities, and its `features` (notes, d); `image` (notes, d):
    mel levels in dB, scaled so that the distance of two is a root mean square.
    """

    pitch: np.ndarray
    instrument: np.ndarray
    features: np.ndarray
    image: np.ndarray


class Judge:
    """Hear notes by a classifier, and as small images."""

    def __init__(self, classifier: NoteClassifier):
        self.classifier, self.rate = classifier.eval(), classifier.config.rate
        self._front = LogMel(self.rate, mels=64).to(classifier.device)

    @torch.no_grad()
    def hear(self, waveform: np.ndarray) -> Heard:
        """Hear notes, float32 (notes, samples)."""
        parts = []
        for part in torch.from_numpy(np.ascontiguousarray(waveform)).to(self.classifier.device).split(_BATCH):
            image = torch.nn.functional.avg_pool2d(self._front(part), (1, 4)).flatten(1) * 30
            parts.append((*self.classifier.judged(part), self.classifier.features(part), image / image.shape[1] ** 0.5))
        return Heard(*(torch.cat(column).float().cpu().numpy() for column in zip(*parts, strict=True)))


def heard_as_asked(
    waveform: np.ndarray, heard: Heard, pitch: np.ndarray, instrument: np.ndarray, rate: int
) -> tuple[dict[str, Any], np.ndarray]:
    """Compare what is heard with what was asked for.

    Returns
    -------
    figures : shares "pitch" and "instrument" that the judge hears as asked; "within 50" and "within 20" cents by YIN, "median cents" of the
        distances; "entropy", nats, of the judge's mean opinion of one instrument's notes (0: sure and right or wrong alike), "entropy over
        all"; "n".
    cents : float (notes,), how far YIN hears each note from the wanted pitch; infinite where it hears none.
    """
    cents = np.array([median_cents(wave, rate, wanted) for wave, wanted in zip(waveform, pitch, strict=True)])
    cents = np.where(np.isfinite(cents), cents, np.inf)
    away = np.abs(cents)
    return {
        "n": len(pitch),
        "pitch": float((heard.pitch.argmax(1) + LOWEST == pitch).mean()),
        "within 50": float((away <= 50).mean()),
        "within 20": float((away <= 20).mean()),
        "median cents": float(np.median(away)),
        "instrument": float((heard.instrument.argmax(1) == instrument).mean()),
        "entropy": float(np.mean([entropy(heard.instrument[instrument == player]) for player in np.unique(instrument)])),
        "entropy over all": entropy(heard.instrument),
    }, cents


def likeness(real: Heard, made: Heard, train: Heard, instrument: np.ndarray) -> dict[str, Any]:
    """Compare a set with as many real ones of the same pitches and instruments that nobody trained on.

    Parameters
    ----------
    real, made : of the same labels in the same order. train : training notes. instrument : int64 (notes,), of `made`.

    Returns
    -------
    figures : "frechet", "precision" and "recall" in the judge's features; "ndb" of "bins"; "diversity", the mean distance in features of
        two notes of one instrument; "nearest", dB, the median distance to the nearest training note; "memorised", that over the real notes'
        own; "closest", dB, the smallest of these distances; "too near", the share of notes that are nearer to a training note than all real
        ones but the nearest hundredth; "n" and "training notes".
    """
    bins = int(np.clip(len(real.features) // _A_BIN, 2, 50))
    different = ndb(real.features, made.features, bins)
    among = precision_recall(real.features, made.features, NEIGHBOURS)
    found = nearest(made.image, train.image, real.image)
    usual = found.distance if made is real else nearest(real.image, train.image, real.image).distance
    return {
        "n": len(made.features), "training notes": len(train.features), "frechet": frechet(real.features, made.features),
        "ndb": different.different, "bins": bins, "precision": among.precision, "recall": among.recall,
        "diversity": _diversity(made.features, instrument), "nearest": float(np.median(found.distance)), "memorised": found.ratio,
        "closest": float(found.distance.min()), "too near": float((found.distance < np.percentile(usual, 1)).mean()),
    }  # fmt: skip


def _diversity(features: np.ndarray, instrument: np.ndarray) -> float:
    """Give the mean distance of two notes of one instrument, the mean over the instruments that have two."""
    means = []
    for player in np.unique(instrument):
        own = features[instrument == player]
        if len(own) > 1:
            means.append(cdist(own, own).sum() / (len(own) * (len(own) - 1)))
    return float(np.mean(means)) if means else float("nan")


def same_timbre(features: np.ndarray, pitch: np.ndarray, instrument: np.ndarray, latent: np.ndarray) -> dict[str, Any]:
    """Ask whether a latent sounds alike at all pitches: distances of notes of one instrument at most an octave, but not nothing, apart.

    Returns
    -------
    figures : "same", the mean distance of two notes of one latent; "other", of two latents; "pairs", how many of the first kind.
    """
    far = cdist(features, features)
    apart = np.abs(pitch[:, None] - pitch[None])
    near = (instrument[:, None] == instrument[None]) & (apart > 0) & (apart <= _OCTAVE)
    same = near & (latent[:, None] == latent[None])
    other = near & ~same
    return {"pairs": int(same.sum() // 2), "same": _mean(far[same]), "other": _mean(far[other])}


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def jumps(waveform: np.ndarray) -> np.ndarray:
    """Give the largest step from one sample to the next in each note of peak 1, (notes,)."""
    return np.abs(np.diff(waveform, axis=1)).max(axis=1)


def bursts(waveform: np.ndarray, rate: int) -> np.ndarray:
    """Give the largest sudden rise of noise in each note, dB, (notes,): 0 where nothing rises.

    Levels in eight bands of equal ratio from 100 Hz to half the rate, down to 60 dB below the strongest; how much the median band rises
    within 64 ms, once the attack is an eighth of a second past. A new partial raises one band or two, noise raises all.
    """
    window, hop = 1024 * rate // 16000, 256 * rate // 16000
    edges = np.geomspace(100, rate / 2, 9)
    bins = np.fft.rfftfreq(window, 1 / rate)
    band = (bins[None] >= edges[:-1, None]) & (bins[None] < edges[1:, None])
    # Uncentred: where a note that still sounds is mirrored at its end, it would splash over all bands.
    spectrum = torch.stft(
        torch.from_numpy(np.ascontiguousarray(waveform, np.float32)), window, hop, window=torch.hann_window(window), center=False,
        return_complex=True,
    ).abs().square().numpy()  # fmt: skip
    power = np.einsum("kf,nft->nkt", band.astype(np.float32), spectrum)
    peak = power.max(axis=(1, 2), keepdims=True)
    level = 10 * np.log10(np.maximum(power, 1e-6 * peak) + 1e-20)
    rise = np.median(level[..., 4:] - level[..., :-4], axis=1)
    whole = power.sum(axis=1)
    begun = (whole > 1e-3 * whole.max(axis=1, keepdims=True)).argmax(axis=1)
    late = np.arange(rise.shape[1])[None] >= begun[:, None] + 8
    return np.maximum(np.where(late, rise, 0.0).max(axis=1), 0.0)


@dataclass
class Flaws:
    """Hold the largest jump, full scale 1, and the largest burst, dB, of each note, and its pitch: (notes,) each."""

    jump: np.ndarray
    burst: np.ndarray
    pitch: np.ndarray


def flaws(waveform: np.ndarray, pitch: np.ndarray, rate: int) -> Flaws:
    """Look for clicks and bursts of noise in notes, float32 (notes, samples)."""
    parts = [waveform[start : start + _BATCH] for start in range(0, len(waveform), _BATCH)]
    return Flaws(jumps(waveform), np.concatenate([bursts(part, rate) for part in parts]), pitch)


def limits(real: np.ndarray, real_pitch: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """Give for each pitch the largest figure of real notes within some semitones of it; of all real notes where none is so near."""
    near = np.abs(real_pitch[None] - pitch[:, None]) <= _REACH
    largest = np.where(near, real[None], -np.inf).max(axis=1)
    return np.where(near.any(axis=1), largest, real.max())


def beyond(own: Flaws, real: Flaws) -> dict[str, Any]:
    """Count the notes that click, or burst into noise, more than every real note of about their pitch.

    Returns
    -------
    figures : "median" and "largest" jump, full scale 1; "clicks", how many notes jump further than real ones; "median burst" and "largest
        burst", dB; "bursts", how many; "n".
    """
    return {
        "n": len(own.pitch), "median": float(np.median(own.jump)), "largest": float(own.jump.max()),
        "clicks": int((own.jump > limits(real.jump, real.pitch, own.pitch)).sum()),
        "median burst": float(np.median(own.burst)), "largest burst": float(own.burst.max()),
        "bursts": int((own.burst > limits(real.burst, real.pitch, own.pitch)).sum()),
    }  # fmt: skip


def scale(heard: Heard, cents: np.ndarray, found: dict[str, Any], instrument: np.ndarray) -> dict[str, Any]:
    """Ask whether the instruments of chromatic scales are told apart, and whether the scales are in tune.

    Parameters
    ----------
    cents : (notes,), off the wanted pitches. found : what `beyond` finds. instrument : int64 (notes,), the wanted ones.
    """
    players = np.unique(instrument)
    among = players[heard.instrument[:, players].argmax(1)]
    away = np.abs(cents)
    return {
        "n": len(instrument), "told among all": float((heard.instrument.argmax(1) == instrument).mean()),
        "told among these": float((among == instrument).mean()), "within 50": float((away <= 50).mean()),
        "within 20": float((away <= 20).mean()), "clicks": found["clicks"], "bursts": found["bursts"],
    }  # fmt: skip
