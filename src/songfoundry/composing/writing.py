"""Turn written tokens into notes, and notes into a score beside its prompt."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from songfoundry.composing.planning import Plan, seconds_at
from songfoundry.composing.steering import beats
from songfoundry.notes import arranging
from songfoundry.notes.arranging import NoteEvent

__all__ = ["Composition", "NoteReader", "Stream", "finish"]


@dataclass
class Composition:
    """Hold one variation.

    Attributes
    ----------
    score : a `symusic.Score` in ticks, the prompt in it as it was. notes : what was written (their times count from the origin).
    split_tick, end_tick : of `score`, where the writing begins and ends. plan : what it was made to. seed, variation : what it
        was drawn by; the same ones give the same music. elapsed : seconds of work for it; where several were written at once,
        for all. tokens : how many were written. placed : notes that found room beside the prompt's. said : sentences for the user.
    """

    score: Any
    notes: list[NoteEvent]
    split_tick: int
    end_tick: int
    plan: Plan
    variation: int
    seed: int
    elapsed: float = 0.0
    tokens: int = 0
    placed: int = 0
    said: list[str] = field(default_factory=list)

    @property
    def only_new(self):
        """Give the score without its prompt, moved to tick 0."""
        return arranging.tail(self.score, self.split_tick)


class Stream:
    """Yield note events while they are written, and count.

    Attributes
    ----------
    plan : what is written. notes : events so far. elapsed : seconds spent writing, the receiver's own time left out.
    first_seconds : from the call to the first note. composition : the whole, once the last note has come.
    """

    def __init__(self, plan: Plan, events: Iterator[NoteEvent], finish: Callable[[list[NoteEvent]], Composition], begun: float):
        self.plan, self.notes, self.elapsed, self.first_seconds = plan, 0, time.perf_counter() - begun, 0.0
        self.composition: Composition | None = None
        self._events, self._finish, self._kept = events, finish, []

    @property
    def notes_per_second(self) -> float:
        """Notes written for each second of work."""
        return self.notes / self.elapsed if self.elapsed else 0.0

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> NoteEvent:
        begun = time.perf_counter()
        try:
            event = next(self._events)
        except StopIteration:
            if self.composition is None:
                self.composition = self._finish(self._kept)
            raise
        finally:
            self.elapsed += time.perf_counter() - begun
        self.notes += 1
        self.first_seconds = self.first_seconds or self.elapsed
        self._kept.append(event)
        return event


class NoteReader:
    """Read written tokens as notes, one token at a time.

    Attributes
    ----------
    bar : number of the bar under way, from 0. tokens : how many were read. metres, tempos : what they said of the course:
        (quarter notes from the origin, numerator, denominator) and (quarter notes, quarters a minute).
    """

    def __init__(self, tokenizer, plan: Plan):
        self._names, self._kinds, self._plan = tokenizer.names, tokenizer.kinds, plan
        self._metre, self._start, self._at = plan.metres[0], 0.0, 0.0
        self._positions, self._note = tokenizer.config.positions, []
        self.bar, self.tokens = 0, 0
        self._pace = list(plan.pace)
        self.metres: list[tuple[float, int, int]] = [(0.0, *plan.metres[0])]
        self.tempos: list[tuple[float, float]] = []

    @property
    def end(self) -> float:
        """Quarter notes from the origin to the end of the bar under way."""
        return self._start + 4 * self._metre[0] / self._metre[1]

    def take(self, token: int) -> NoteEvent | None:
        """Take a token; gives the note that it completes."""
        self.tokens += 1
        kind, value = self._kinds[token], self._names[token].rpartition("_")[2]
        if kind == "Bar" and self.bar + 1 < self._plan.bars:  # one after the last bar is the end (`Grammar.push`)
            self._start = self._at = self.end
            self.bar += 1
        elif kind == "TimeSig":
            self._metre = tuple(map(int, value.split("/")))
            self.metres.append((self._start, *self._metre))
        elif kind == "Position":
            self._at = self._start + int(value) / self._positions * 4 / self._metre[1]
        elif kind == "Tempo":
            self.tempos.append((self._at, float(value)))
            self._pace = [(at, qpm) for at, qpm in self._pace if at < self._at] + [self.tempos[-1]]
        elif kind == "Program":
            self._note = [int(value)]
        elif kind in ("Pitch", "PitchDrum", "Velocity"):
            self._note.append(int(value))
        elif kind == "Duration" and len(self._note) == 3:
            return self._event(beats(self._names[token]) * 4 / self._metre[1])
        return None

    def _event(self, length: float) -> NoteEvent | None:
        program, pitch, velocity = self._note
        self._note = []
        if program in self._plan.part_programs:
            return None  # the part itself is in the score
        track = self._plan.homes.get(program)
        if track is not None:
            home = self._plan.base.tracks[track]
            program = -1 if home.is_drum else int(home.program)
        seconds = seconds_at(self._pace, self._at)
        sounds = seconds_at(self._pace, self._at + length) - seconds
        return NoteEvent(self.bar, self._at, length, pitch, velocity, program, seconds, sounds, track)


def finish(plan: Plan, reader: NoteReader, events: list[NoteEvent], variation: int, seed: int, elapsed: float) -> Composition:
    """Put the notes of one variation into a copy of the plan's score.

    Metre and tempo are the prompt's unless the tokens were free to say others.
    """
    score = plan.base.copy()
    if plan.free_metre or plan.free_tempo:
        metres = reader.metres if plan.free_metre else [(0.0, *plan.metre)]
        tempos = [plan.pace[0], *reader.tempos] if plan.free_tempo else plan.pace
        arranging.set_course(score, plan.origin, metres, tempos)
    placed = arranging.insert(score, events, plan.origin, plan.limit)
    end = plan.origin + round(reader.end * score.ticks_per_quarter)
    said = list(plan.said)
    if reader.bar + 1 < plan.bars:
        said.append(f"the model filled its bars so densely that the writing stopped after {reader.bar + 1} of {plan.bars}")
    return Composition(score, events, plan.origin, end, plan, variation, seed, elapsed, reader.tokens, placed, said)
