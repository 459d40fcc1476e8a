"""Make the F0 of a singer out of a tune, and read and write F0 curves.

Reference: Saitou, Goto, Unoki and Akagi, "Speech-to-singing synthesis: converting speaking voices to singing voices by controlling
acoustic features unique to singing voices", WASPAA 2007, section 3.1: overshoot, vibrato, preparation as second-order systems, fine
fluctuation as filtered noise. Its frequencies and dampings are kept; the depth of vibrato is the caller's.
"""

import csv
import io
import math
import os

import numpy as np
from scipy import ndimage, signal

from songfoundry.errors import InputError
from songfoundry.voice.tune import Curve, Tune, TuneNote
from songfoundry.voice.world import PERIOD

__all__ = ["curve_of", "hertz_of", "notes_of", "read_curve", "transposed", "write_curve"]

_OVERSHOOT = (34.8, 0.5422)
_PREPARATION = (29.2, 0.6681)
"""Natural frequency (rad/s) and damping of the two second-order systems (table 1 of the reference, there per ms)."""
_EARLY = 0.045
"""Seconds that a glide begins before its note, so that it crosses the middle where the note begins, as singers' do."""
_UNHURRIED = 0.45
"""Seconds that the notes of a phrase last where glides have the reference's pace, at least."""
_VIBRATO_AFTER, _VIBRATO_RISE = 0.25, 0.3
"""Seconds of a note without vibrato, and until it is at its depth."""
_FLUCTUATION, _FLUCTUATION_CENTS = 10.0, 6.0
"""Cut-off (Hz) of the fine fluctuation and its standard deviation."""
_SHORT_REST = 0.08
"""Seconds: across a shorter rest the voice glides."""
_NEW_NOTE = 0.8
"""Semitones from one note to the next in a curve, at least."""
_GLIDE = 0.15
"""Seconds that a way from note to note takes at most."""
_LONGEST = 3 * 3600
"""Seconds that a curve may be long."""


def hertz_of(midi):
    """Give the frequency in Hz of a MIDI number."""
    return 440.0 * 2 ** ((np.asarray(midi, np.float64) - 69) / 12)


def transposed(target: Tune | Curve, semitones: float) -> Tune | Curve:
    """Move a tune or a curve by semitones."""
    if isinstance(target, Curve):
        return Curve(target.hertz * 2 ** (semitones / 12), target.period)
    return Tune(tuple(TuneNote(note.start, note.end, note.pitch + semitones) for note in target.notes))


def curve_of(
    tune: Tune, *, expression: float = 1.0, vibrato_rate: float = 5.5, vibrato_depth: float = 30.0, seed: int = 0
) -> tuple[Curve, np.ndarray]:
    """Make the F0 that a singer would give a tune, and the vibrato in it.

    Parameters
    ----------
    expression : 0 straight on the notes, 1 all of it. vibrato_rate : Hz; vibrato_depth : cents either way. seed : of the fluctuation.

    Returns
    -------
    curve : Hz every `PERIOD`, 0 in rests. vibrato : float64 (frames,), -1 to 1, what it swings by; for the amplitude too.
    """
    count = math.ceil(tune.seconds / PERIOD)
    clock = np.arange(count) * PERIOD
    cents, swing, noise = np.zeros(count), np.zeros(count), np.random.default_rng(seed).standard_normal(count + 200)
    for phrase in _phrases(tune):
        first, last = math.floor(phrase[0].start / PERIOD), min(count, math.ceil(phrase[-1].end / PERIOD))
        here = clock[first:last]
        straight = _steps(phrase, here)
        # Quick notes have quick ways between them: else they would be over before their pitch is reached.
        pace = float(np.clip(_UNHURRIED / np.median([note.end - note.start for note in phrase]), 1.0, 2.5))
        moved = _second_order(_steps(phrase, here + _EARLY / pace), pace * _OVERSHOOT[0], _OVERSHOOT[1])
        # Preparation: just before the pitch moves, it goes a little the other way.
        ahead = _second_order(_steps(phrase, here + (_EARLY + 0.06) / pace), pace * _PREPARATION[0], _PREPARATION[1])
        moved -= 0.12 * (ahead - moved) * (np.abs(ahead - moved) < 1300)
        cents[first:last] = straight + expression * (moved - straight)
        swing[first:last] = _vibrato(phrase, here, vibrato_rate)
    slow = signal.lfilter(*signal.butter(2, _FLUCTUATION * 2 * PERIOD), noise)[200:]
    cents += expression * (vibrato_depth * swing + _FLUCTUATION_CENTS * slow / max(slow.std(), 1e-9))
    hertz = hertz_of(cents / 100)
    hertz[~_sounding(tune, clock)] = 0
    return Curve(hertz, PERIOD), swing


def notes_of(curve: Curve) -> Tune:
    """Find the notes in a curve: voiced stretches, parted where the pitch goes on to another one, at least 80 ms each.

    Gaps of up to 40 ms are bridged. The curve itself stays the melody; the notes say where syllables may begin.
    """
    voiced = curve.hertz > 0
    notes, least = [], round(0.08 / curve.period)
    for first, last in _runs(_bridged(voiced, round(0.04 / curve.period))):
        inside = np.arange(first, last)[voiced[first:last]]
        pitch = np.interp(np.arange(first, last), inside, 69 + 12 * np.log2(curve.hertz[inside] / 440))
        smooth = ndimage.median_filter(pitch, 2 * (round(0.1 / curve.period) // 2) + 1, mode="nearest")
        begin = 0
        for frame in [*range(least, len(smooth) - least), len(smooth)]:
            if frame - begin < least and (begin or frame < len(smooth)):
                continue
            pitch = float(np.median(smooth[max(begin, frame - 3 * least) : frame]))
            if frame == len(smooth) or abs(float(np.median(smooth[frame : frame + least])) - pitch) > _NEW_NOTE:
                notes.append(TuneNote((first + begin) * curve.period, (first + frame) * curve.period, pitch))
                begin = frame
    return Tune(tuple(_without_glides(notes)))


def read_curve(path: str | os.PathLike) -> Curve:
    """Read an F0 curve: lines of seconds and Hz (0 where unvoiced), evenly spaced or not; a heading is passed over.

    Raises
    ------
    InputError : no such file, or it holds something else.
    """
    name = os.fspath(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            text = file.read(64 << 20)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(f"expected an F0 curve (csv), {name} cannot be read ({reason}): check it") from None
    rows = []
    for number, row in enumerate(csv.reader(io.StringIO(text)), 1):
        try:
            rows.append((float(row[0]), float(row[1])))
        except (ValueError, IndexError):
            if row and number > 1:
                found = ",".join(row)[:40]
                raise InputError(f"expected seconds,hertz in line {number} of {name}, found {found!r}: mend that line") from None
    values = np.array(rows).reshape(-1, 2)
    times, hertz = values.T
    if not len(times) or not np.isfinite(values).all() or (np.diff(times) <= 0).any() or times[0] < 0 or times[-1] > _LONGEST:
        raise InputError(f"expected growing seconds from 0 to {_LONGEST} and hertz in {name}, found other numbers: mend it")
    if not (hertz > 0).any() or ((hertz > 0) & ((hertz < 20) | (hertz > 4000))).any():
        raise InputError(f"expected hertz from 20 to 4000, or 0 where nothing is voiced, in {name}, found others: mend it")
    clock = np.arange(round(times[-1] / PERIOD) + 1) * PERIOD
    near = np.clip(np.searchsorted(times, clock), 1, max(len(times) - 1, 1)) if len(times) > 1 else np.zeros(len(clock), int)
    voiced = hertz > 0
    nearest = near - (clock - times[near - 1] < times[near] - clock) if len(times) > 1 else near
    log = np.interp(clock, times[voiced], np.log(hertz[voiced]))
    return Curve(np.where(voiced[nearest], np.exp(log), 0.0), PERIOD)


def write_curve(curve: Curve) -> str:
    """Write an F0 curve as csv text that `read_curve` reads."""
    lines = [f"{number * curve.period:.4f},{hertz:.3f}" for number, hertz in enumerate(curve.hertz)]
    return "\n".join(["seconds,hertz", *lines, ""])


def _without_glides(notes: list[TuneNote]) -> list[TuneNote]:
    """Give what lies between two notes in pitch and in time, and is short, to both of them."""
    kept: list[TuneNote] = []
    for number, note in enumerate(notes):
        before, after = kept[-1] if kept else None, notes[number + 1] if number + 1 < len(notes) else None
        joined = before is not None and after is not None and note.start - before.end < 1e-6 and after.start - note.end < 1e-6
        if joined and note.end - note.start < _GLIDE and min(before.pitch, after.pitch) < note.pitch < max(before.pitch, after.pitch):
            middle = (note.start + note.end) / 2
            kept[-1] = TuneNote(before.start, middle, before.pitch)
            notes[number + 1] = TuneNote(middle, after.end, after.pitch)
        else:
            kept.append(note)
    return kept


def _phrases(tune: Tune) -> list[list[TuneNote]]:
    """Part a tune at its rests."""
    phrases: list[list[TuneNote]] = []
    for note in tune.notes:
        if phrases and note.start - phrases[-1][-1].end < _SHORT_REST:
            phrases[-1].append(note)
        else:
            phrases.append([note])
    return phrases


def _steps(phrase: list[TuneNote], clock: np.ndarray) -> np.ndarray:
    """Give the note that is sung at each moment, in cents."""
    starts = np.array([note.start for note in phrase])
    pitches = 100 * np.array([note.pitch for note in phrase])
    return pitches[np.clip(np.searchsorted(starts, clock, side="right") - 1, 0, len(phrase) - 1)]


def _second_order(wanted: np.ndarray, frequency: float, damping: float) -> np.ndarray:
    """Follow a curve as a damped mass does; it begins at rest where the curve begins."""
    system = signal.cont2discrete(([frequency**2], [1, 2 * damping * frequency, frequency**2]), PERIOD, "bilinear")
    return wanted[0] + signal.lfilter(system[0].ravel(), system[1], wanted - wanted[0])


def _vibrato(phrase: list[TuneNote], clock: np.ndarray, rate: float) -> np.ndarray:
    """Swing between -1 and 1 in what each long note has after its beginning."""
    swing = np.zeros(len(clock))
    for note in phrase:
        inside = (clock >= note.start) & (clock < note.end)
        since = clock[inside] - note.start
        depth = np.clip((since - _VIBRATO_AFTER) / _VIBRATO_RISE, 0, 1) * np.clip((note.end - clock[inside]) / 0.08, 0, 1)
        swing[inside] = depth * np.sin(2 * np.pi * rate * np.maximum(since - _VIBRATO_AFTER, 0))
    return swing


def _sounding(tune: Tune, clock: np.ndarray) -> np.ndarray:
    """Tell which moments lie in a note, short rests within phrases among them."""
    inside = np.zeros(len(clock), bool)
    for phrase in _phrases(tune):
        inside |= (clock >= phrase[0].start - 1e-9) & (clock < phrase[-1].end)
    return inside


def _bridged(voiced: np.ndarray, most: int) -> np.ndarray:
    """Fill gaps of at most so many frames."""
    filled = voiced.copy()
    for first, last in _runs(~voiced):
        if 0 < first and last < len(voiced) and last - first <= most:
            filled[first:last] = True
    return filled


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """List the stretches (first, beyond the last) of frames that are set."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
