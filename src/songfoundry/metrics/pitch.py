"""Measure the pitch of single notes and voices: YIN frame by frame, a voice's F0 curve, and how far a note is off its pitch.

Reference: de Cheveigné and Kawahara, "YIN, a fundamental frequency estimator for speech and music", JASA 111(4), 2002: equations 6
(difference function) and 8 (its cumulative mean), steps 4 (threshold) and 5 (parabola). Three things differ: the dip that is taken
must be nearly as deep as the deepest, which halves the octave errors on recorded notes; the lags of high pitches lie closer than
the samples; and the period is refined at its own multiples.
"""

import math

import numpy as np
from scipy import fft

from songfoundry.voice.tune import Curve

__all__ = ["aperiodicity", "follow", "median_cents", "midi_of", "yin"]

_THRESHOLD = 0.15
_LOUD_DECIBELS = -30.0
"""Frames below this level against the loudest one do not vote on a note's pitch."""
_AS_GOOD = 0.03
"""Of dips that are less shallow than this against the deepest one, the first is the period; chosen on the real notes."""
_FINE_LAG = 256
_DOUBLINGS = 6
"""Lags grow at most so often, and no further, while the period is refined."""
_FRAMES_AT_ONCE = 256
"""Bounds the memory of long recordings."""
_VOICED_DEPTH = 0.4
"""Normalised difference below which a frame of a voice is periodic enough to be called voiced; chosen on training and validation voices."""
_CLEAR_DEPTH, _LEAST_CLEAR = 0.15, 10
"""Of frames that tell the range of a voice, and how many of them there must be."""
_BELOW, _ABOVE = 0.7, 1.5
"""Parts of the range's ends beyond which a voice is not looked for."""
_VOICED_DECIBELS = -50.0
"""Frames softer than this against the loudest tenth of a voice's frames are not voiced."""


def yin(
    waveform: np.ndarray, rate: int, low: float, high: float, *, threshold: float = _THRESHOLD, hop: int | None = None
) -> np.ndarray:
    """Measure the fundamental frequency in each frame.

    Parameters
    ----------
    waveform : float (samples,).
    rate : Hz.
    low, high : the frequencies, in Hz, between which it is looked for.
    threshold : of the normalised difference: the first dip below it is the period, if it is hardly shallower than the deepest one;
        else the deepest is. 0 takes the deepest.
    hop : samples between frames, by default 10 ms.

    Returns
    -------
    float64 (frames,), Hz; NaN in frames that are silent to the bit or have no dip at all. Frames lie wholly inside the waveform,
    which is padded with silence where it is shorter than one.

    Raises
    ------
    ValueError : frequencies that are not 0 < low < high < rate / 2.
    """
    return _measure(waveform, rate, low, high, threshold, hop)[0]


def follow(
    waveform: np.ndarray, rate: int, *, low: float = 65.0, high: float = 1000.0, period: float = 0.01, guesses: bool = False
) -> Curve:
    """Follow the F0 of a voice that sounds alone, and tell where it is voiced: YIN twice, and nothing that knows what was wanted.

    The clearest frames of a first hearing say in which range the voice sings here; the second hearing looks there alone, with windows as
    short as that range allows. A frame is voiced where its dip is deep and it is not much softer than the loud ones. A frame that stands
    alone against both its neighbours follows them.

    Parameters
    ----------
    waveform : float (samples,), full scale ±1. rate : Hz. low, high : Hz, the range of all voices. period : seconds between frames.

    Returns
    -------
    Curve, a frame for each period begun; its period is that of a whole number of samples. As mir_eval has it, the guess at the pitch of a
    frame that is not voiced has a minus before it where `guesses`, and is 0 else.

    Raises
    ------
    ValueError : frequencies that are not 0 < low < high < rate / 2.

    Reference: Hirst, "A Praat plugin for Momel and INTSINT", ICPhS 2007 (the range from quantiles of a first hearing).
    """
    waveform = np.asarray(waveform, np.float64)
    hop = max(1, round(period * rate))
    if not len(waveform):
        return Curve(np.zeros(0), hop / rate)
    # Every second frame will do for the range.
    frequency, depth, power = _centred(waveform, rate, low, high, 2 * hop)
    clear = np.isfinite(frequency) & (depth < _CLEAR_DEPTH) & (power > _level(power) * 10 ** (_VOICED_DECIBELS / 10))
    if clear.sum() >= _LEAST_CLEAR:
        ends = np.quantile(frequency[clear], [0.05, 0.95])
        low, high = max(low, _BELOW * ends[0]), min(high, _ABOVE * ends[1])
    frequency, depth, power = _centred(waveform, rate, low, high, hop)
    sounding = np.isfinite(frequency) & (power > max(_level(power) * 10 ** (_VOICED_DECIBELS / 10), 1e-10))
    hertz = _without_strays(np.where(sounding & (depth < _VOICED_DEPTH), np.nan_to_num(frequency), 0.0))
    if guesses:
        hertz = np.where((hertz == 0) & sounding, -np.nan_to_num(frequency), hertz)
    return Curve(hertz, hop / rate)


def _centred(waveform, rate: int, low: float, high: float, hop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measure as `_measure` does, but for frames whose middle is at whole hops, one for each that begins."""
    # What is compared begins at the frame and reaches over two of the longest periods, then one lag further: its middle, of a usual pitch.
    longest = math.ceil(rate / low) + 2
    padded = np.pad(waveform, (round(1.15 * longest), 3 * longest))
    count = -(-len(waveform) // hop)
    return tuple(column[:count] for column in _measure(padded, rate, low, high, _THRESHOLD, hop))


def _level(power: np.ndarray) -> float:
    """Give the mean power of the loudest tenth of the frames."""
    return float(np.sort(power)[-max(1, len(power) // 10) :].mean())


def _without_strays(hertz: np.ndarray) -> np.ndarray:
    """Let frames that stand alone follow their neighbours: in voicing, and where they leap by more than a fifth and back."""
    before, after = np.pad(hertz, (1, 0), mode="edge")[:-1], np.pad(hertz, (0, 1), mode="edge")[1:]
    both, none = (before > 0) & (after > 0), (before == 0) & (after == 0)
    between = np.sqrt(before * after)
    steady = both & (np.maximum(before, after) < 1.5 * np.minimum(before, after))
    stray = steady & ((hertz > 1.5 * between) | (1.5 * hertz < between))
    return np.where(stray, between, np.where(none, 0.0, hertz))


def _measure(waveform, rate, low, high, threshold, hop) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measure frequency (Hz), normalised difference there (0: periodic) and mean power of each frame."""
    if not 0 < low < high < rate / 2:
        raise ValueError(f"expected 0 < low < high < {rate / 2:g} Hz, found {low:g} and {high:g}")
    waveform = np.asarray(waveform, np.float64)
    longest = math.ceil(rate / low) + 2
    # A window of two periods of the lowest pitch: one alone lets noise and beating shift the dips.
    window, hop = 2 * longest, hop or round(0.01 * rate)
    size = window + longest
    waveform = np.pad(waveform, (0, max(0, size - len(waveform))))
    frames = np.lib.stride_tricks.sliding_window_view(waveform, size)[::hop]
    # Periods of a few samples fall between lags, where their dip is missed and that of two periods is taken.
    finer = 2 if high > rate / 32 else 1
    shortest = max(1, math.floor(finer * rate / high) - 1)
    parts = [
        _of_frames(frames[n : n + _FRAMES_AT_ONCE], window, finer, shortest, threshold) for n in range(0, len(frames), _FRAMES_AT_ONCE)
    ]
    lags, depths, powers = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return finer * rate / lags, depths, powers


def _of_frames(frames: np.ndarray, window: int, finer: int, shortest: int, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the period of each frame: (frames, size) -> lag in steps of 1 / finer samples, normalised difference there, power."""
    size = frames.shape[1]
    lags = finer * (size - window)
    long = fft.next_fast_len(size + window, real=True)
    spectrum = fft.rfft(frames, long) * np.conj(fft.rfft(frames[:, :window], long))
    # Zeros above the highest frequency: the correlation between the lags, exactly.
    products = finer * fft.irfft(spectrum, finer * long)[:, :lags]
    squares = np.cumsum(np.pad(np.square(frames), ((0, 0), (1, 0))), axis=1)
    energy = squares[:, window:] - squares[:, : size - window + 1]
    if finer > 1:
        share = np.arange(finer) / finer
        energy = (energy[:, :-1, None] * (1 - share) + energy[:, 1:, None] * share).reshape(len(frames), -1)
    energy = energy[:, :lags]
    difference = np.maximum(energy[:, :1] + energy - 2 * products, 0)
    mean = np.cumsum(difference[:, 1:], axis=1) / np.arange(1, lags)
    # The rounding of what should be zero must not make a dip of its own: -120 dB of the frame's energy.
    normal = np.ones_like(difference)
    np.divide(difference[:, 1:], mean, out=normal[:, 1:], where=mean > 1e-12 * energy[:, :1])
    before, inner, after = normal[:, shortest - 1 : lags - 2], normal[:, shortest : lags - 1], normal[:, shortest + 1 :]
    dips = (inner <= before) & (inner < after)
    # A dip is as deep as the parabola through it, not as the lag that happens to be near.
    depths = np.where(dips, inner - (before - after) ** 2 / (8 * np.where(dips, before - 2 * inner + after, 1)), np.inf)
    deepest = depths.min(axis=1, keepdims=True)
    # Half the period dips too where the even partials are strong: what is much shallower than the deepest dip is not it.
    good = depths <= np.maximum(deepest, np.minimum(threshold, deepest + _AS_GOOD))
    first = good.argmax(axis=1) + shortest
    lag = _dip(difference, first)
    # A dip k periods on says the period k times as precisely; of high notes, a few samples long, one period says it to 50 cents only.
    row, periods = np.arange(len(lag)), np.ones(len(lag))
    for _ in range(_DOUBLINGS):
        further = (lag * periods < _FINE_LAG) & (2 * lag * periods < lags - 3)
        periods[further] *= 2
        near = np.clip(np.rint(lag * periods).astype(int), 2, lags - 3)
        near += np.argmin([difference[row, near + step] for step in (-1, 0, 1)], axis=0) - 1
        lag = np.where(further, _dip(difference, near) / periods, lag)
    power = energy[:, 0] / window
    return np.where((power > 0) & dips.any(axis=1), lag, np.nan), normal[row, first], power


def _dip(difference: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Place the dip at a lag between the samples: by a parabola through the plain difference, for the mean's slope would move it."""
    row = np.arange(len(near))
    left, middle, right = (difference[row, near + step] for step in (-1, 0, 1))
    bend = left - 2 * middle + right
    offset = np.divide(0.5 * (left - right), bend, out=np.zeros(len(row)), where=bend > 0)
    return near + np.clip(offset, -0.5, 0.5)


def midi_of(frequency):
    """Give the MIDI number, with a fraction, of a frequency in Hz (69 is 440 Hz)."""
    return 69 + 12 * np.log2(np.asarray(frequency) / 440)


def median_cents(waveform: np.ndarray, rate: int, midi: float) -> float:
    """Measure how far a note is off a pitch: the median of its loud frames, in cents, octave errors as they are.

    The label does not guide the measurement: it is looked for from MIDI 20 to a little above 108, whatever was wanted.

    Parameters
    ----------
    waveform : float (samples,), one note.
    rate : Hz.
    midi : the pitch that was wanted.

    Returns
    -------
    cents (positive: sharp); NaN where nothing sounds.
    """
    frequency, depth, voting = _voting(waveform, rate)
    if not voting.any():
        return math.nan
    # Frames without a clear period, as in an attack's noise, vote only where no others do.
    clear = voting & (depth < max(0.3, np.median(depth[voting])))
    return float(np.median(100 * (midi_of(frequency[clear if clear.any() else voting]) - midi)))


def aperiodicity(waveform: np.ndarray, rate: int) -> float:
    """Measure how far a sound is from having a period: the median over its loud frames of YIN's normalised difference.

    0 is a tone without noise; recorded notes have up to 0.2, noise 0.8 and more. NaN where nothing sounds. Arguments as of `median_cents`.
    """
    _, depth, voting = _voting(waveform, rate)
    return float(np.median(depth[voting])) if voting.any() else math.nan


def _voting(waveform: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measure each frame of a note: frequency (Hz), normalised difference there, and whether the frame is loud enough to count."""
    frequency, depth, power = _measure(waveform, rate, 25.0, min(4600.0, 0.45 * rate), _THRESHOLD, round(0.02 * rate))
    return frequency, depth, np.isfinite(frequency) & (power > max(power.max(initial=0) * 10 ** (_LOUD_DECIBELS / 10), 1e-12))
