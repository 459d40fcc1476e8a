"""Compare a sung F0 curve with the one that was wanted, and note onsets with those of a tune.

Pitch and voicing scores have the definitions of mir_eval's melody evaluation; the frames are the reference's.

Reference: Poliner, Ellis, Ehmann, Gómez, Streich and Ong, "Melody transcription from music audio: approaches and evaluation", IEEE
TASLP 15(4), 2007; Salamon, Gómez, Ellis and Richard, "Melody extraction from polyphonic music signals", IEEE SPM 31(2), 2014;
Nakatani, Amano, Irino, Ishizuka and Kondo, "A method for fundamental frequency estimation and voicing decision", Speech Communication
50(3), 2008 (voicing decision error).
"""

import math

import numpy as np

from songfoundry.metrics.pitch import midi_of
from songfoundry.voice.tune import Curve, Tune

__all__ = ["DEFINITIONS", "drawn", "onset_deviations", "onset_scores", "resampled", "scores"]

CENTS = 50.0
"""How far from the wanted pitch counts as right."""
_SETTLED = 0.05
"""Seconds for which a voice stays with a note's pitch where its onset is heard."""
_EARLY, _LATE = 0.25, 0.4
"""Seconds before and after a wanted onset within which it is looked for."""

DEFINITIONS = {
    "rpa": f"raw pitch accuracy: share of the wanted voiced frames within {CENTS:g} cents, whatever voicing was told (mir_eval)",
    "rca": "raw chroma accuracy: the same, octaves folded (mir_eval)",
    "overall": "overall accuracy: share of all frames with the right voicing and pitch (mir_eval)",
    "voicing_recall": "share of the wanted voiced frames that are voiced (mir_eval)",
    "voicing_false_alarm": "share of the wanted unvoiced frames that are voiced (mir_eval)",
    "voicing_error": "share of all frames whose voicing differs",
    "f0_rmse_cents": "root mean square difference in cents where both are voiced",
    "onset_ms": "median absolute deviation of the onsets that were heard, ms",
    "onset_mean_ms": "mean absolute deviation of the same",
    "onset_found": "share of the wanted onsets that were heard",
}
"""What each score is."""


def resampled(curve: Curve, times: np.ndarray) -> np.ndarray:
    """Read a curve at other times, as mir_eval does: voicing of the frame before, pitch in between, silence beyond the end.

    times : float64 (frames,), seconds, at least 0.

    Returns
    -------
    float64 (frames,), Hz; 0 where unvoiced, below 0 where the curve is.
    """
    signed = np.asarray(curve.hertz, np.float64)
    if not len(signed):
        return np.zeros(len(times))
    hertz = np.abs(signed)
    # A rounding's width, so that a frame at its own time is itself.
    place = np.asarray(times, np.float64) / curve.period + 1e-6
    before = np.minimum(place.astype(np.int64), len(hertz) - 1)
    after = np.minimum(before + 1, len(hertz) - 1)
    known = (place < len(hertz)) & (hertz[before] > 0)
    # Between a frame with a pitch and one without it is held.
    later = np.where(hertz[after] > 0, hertz[after], hertz[before])
    first = np.where(known, hertz[before], 1.0)
    share = np.where(place - before < 2e-6, 0.0, place - before)
    return np.where(known, np.sign(signed[before]) * first * (np.where(known, later, 1.0) / first) ** share, 0.0)


def scores(wanted: Curve, sung: Curve) -> dict[str, float]:
    """Score a curve that was measured against the one that was wanted: what `DEFINITIONS` names, but for the onsets.

    A frequency below 0 in the measured curve is mir_eval's: not voiced, and if it were, this would be its pitch. The frames are the
    wanted curve's; what was sung after its end is not heard. NaN where there is nothing to tell a score by.
    """
    reference = np.asarray(wanted.hertz, np.float64)
    estimate = resampled(sung, np.arange(len(reference)) * wanted.period)
    voiced, found = reference > 0, estimate > 0
    # A pitch counts where the voicing was told wrong, too: raw accuracies judge the pitch alone.
    known, both = voiced & (estimate != 0), voiced & found
    cents = 1200 * np.log2(np.where(known, np.abs(estimate), 1.0) / np.where(known, reference, 1.0))
    right = known & (np.abs(cents) < CENTS)
    chroma = known & (np.abs(cents - 1200 * np.floor(cents / 1200 + 0.5)) < CENTS)
    return {
        "rpa": _share(right, voiced), "rca": _share(chroma, voiced),
        "overall": _share(right & found | ~(voiced | found), np.ones(len(voiced), bool)),
        "voicing_recall": _share(both, voiced), "voicing_false_alarm": _share(found & ~voiced, ~voiced),
        "voicing_error": _share(voiced != found, np.ones(len(voiced), bool)),
        "f0_rmse_cents": float(np.sqrt(np.square(cents[both]).mean())) if both.any() else math.nan,
    }  # fmt: skip


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else math.nan


def drawn(tune: Tune, period: float = 0.01, seconds: float | None = None) -> Curve:
    """Draw a tune as a curve: each note straight at its pitch, rests unvoiced.

    seconds : how long the curve is; by default to the end of the last note.
    """
    times = np.arange(math.ceil((tune.seconds if seconds is None else seconds) / period - 1e-9)) * period
    hertz = np.zeros(len(times))
    for note in tune.notes:
        hertz[(times >= note.start) & (times < note.end)] = 440 * 2 ** ((note.pitch - 69) / 12)
    return Curve(hertz, period)


def _bridged(voiced: np.ndarray, shortest: int) -> np.ndarray:
    """Call breaks voiced that are shorter than so many frames, between voiced ones."""
    voiced = voiced.copy()
    for begin, end in _runs(~voiced, 1):
        if end - begin < shortest and begin and end < len(voiced):
            voiced[begin:end] = True
    return voiced


def _runs(where: np.ndarray, shortest: int) -> list[tuple[int, int]]:
    """List the stretches of at least so many frames in which ``where`` (bool (frames,)) holds, as [begin, end)."""
    edges = np.diff(np.concatenate([[0], where.astype(np.int8), [0]]))
    runs = zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True)
    return [(begin, end) for begin, end in runs if end - begin >= shortest]


def onset_deviations(tune: Tune, sung: Curve) -> np.ndarray:
    """Measure how late each note of a tune begins in a sung curve.

    A note begins where the voice begins, after a break; or, without a break before it, where the voice comes nearer to its pitch than to
    that of the note before, for 50 ms. It is looked for from 250 ms before the wanted onset to 400 ms after it, but no further than half
    the notes beside it. What is nearest counts.

    Returns
    -------
    float64 (notes,), seconds, positive where the voice is late; NaN where no onset is heard, also between notes of one pitch that the
    voice joins.
    """
    hertz = np.asarray(sung.hertz, np.float64)
    period = sung.period
    voiced = _bridged(hertz > 0, max(1, round(0.03 / period)))
    pitch = midi_of(np.where(hertz > 0, hertz, np.nan))
    settled = max(1, round(_SETTLED / period))
    starts = np.array([begin for begin, _ in _runs(voiced, settled)], np.int64)
    found = np.full(len(tune.notes), np.nan)
    for n, note in enumerate(tune.notes):
        before = tune.notes[n - 1] if n else None
        early = _EARLY if before is None else min(_EARLY, 0.5 * (before.end - before.start) + note.start - before.end)
        late = min(_LATE, 0.5 * (note.end - note.start))
        first, last = max(0, math.ceil((note.start - early) / period)), math.floor((note.start + late) / period)
        heard = starts[(starts >= first) & (starts <= last)].tolist()
        if before is not None and abs(before.pitch - note.pitch) > 1e-6:
            heard += _crossings(pitch[first : last + settled], before.pitch, note.pitch, settled, first)
        if heard:
            deviations = np.array(heard) * period - note.start
            found[n] = deviations[np.abs(deviations).argmin()]
    return found


def _crossings(pitch: np.ndarray, old: float, new: float, settled: int, first: int) -> list[int]:
    """List the frames from which a voice, NaN where unvoiced, stays nearer to the new pitch, having been nearer to the old one."""
    nearer = np.abs(pitch - new) < np.abs(pitch - old)
    known = np.isfinite(pitch)
    found = []
    for begin, _ in _runs(nearer, settled):
        if begin and known[begin - 1]:
            found.append(first + begin)
    return found


def onset_scores(tune: Tune, sung: Curve) -> dict[str, float]:
    """Sum up `onset_deviations`: "onset_ms" (median), "onset_mean_ms", "onset_found"; NaN where nothing is heard."""
    deviations = onset_deviations(tune, sung)
    heard = 1000 * np.abs(deviations[np.isfinite(deviations)])
    return {
        "onset_ms": float(np.median(heard)) if len(heard) else math.nan,
        "onset_mean_ms": float(heard.mean()) if len(heard) else math.nan,
        "onset_found": len(heard) / len(deviations) if len(deviations) else math.nan,
    }
