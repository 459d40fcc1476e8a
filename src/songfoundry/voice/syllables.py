"""Find syllables and words in a recording of speech, from its energy and voicing alone: no text, no model.

A nucleus is a peak of the energy between 300 and 3500 Hz, voiced, with a dip on either side. Reference: de Jong and Wempe, "Praat script to
detect syllable nuclei and measure speech rate automatically", Behavior Research Methods 41(2), 2009.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, signal

from songfoundry.voice.world import PERIOD, Voice

__all__ = ["Syllable", "levels", "syllables_of"]

_BAND = (300.0, 3500.0)
_SMOOTH = 0.04
"""Seconds of energy that are taken together."""
_DIP, _APART = 2.0, 0.09
"""Decibels that the energy falls between two nuclei, and seconds between them, at least."""
_FAINT, _SILENT = 25.0, 35.0
"""Decibels below the loudest frame: softer peaks are no nuclei, softer frames are silence."""
_VOWEL = 7.0
"""Decibels below its peak within which a nucleus is a vowel."""
_WORD_DIP, _WORD_GAP = 24.0, 0.07
"""A word ends where the energy of all bands falls by so many decibels, or for so many seconds into silence."""


@dataclass(frozen=True)
class Syllable:
    """Hold a syllable: frames at which it begins, its vowel begins, its vowel ends, it ends; and the number of its word, from 0."""

    begin: int
    vowel: int
    coda: int
    end: int
    word: int


def levels(voice: Voice) -> tuple[np.ndarray, np.ndarray]:
    """Measure the energy of each frame in decibels below the loudest: in the band of vowels, smoothed; and in all bands."""
    frequency = np.linspace(0, voice.rate / 2, voice.envelope.shape[1])
    band = (frequency >= _BAND[0]) & (frequency <= _BAND[1])
    sonority = voice.envelope[:, band].sum(1, dtype=np.float64)
    sonority = ndimage.uniform_filter1d(sonority, max(1, round(_SMOOTH / PERIOD)))
    whole = voice.envelope.sum(1, dtype=np.float64)
    return tuple(10 * np.log10(np.maximum(power / max(power.max(), 1e-30), 1e-12)) for power in (sonority, whole))


def syllables_of(voice: Voice) -> list[Syllable]:
    """List the syllables of a recording, in order; none where no voice is heard."""
    sonority, whole = levels(voice)
    voiced = voice.hertz > 0
    peaks, _ = signal.find_peaks(
        np.concatenate(([-120.0], sonority, [-120.0])), height=-_FAINT, prominence=_DIP, distance=round(_APART / PERIOD)
    )
    peaks = [int(peak) - 1 for peak in peaks if voiced[max(0, peak - 4) : peak + 3].any()]
    if not peaks:
        return []
    sounding = np.flatnonzero((whole > -_SILENT) | (voiced & (whole > -_SILENT - 10)))
    dips = [first + int(np.argmin(sonority[first:second])) for first, second in zip(peaks, peaks[1:], strict=False)]
    bounds = [min(int(sounding[0]), peaks[0]), *dips, max(int(sounding[-1]) + 1, peaks[-1] + 1)]
    smooth = ndimage.uniform_filter1d(whole, max(1, round(_SMOOTH / PERIOD)))
    found, word = [], 0
    for number, peak in enumerate(peaks):
        low, high = bounds[number], bounds[number + 1]
        if number:
            between = slice(peaks[number - 1], peak)
            fall = min(smooth[peaks[number - 1]], smooth[peak]) - smooth[between].min()
            gap = np.count_nonzero(whole[between] < -_SILENT) * PERIOD
            word += bool(fall > _WORD_DIP or gap >= _WORD_GAP)
        inside = voiced & (sonority > sonority[peak] - _VOWEL)
        vowel = coda = peak
        while vowel > low and inside[vowel - 1]:
            vowel -= 1
        while coda < high and inside[coda]:
            coda += 1
        # Silence at either side belongs to no syllable.
        kept = np.flatnonzero(whole[low:high] > -_SILENT)
        begin, end = (low + int(kept[0]), low + int(kept[-1]) + 1) if len(kept) else (low, high)
        coda = max(coda, vowel + 1)
        found.append(Syllable(min(begin, vowel), vowel, coda, max(end, coda), word))
    return found
