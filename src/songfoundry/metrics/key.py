"""Tell the key of a piece from its notes, by the Krumhansl-Kessler profiles, or by Temperley's.

References: Krumhansl, "Cognitive Foundations of Musical Pitch", Oxford 1990, chapters 2 (profiles) and 4 (the algorithm:
correlate how long each pitch class sounds with the 24 profiles); Temperley, "Music and Probability", MIT Press 2007, chapter 6
(how often each pitch class occurs in a key, counted in the Kostka-Payne corpus).
"""

import numpy as np

from .music import Notes

_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
_TEMPERLEY_MAJOR = (0.748, 0.060, 0.488, 0.082, 0.670, 0.460, 0.096, 0.715, 0.104, 0.366, 0.057, 0.400)
_TEMPERLEY_MINOR = (0.712, 0.084, 0.474, 0.618, 0.049, 0.460, 0.105, 0.747, 0.404, 0.067, 0.133, 0.330)


def _of_all_keys(major: tuple[float, ...], minor: tuple[float, ...]) -> np.ndarray:
    return np.stack([np.roll(profile, tonic) for profile in (major, minor) for tonic in range(12)])


def _unit(profiles: np.ndarray) -> np.ndarray:
    centred = profiles - profiles.mean(1, keepdims=True)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


PROFILES = _of_all_keys(_MAJOR, _MINOR)
"""float64 (24 keys, 12 pitch classes): how well each fits; key = pitch class of the tonic + 12 for minor."""

UNIT_PROFILES = _unit(PROFILES)
"""float64 (24, 12): the profiles less their mean, of length 1: a dot product with a histogram of that kind is their correlation."""

TEMPERLEY = _unit(_of_all_keys(_TEMPERLEY_MAJOR, _TEMPERLEY_MINOR))
"""As `UNIT_PROFILES`, Temperley's: a judge of what was written to fit the others."""

RELATIONS = ("equal", "relative", "neither")


def key_scores(notes: Notes, profiles: np.ndarray = UNIT_PROFILES) -> np.ndarray:
    """Correlate the time for which each pitch class sounds with the profile of each key: float64 (24,), -1 to 1.

    Drums are left out. All are 0 where nothing sounds or all twelve sound equally long.
    """
    return fit(sounding(notes), profiles)


def sounding(notes: Notes) -> np.ndarray:
    """Add up for how long each pitch class sounds, drums left out: float64 (12,)."""
    notes = notes.pitched
    return np.bincount(notes.pitches % 12, weights=notes.durations.astype(np.float64), minlength=12)


def fit(sounding: np.ndarray, profiles: np.ndarray = UNIT_PROFILES) -> np.ndarray:
    """Correlate histograms of pitch classes, float64 (..., 12), with the profile of each key: float64 (..., 24), 0 for a flat one."""
    centred = sounding - sounding.mean(-1, keepdims=True)
    length = np.linalg.norm(centred, axis=-1, keepdims=True)
    flat = length <= 1e-12 * np.maximum(1.0, sounding.sum(-1, keepdims=True))
    return np.where(flat, 0.0, centred / np.where(flat, 1.0, length) @ profiles.T)


def key_of(notes: Notes, profiles: np.ndarray = UNIT_PROFILES) -> int | None:
    """Give the key whose profile fits best (tonic + 12 for minor), or None where there is nothing to tell it by."""
    scores = key_scores(notes, profiles)
    return int(scores.argmax()) if scores.any() else None


def relative(key: int) -> int:
    """Give the relative key: the one with the same scale in the other mode."""
    return (key + 9) % 12 + 12 if key < 12 else (key - 12 + 3) % 12


def key_relation(first: int | None, second: int | None) -> str:
    """Say how two keys stand to each other: "equal", "relative" or "neither" (also where one is not known)."""
    if first is None or second is None:
        return "neither"
    return "equal" if first == second else "relative" if second == relative(first) else "neither"
