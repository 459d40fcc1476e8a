"""Put written notes into a score: bar lines, the tempo that holds, and the prompt's own events left as they are.

Times of written notes are in quarter notes from the bar line where the writing begins (the origin), so that nothing here
depends on a score's clock. A score's own notes, controllers, metres and tempi are copied, never computed anew.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from songfoundry.errors import InputError
from songfoundry.notes.midi import _symusic

__all__ = [
    "Bar", "NoteEvent", "add_track", "bars", "fine_clock", "insert", "last_onset", "mean_qpm", "new_score", "release", "set_course", "tail",
    "without",
]  # fmt: skip

_CHASED = (0, 32, 7, 10, 11, 91, 93)
"""Controllers whose last value holds on: bank, volume, pan, expression, reverberation, chorus."""
_PEDALS = (64, 66, 67)
_FINEST = 48
"""Positions in a quarter note on the finest grid: 12 in a beat, the beat a sixteenth."""


@dataclass(frozen=True)
class NoteEvent:
    """Hold a written note: `bar` from 0, `start` and `length` in quarter notes, `seconds` and `sounds` (how long) in seconds.

    All counted from the bar line where the writing begins; pitch and velocity 0-127, program 0-127 or -1 for drums. `track` is
    the number of the score's track that plays it, None for one that the score does not have yet.
    """

    bar: int
    start: float
    length: float
    pitch: int
    velocity: int
    program: int
    seconds: float
    sounds: float
    track: int | None = None


@dataclass(frozen=True)
class Bar:
    """Hold one bar of a score: where it begins and how long it is, in ticks, and its metre."""

    tick: int
    ticks: int
    numerator: int
    denominator: int

    @property
    def end(self) -> int:
        """The tick of the next bar line."""
        return self.tick + self.ticks


def fine_clock(score):
    """Copy a score, its clock made a multiple of 48 ticks a quarter (where it is not) so that every grid falls on a tick.

    The old clock divides the new one, so no event moves.

    Raises
    ------
    InputError : that clock would be finer than a MIDI file can say.
    """
    ticks = score.ticks_per_quarter
    fine = math.lcm(ticks, _FINEST)
    if fine == ticks:
        return score.copy()
    if fine > 0x7FFF:
        raise InputError(f"expected a clock that a fine grid fits, found {ticks} ticks a quarter note: export it with 480")
    factor = fine // ticks
    symusic = _symusic()
    new = symusic.Score(fine)
    for name in ("time_signatures", "tempos", "key_signatures", "markers"):
        for event in getattr(score, name):
            event = event.copy()
            event.time *= factor
            getattr(new, name).append(event)
    for track in score.tracks:
        track = track.copy()
        for name in ("notes", "controls", "pitch_bends", "pedals", "lyrics"):
            for event in getattr(track, name):
                event.time *= factor
                if hasattr(event, "duration"):
                    event.duration *= factor
        new.tracks.append(track)
    return new


def new_score(numerator: int, denominator: int, qpm: float, key: int | None = None):
    """Make a score without notes: 480 ticks a quarter, one metre, one tempo, and a key (number in `KEYS`) where it has one."""
    symusic = _symusic()
    score = symusic.Score(480)
    score.time_signatures.append(symusic.TimeSignature(0, numerator, denominator))
    score.tempos.append(symusic.Tempo(0, mspq=round(60e6 / qpm)))
    if key is not None:
        minor = key >= 12
        # Sharps (or flats, below zero) of the major key with these notes, from five flats to six sharps.
        score.key_signatures.append(symusic.KeySignature(0, (7 * (key + 3 * minor) + 5) % 12 - 5, int(minor)))
    return score


def bars(score, until: int) -> list[Bar]:
    """List the bars that begin before tick `until`, by the score's time signatures (4/4 where none is told).

    A signature within a bar cuts that bar short.
    """
    changes = {0: (4, 4)}
    for signature in sorted(score.time_signatures, key=lambda event: event.time):
        changes[max(0, signature.time)] = (signature.numerator, signature.denominator)
    times = sorted(changes)
    found: list[Bar] = []
    for number, time in enumerate(times):
        numerator, denominator = changes[time]
        length = max(1, round(score.ticks_per_quarter * 4 * numerator / denominator))
        stop = times[number + 1] if number + 1 < len(times) else until
        for tick in range(time, min(stop, until), length):
            found.append(Bar(tick, min(length, stop - tick) if number + 1 < len(times) else length, numerator, denominator))
    return found


def last_onset(score) -> int:
    """Give the tick at which the last note begins; -1 where there is none."""
    return max((int(track.notes.numpy()["time"].max()) for track in score.tracks if len(track.notes)), default=-1)


def mean_qpm(score, begin: int, end: int) -> tuple[float, bool]:
    """Average the tempo over time from tick `begin` to `end`: quarter notes a minute, and whether it changes in between."""
    qpm, spans = 120.0, []
    at = begin
    for tempo in sorted(score.tempos, key=lambda event: event.time):
        if tempo.time > at and tempo.time < end:
            spans.append((tempo.time - at, qpm))
            at = tempo.time
        if tempo.time < end:
            qpm = tempo.qpm
    spans.append((max(1, end - at), qpm))
    if len({value for _, value in spans}) == 1:
        return spans[0][1], False
    return sum(ticks for ticks, _ in spans) / sum(ticks / value for ticks, value in spans), True


def set_course(score, tick: int, metres: Sequence[tuple[float, int, int]], tempos: Sequence[tuple[float, float]]) -> None:
    """Say how a score goes on from a tick, in place: what it said of metre and tempo from there on is taken away.

    Parameters
    ----------
    metres : (quarter notes after the tick, numerator, denominator). tempos : (quarter notes after the tick, quarters a minute).
        One that holds already is not repeated.
    """
    symusic = _symusic()
    for name in ("time_signatures", "tempos", "key_signatures"):
        events = [event for event in getattr(score, name) if event.time < tick or event.time == 0 == tick and name[0] == "k"]
        getattr(score, name).clear()
        getattr(score, name).extend(events)
    held = [(4, 4), *((event.numerator, event.denominator) for event in score.time_signatures)][-1] if tick else None
    for quarters, numerator, denominator in metres:
        if (numerator, denominator) != held:
            held = (numerator, denominator)
            score.time_signatures.append(symusic.TimeSignature(tick + round(quarters * score.ticks_per_quarter), *held))
    pace = [500_000, *(event.mspq for event in score.tempos)][-1] if tick else None
    for quarters, qpm in tempos:
        if round(60e6 / qpm) != pace:
            pace = round(60e6 / qpm)
            score.tempos.append(symusic.Tempo(tick + round(quarters * score.ticks_per_quarter), mspq=pace))


def release(score, tick: int) -> None:
    """Let go, in place, of pedals that are down and bends that hold at a tick, so that nothing hangs over what follows."""
    symusic = _symusic()
    for track in score.tracks:
        held = {control.number: control.value for control in track.controls if control.time < tick}
        for number in _PEDALS:
            if held.get(number, 0):
                track.controls.append(symusic.ControlChange(tick, number, 0))
        bends = [bend.value for bend in track.pitch_bends if bend.time < tick]
        if bends and bends[-1]:
            track.pitch_bends.append(symusic.PitchBend(tick, 0))


def insert(score, events: Sequence[NoteEvent], origin: int, limit: int | None = None) -> int:
    """Write notes into a score, in place, beside what it has; returns how many found room.

    A note goes to the track that it names, or else to a new one for its program. A note that would strike a pitch of its track
    while a note that was there holds it is left out, and one that would ring into such a note, into the same pitch struck
    anew or past `limit` is shortened: no note hangs.

    Parameters
    ----------
    origin : the tick from which the events are counted. limit : the last tick at which they may sound; None for any.
    """
    symusic = _symusic()
    sounding: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for number, track in enumerate(score.tracks):
        columns = track.notes.numpy()
        for time, length, pitch in zip(columns["time"].tolist(), columns["duration"].tolist(), columns["pitch"].tolist(), strict=True):
            if time + length > origin:
                sounding.setdefault((number, pitch), []).append((time, time + length))
    new: dict[int, int] = {}
    placed, last = 0, {}
    for event in sorted(events, key=lambda event: event.start):
        begin = origin + round(event.start * score.ticks_per_quarter)
        end = max(begin + 1, origin + round((event.start + event.length) * score.ticks_per_quarter))
        number = new.get(event.program) if event.track is None else event.track
        others = sounding.get((number, event.pitch), ())
        if any(start <= begin < stop for start, stop in others) or (limit is not None and begin >= limit):
            continue
        end = min([end, *(start for start, _ in others if start > begin), *([] if limit is None else [limit])])
        before = last.get((number, event.pitch))
        if before is not None and before.time + before.duration > begin:
            if before.time == begin:
                continue
            before.duration = begin - before.time
        if number is None:
            number = new[event.program] = len(score.tracks)
            name = "Drums" if event.program < 0 else ""
            score.tracks.append(symusic.Track(name=name, program=max(0, event.program), is_drum=event.program < 0))
        notes = score.tracks[number].notes
        notes.append(symusic.Note(begin, end - begin, event.pitch, event.velocity))
        last[number, event.pitch] = notes[-1]
        placed += 1
    return placed


def add_track(score, like) -> int:
    """Add an empty track of another one's name and instrument, in place; returns its number."""
    score.tracks.append(_symusic().Track(name=like.name, program=like.program, is_drum=like.is_drum))
    return len(score.tracks) - 1


def without(score, begin: int, end: int, tracks: Sequence[int] | None = None):
    """Copy a score without the notes that begin from tick `begin` to before `end`, on all its tracks or on those named."""
    score = score.copy()
    for number, track in enumerate(score.tracks):
        if tracks is None or number in tracks:
            kept = [note.copy() for note in track.notes if not begin <= note.time < end]
            track.notes.clear()
            track.notes.extend(kept)
    return score


def tail(score, tick: int):
    """Copy what a score has from a tick on, moved to tick 0: notes, metre, tempo, and the instruments' standing settings."""
    symusic = _symusic()
    new = symusic.Score(score.ticks_per_quarter)
    for name in ("time_signatures", "tempos", "key_signatures"):
        events = sorted(getattr(score, name), key=lambda event: event.time)
        before = [event for event in events if event.time <= tick][-1:]
        for event in [*before, *(event for event in events if event.time > tick)]:
            event = event.copy()
            event.time = max(0, event.time - tick)
            getattr(new, name).append(event)
    for track in score.tracks:
        moved = symusic.Track(name=track.name, program=track.program, is_drum=track.is_drum)
        standing = {control.number: control.value for control in track.controls if control.time < tick}
        for number in _CHASED:
            if number in standing:
                moved.controls.append(symusic.ControlChange(0, number, standing[number]))
        for name in ("notes", "controls", "pitch_bends"):
            for event in getattr(track, name):
                if event.time >= tick:
                    event = event.copy()
                    event.time -= tick
                    getattr(moved, name).append(event)
        if len(moved.notes):
            new.tracks.append(moved)
    return new
