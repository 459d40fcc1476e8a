"""Hear the metre: estimate beat and bar length from the notes' onsets alone, never from a file's own metre and tempo events.

One estimator serves prompt and continuation, so that "does it still sound in three?" is asked of both in the same way. Four
accents are spread over time (how strongly something is struck, how long it lasts, how low it is, how much the pitch classes
change), each a train of Gaussian pulses. Peaks of their autocorrelation, with multiples and parts, propose beats; a hypothesis
is a beat, two or three parts a beat, two to four beats a bar, and a first downbeat. Its features are the autocorrelation at
the lags that it names and the accents at the times that it names; a linear score of them, fitted on training files by
``benchmarks/fit_metre.py`` (a conditional logit, so scores are log-probabilities but for a constant), chooses.

Reference: Brown, "Determination of the meter of musical scores by autocorrelation", JASA 94(4), 1993 (onsets weighted by
duration); Gouyon et al., "An experimental comparison of audio tempo induction algorithms", IEEE TASLP 14(5), 2006 (equal means
within 4 %).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .music import DRUMS, Notes

TOLERANCE = 0.04
RATE = 100
"""Samples a second of the accents."""
WIDTH = 0.025
"""Standard deviation in seconds of an onset's pulse: players are no more exact."""
MOST_SECONDS = 60.0
"""How much of a piece is heard: its first minute."""
BEATS = (0.24, 1.6)
"""Shortest and longest beat in seconds."""
BARS = (0.7, 6.5)
"""Shortest and longest bar in seconds."""
FORMS = ((2, 2), (3, 2), (4, 2), (2, 3), (3, 3), (4, 3))
"""Beats a bar and parts a beat: 2/4, 3/4, 4/4, 6/8, 9/8, 12/8."""
ACCENTS = ("struck", "long", "low", "changed")
CURVES = (*ACCENTS, "repeated")
"""What is autocorrelated: the accents, and which pitch classes and drums are struck."""
_MOST_BEATS = 40
_SIMULTANEOUS = 0.03
"""Seconds within which onsets are one."""

# Fitted on 1,789 cuts of training files. Rows by kind of feature, columns in the order of ACCENTS (at times: how far downbeats stand
# out from beats, beats from what lies between), of CURVES (at lags), and as `names` has it.
WEIGHTS = {
    "down": (-0.332, 0.481, 0.129, 0.0428),
    "beat": (0.197, 0.47, -0.0352, 0.00972),
    "bar lag": (-1.37, 5.76, 3.58, 2.94, -0.268),
    "beat lag": (1.22, 2.59, -0.282, -0.921, 1.39),
    "part lag": (1.69, 2.44, 0.102, -0.705, -0.748),
    "two bars": (1.95, 3.95, 1.35, 1.22, -0.91),
    "scale": (7.69, -3.88, 1.29, 2.05, 2.27, -6.16, 2.73),
    "form": (1.59, 2.43, 2.15, 0.889, -1.31, -3.15),
}


@dataclass(frozen=True)
class Metre:
    """Hold what was heard.

    ``bar`` and ``beat`` in seconds; ``beats`` a bar; ``division`` parts a beat; ``first`` downbeat in seconds after the first onset.
    """

    bar: float
    beat: float
    beats: int
    division: int
    first: float


def same(first: float, second: float, tolerance: float = TOLERANCE) -> bool:
    """Say whether two lengths of time are equal as tempo induction takes it: within 4 % of the second."""
    return abs(first - second) <= tolerance * second


def alike(first: float, second: float) -> bool:
    """Say whether two lengths of time are equal but for the level: the same, or double, half, three times or a third.

    Reference: "accuracy 2" of Gouyon et al. 2006.
    """
    return any(same(first, second * factor) for factor in (1, 2, 1 / 2, 3, 1 / 3))


def accents(notes: Notes) -> np.ndarray:
    """Spread the accents of a piece in seconds over time from its first onset: float64 (accents, samples) at `RATE`."""
    order = np.lexsort((notes.pitches, notes.starts))
    notes = notes.keep(order)
    onset = np.zeros(len(notes), np.int64)
    times = []
    for k, start in enumerate(notes.starts):
        if not times or start - times[-1] > _SIMULTANEOUS:
            times.append(float(start))
        onset[k] = len(times) - 1
    times = np.array(times)
    count = len(times)
    pitched = notes.programs != DRUMS
    strength = np.zeros(count)
    np.add.at(strength, onset, notes.velocities / 127.0)
    gap = np.append(np.diff(times), 0.0)
    long = np.minimum(gap, 1.0)
    held = np.zeros(count)
    np.maximum.at(held, onset[pitched], np.minimum(notes.durations[pitched], 1.5))
    lowest = np.full(count, 128.0)
    np.minimum.at(lowest, onset[pitched], notes.pitches[pitched])
    kick = np.zeros(count)
    kick[onset[~pitched & np.isin(notes.pitches, (35, 36))]] = 1.0
    usual = np.median(notes.pitches[pitched]) if pitched.any() else 60.0
    low = np.where(lowest < 128, np.clip((usual - lowest) / 12.0, 0, 2), 0.0) + kick
    change = _changes(notes, pitched, times)
    values = np.stack([np.sqrt(strength), long + held, low, change])
    begin = times[0] if count else 0.0
    samples = int(np.ceil((times[-1] - begin + 1.0) * RATE)) if count else 1
    found = np.zeros((len(values), samples))
    reach = np.arange(-int(4 * WIDTH * RATE), int(4 * WIDTH * RATE) + 1)
    for k, time in enumerate(times - begin):
        at = int(round(time * RATE)) + reach
        inside = (at >= 0) & (at < samples)
        pulse = np.exp(-0.5 * ((at[inside] / RATE - time) / WIDTH) ** 2)
        found[:, at[inside]] += values[:, k : k + 1] * pulse
    return found


def _changes(notes: Notes, pitched: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Say for each onset how much what sounds in the next half second differs in pitch class from the half before, 0 to 1."""
    start, end, pitch = notes.starts[pitched], notes.ends[pitched], notes.pitches[pitched] % 12
    result = np.zeros(len(times))
    for k, time in enumerate(times):
        both = []
        for a, b in ((time - 0.5, time - 0.02), (time - 0.02, time + 0.5)):
            overlap = np.clip(np.minimum(end, b) - np.maximum(start, a), 0, None)
            both.append(np.bincount(pitch, weights=overlap, minlength=12))
        length = np.linalg.norm(both[0]) * np.linalg.norm(both[1])
        result[k] = 1 - both[0] @ both[1] / length if length > 0 else 0.0
    return result


def _autocorrelation(curves: np.ndarray) -> np.ndarray:
    """Correlate each curve, float64 (curves, samples), with itself at each lag: 1 at lag 0, unbiased up to three quarters."""
    count = curves.shape[-1]
    curves = curves - curves.mean(-1, keepdims=True)
    size = 1 << (2 * count - 1).bit_length()
    spectrum = np.fft.rfft(curves, size)
    found = np.fft.irfft(np.abs(spectrum) ** 2, size)[..., :count]
    return found * (count / np.maximum(count - np.arange(count), count * 0.25))


def _lagged(notes: Notes, curves: np.ndarray) -> np.ndarray:
    """Autocorrelate the accents and, summed, the onsets of each pitch class and kind of drum: float64 (curves, lags)."""
    count = curves.shape[-1]
    drums = np.select([np.isin(notes.pitches, kind) for kind in ((35, 36), (38, 39, 40), (42, 44, 46), (51, 53, 59), (49, 57))],
                      range(5), 5)  # fmt: skip
    voice = np.where(notes.programs == DRUMS, 12 + drums, notes.pitches % 12)
    struck = np.zeros((18, count))
    at = np.minimum(np.round((notes.starts - notes.starts.min()) * RATE).astype(np.int64), count - 1)
    np.add.at(struck, (voice, at), 1.0)
    pulse = np.exp(-0.5 * (np.arange(-15, 16) / RATE / 0.04) ** 2)
    struck = np.stack([np.convolve(row, pulse, "same") if row.any() else row for row in struck])
    found = np.concatenate([_autocorrelation(curves), _autocorrelation(struck).sum(0, keepdims=True)])
    return found / np.maximum(found[:, :1], 1e-9)


def _at(curves: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Read curves, (..., samples), at times or lags by linear interpolation, 0 beyond the end: float64 (..., *seconds.shape)."""
    place = np.asarray(seconds) * RATE
    below = np.clip(place.astype(np.int64), 0, curves.shape[-1] - 2)
    part = place - below
    value = curves[..., below] * (1 - part) + curves[..., below + 1] * part
    return np.where(place < curves.shape[-1] - 1, value, 0.0)


def _candidates(lags: np.ndarray) -> np.ndarray:
    """Propose beats in seconds, the most periodic first: peaks of the mean autocorrelation, their parts and multiples."""
    mean = lags.mean(0)
    first, last = max(2, int(BEATS[0] / 2 * RATE)), min(len(mean) - 2, int(3 * BEATS[1] * RATE))
    k = np.arange(first, max(first, last))
    k = k[(mean[k] >= mean[k - 1]) & (mean[k] > mean[k + 1]) & (mean[k] > -0.05)]
    bend = mean[k - 1] - 2 * mean[k] + mean[k + 1]
    peaks = (k + 0.5 * (mean[k - 1] - mean[k + 1]) / np.where(bend, bend, -1.0)) / RATE
    beats = (peaks[:, None] * np.array([1, 1 / 2, 1 / 3, 1 / 4, 2, 3])).ravel()
    beats = beats[(beats >= BEATS[0]) & (beats <= BEATS[1])]
    if not len(beats):
        return beats
    # A beat is as exact as its eighth multiple shows.
    stretch = 1 + np.linspace(-0.02, 0.02, 21)
    score = sum(_at(mean, beats[:, None] * stretch * multiple) for multiple in range(1, 9))
    beats, order = beats * stretch[score.argmax(1)], np.argsort(-score.max(1), kind="stable")
    kept: list[float] = []
    for beat in beats[order]:
        if all(abs(beat - other) > 0.015 * other for other in kept):
            kept.append(float(beat))
    return np.array(kept[:_MOST_BEATS])


@lru_cache(maxsize=len(FORMS))
def _averages(beats: int, division: int) -> tuple[np.ndarray, np.ndarray]:
    """Make the matrices that average over a bar's parts, for each part as its first: float64 (first, part), beats and off-beats."""
    parts = beats * division
    place = (np.arange(parts)[None, :] - np.arange(parts)[:, None]) % parts
    on, off = (place % division == 0) & (place > 0), place % division > 0
    return on / on.sum(1, keepdims=True), off / off.sum(1, keepdims=True)


def features(notes: Notes) -> tuple[np.ndarray, np.ndarray]:
    """List hypotheses about a piece in seconds, and what speaks for each.

    Returns:
        hypotheses: float64 (n, 4), the columns beat (seconds), beats a bar, parts a beat, first downbeat (seconds after the onset).
        features: float64 (n, features), in the order of `names`.
    """
    notes = notes.keep(notes.starts < notes.starts.min(initial=np.inf) + MOST_SECONDS)
    if not len(notes):
        return np.zeros((0, 4)), np.zeros((0, len(names())))
    curves = accents(notes)
    lags, seconds = _lagged(notes, curves), curves.shape[1] / RATE
    level, mass = curves.mean(1)[:, None] + 1e-9, curves[0].sum() / (np.sqrt(2 * np.pi) * WIDTH * RATE) + 1e-9
    hypotheses, rows = [], []
    for beat in _candidates(lags[: len(ACCENTS)]):
        phases = np.arange(0, beat, 1 / RATE)
        times = phases[:, None] + beat * np.arange(max(1, int(seconds / beat)))
        phase = phases[_at(curves[0], times).sum(1).argmax()]
        for division in (2, 3):
            part, first = beat / division, phase % (beat / division)
            struck = _at(curves, first + part * np.arange(int((seconds - first) / part))) / level
            covered = float(struck[0].sum() * level[0, 0] / mass)
            for form, (beats, parts) in enumerate(FORMS):
                bar, count = beats * beat, beats * division
                if parts != division or not BARS[0] <= bar <= BARS[1] or bar > 0.7 * seconds or struck.shape[1] < count:
                    continue
                mean = np.stack([struck[:, place::count].mean(1) for place in range(count)], 1)
                on, off = (mean @ average.T for average in _averages(beats, division))
                at_bar = _at(lags, np.array([bar, 2 * bar, beat, part, beat / (5 - division)]))
                long, quick = np.log(bar / 2.0), np.log(beat / 0.55)
                shared = [
                    *at_bar[:, 0], *at_bar[:, 2], *(at_bar[:, 3] - at_bar[:, 4]), *(at_bar[:, 1] - at_bar[:, 0]),
                    covered, np.log(covered * part / 0.25 + 1e-3), long, long * long, quick, quick * quick, quick * (division == 3),
                    *(form == other for other in range(len(FORMS))),
                ]  # fmt: skip
                rows.append(np.concatenate([(mean - on).T, (on - off).T, np.tile(shared, (count, 1))], 1))
                hypotheses += [(beat, beats, division, (first + place * part) % bar) for place in range(count)]
    if not rows:
        return np.zeros((0, 4)), np.zeros((0, len(names())))
    return np.array(hypotheses), np.concatenate(rows)


def names() -> list[str]:
    """Name the features in their order."""
    at_times = [f"{kind} {accent}" for kind in ("down", "beat") for accent in ACCENTS]
    at_lags = [f"{kind} {curve}" for kind in ("bar lag", "beat lag", "part lag", "two bars") for curve in CURVES]
    scale = ["cover", "log cover", "log bar", "log bar squared", "log beat", "log beat squared", "log beat in three"]
    return [*at_times, *at_lags, *scale, *(f"form {beats}x{division}" for beats, division in FORMS)]


def estimate_metre(notes: Notes, weights: np.ndarray | None = None) -> Metre | None:
    """Hear the metre of a piece whose times are in seconds, or None where nothing repeats.

    ``weights``: float64 (features,), in the order of `names`; by default those that were fitted.
    """
    hypotheses, found = features(notes)
    if not len(hypotheses):
        return None
    weights = np.array([value for row in WEIGHTS.values() for value in row]) if weights is None else weights
    beat, beats, division, first = hypotheses[int((found @ weights).argmax())]
    return Metre(float(beat * beats), float(beat), int(beats), int(division), float(first))
