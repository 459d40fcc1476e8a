"""Measure a row of notes: what a judge and YIN hear, how like real notes they are, whether one timbre stays itself, clicks, scales."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.spatial.distance import cdist

from songfoundry.metrics.generation import entropy, frechet, ndb, nearest, precision_recall
from songfoundry.metrics.pitch import median_cents
from songfoundry.spectral import LogMel
from songfoundry.systems.note_classifier import LOWEST, NoteClassifier

__all__ = ["Heard", "Judge", "clicks", "heard_as_asked", "jumps", "likeness", "same_timbre", "scale"]

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
        own; "n" and "training notes".
    """
    bins = int(np.clip(len(real.features) // _A_BIN, 2, 50))
    different = ndb(real.features, made.features, bins)
    among = precision_recall(real.features, made.features, NEIGHBOURS)
    found = nearest(made.image, train.image, real.image)
    return {
        "n": len(made.features), "training notes": len(train.features), "frechet": frechet(real.features, made.features),
        "ndb": different.different, "bins": bins, "precision": among.precision, "recall": among.recall,
        "diversity": _diversity(made.features, instrument), "nearest": float(np.median(found.distance)), "memorised": found.ratio,
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


def limits(real: np.ndarray, real_pitch: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """Give for each pitch the largest jump of real notes within some semitones of it; of all real notes where none is so near."""
    near = np.abs(real_pitch[None] - pitch[:, None]) <= _REACH
    largest = np.where(near, real[None], -np.inf).max(axis=1)
    return np.where(near.any(axis=1), largest, real.max())


def clicks(waveform: np.ndarray, pitch: np.ndarray, real: np.ndarray, real_pitch: np.ndarray) -> dict[str, Any]:
    """Look for clicks.

    Parameters
    ----------
    real, real_pitch : jumps and pitches of real notes.

    Returns
    -------
    figures : "median" and "largest" jump, full scale 1; "beyond", how many notes jump further than every real note of about their pitch;
        "n".
    """
    own = jumps(waveform)
    beyond = own > limits(real, real_pitch, pitch)
    return {"n": len(own), "median": float(np.median(own)), "largest": float(own.max()), "beyond": int(beyond.sum())}


def scale(heard: Heard, cents: np.ndarray, beyond: int, instrument: np.ndarray) -> dict[str, Any]:
    """Ask whether the instruments of chromatic scales are told apart, and whether the scales are in tune.

    Parameters
    ----------
    cents : (notes,), off the wanted pitches. beyond : notes that click. instrument : int64 (notes,), the wanted ones.
    """
    players = np.unique(instrument)
    among = players[heard.instrument[:, players].argmax(1)]
    away = np.abs(cents)
    return {
        "n": len(instrument), "told among all": float((heard.instrument.argmax(1) == instrument).mean()),
        "told among these": float((among == instrument).mean()), "within 50": float((away <= 50).mean()),
        "within 20": float((away <= 20).mean()), "beyond": beyond,
    }  # fmt: skip
