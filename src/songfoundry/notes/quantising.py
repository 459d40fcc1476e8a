"""Make scores whose bars are true: recordings laid on their beats, voices given as arrays, tracks told apart by program."""

from collections.abc import Sequence

import numpy as np

from songfoundry.notes.midi import _symusic

__all__ = ["TICKS", "apart", "from_voices", "on_beats"]

TICKS = 480
"""Ticks a quarter note of the scores made here: 12 positions in a beat fall on ticks, down to the sixteenth as a beat."""


def on_beats(
    score, seconds: np.ndarray, quarters: np.ndarray, metres: Sequence[tuple[float, int, int]], qpm: float,
    between: tuple[float, float] = (-np.inf, np.inf),
):  # fmt: skip
    """Lay a score on a grid of beats: where beat i sounds it is `quarters[i]`, and in between time runs evenly.

    Notes, controllers, pedals and bends are moved; beyond the grid its first and last beat's pace goes on. What would come
    before quarter 0 is moved there, and no note is shorter than a tick.

    Parameters
    ----------
    score : a `symusic.Score` in ticks; its own tempi tell when its notes sound, and are then dropped with its metres.
    seconds, quarters : float (beats,), rising, at least two: when each beat sounds, and its place in quarter notes.
    metres : (quarter note, numerator, denominator) of each time signature.
    qpm : the one tempo that is written, quarter notes a minute.
    between : only what begins between these seconds is taken.
    """
    symusic = _symusic()
    seconds, quarters = np.asarray(seconds, np.float64), np.asarray(quarters, np.float64)
    new = _blank(metres, qpm)
    for track in score.to("Second").tracks:
        moved = symusic.Track(name=track.name, program=track.program, is_drum=track.is_drum)
        values = track.notes.numpy()
        inside = (values["time"] >= between[0]) & (values["time"] < between[1])
        begins = values["time"][inside].astype(np.float64)
        starts = _ticks(begins, seconds, quarters)
        ends = _ticks(begins + values["duration"][inside], seconds, quarters)
        moved.notes = _notes(starts, np.maximum(ends - starts, 1), values["pitch"][inside], values["velocity"][inside])
        for kind, make in (("controls", symusic.ControlChange), ("pitch_bends", symusic.PitchBend)):
            events = [event for event in getattr(track, kind) if between[0] <= event.time < between[1]]
            times = _ticks(np.array([event.time for event in events]), seconds, quarters).tolist()
            for time, event in zip(times, events, strict=True):
                number = (event.number,) if kind == "controls" else ()
                getattr(moved, kind).append(make(time, *number, event.value))
        new.tracks.append(moved)
    return new


def _ticks(times: np.ndarray, seconds: np.ndarray, quarters: np.ndarray) -> np.ndarray:
    """Turn seconds into ticks on a grid of beats: int64, none below 0."""
    segment = np.clip(np.searchsorted(seconds, times, side="right") - 1, 0, len(seconds) - 2)
    pace = np.diff(quarters) / np.diff(seconds)
    return np.maximum(np.round((quarters[segment] + (times - seconds[segment]) * pace[segment]) * TICKS), 0).astype(np.int64)


def from_voices(
    steps: np.ndarray, numerator: int, denominator: int, qpm: float, *, programs: Sequence[int], pickup: float = 0.0,
    velocity: int = 80,
):  # fmt: skip
    """Make a score of voices that hold one pitch at a time; equal neighbours are one note.

    Parameters
    ----------
    steps : int (steps, voices), the MIDI pitch of each sixteenth note; -1 is silence.
    numerator, denominator : the metre.
    programs : a General MIDI program (0-127) for each voice.
    pickup : quarter notes before the first bar line; they become the end of a whole first bar.
    """
    symusic = _symusic()
    steps = np.asarray(steps)
    bar = 4 * numerator / denominator
    offset = round((bar - pickup) % bar * TICKS) if pickup else 0
    new = _blank([(0.0, numerator, denominator)], qpm)
    for voice, program in zip(steps.T, programs, strict=True):
        first = np.flatnonzero(np.diff(voice, prepend=-2))
        length = np.diff(first, append=len(voice))
        first, length = first[voice[first] >= 0], length[voice[first] >= 0]
        track = symusic.Track(name="", program=int(program), is_drum=False)
        track.notes = _notes(
            first * (TICKS // 4) + offset, length * (TICKS // 4), voice[first], np.full(len(first), velocity)
        )
        new.tracks.append(track)
    return new


def apart(score):
    """Copy a score so that no two of its pitched tracks share a program; tell what each new program stood for.

    The first track keeps its program. A later one takes the next program of the same General MIDI family (of eight) that no
    track has, else the next one of all; three pianos become 0, 1 and 2. A stream of tokens names a note's track by its program,
    so tracks that share one would melt into one. Drum tracks stay as they are; beyond 128 tracks programs are shared.

    Returns
    -------
    score : a copy. stood_for : new program -> index of its track; the track's own program is the given score's.
    """
    new = score.copy()
    # A program that a track can keep is not given to another.
    pitched = [(index, track) for index, track in enumerate(new.tracks) if not track.is_drum and len(track.notes)]
    taken = {int(track.program) for _, track in pitched}
    stood_for: dict[int, int] = {}
    for index, track in pitched:
        program = int(track.program)
        if program in stood_for:
            family = program // 8 * 8
            order = [family + (program - family + step) % 8 for step in range(8)] + [(program + step) % 128 for step in range(128)]
            program = next((other for other in order if other not in taken), program)
            taken.add(program)
            track.program = program
        stood_for.setdefault(program, index)
    return new, stood_for


def _blank(metres: Sequence[tuple[float, int, int]], qpm: float):
    """Make a score with metres (a repeated one is left out) and a tempo, and no tracks."""
    symusic = _symusic()
    new = symusic.Score(TICKS)
    last = None
    for quarter, numerator, denominator in metres:
        if (numerator, denominator) != last:
            new.time_signatures.append(symusic.TimeSignature(round(quarter * TICKS), numerator, denominator))
        last = numerator, denominator
    new.tempos.append(symusic.Tempo(0, qpm))
    return new


def _notes(times: np.ndarray, durations: np.ndarray, pitches: np.ndarray, velocities: np.ndarray):
    """Make symusic's list of notes from arrays (notes,)."""
    return _symusic().Note.from_numpy(
        times.astype(np.int32), durations.astype(np.int32), np.asarray(pitches, np.int8), np.asarray(velocities, np.int8), "tick",
    )
