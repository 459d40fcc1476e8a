"""Keep how thick the music is: how many notes of an instrument, and of all, sound at once, how many begin in a bar, how long they are.

A net that is unsure adds notes: chords grow, tracks that rested come in, or the music thins out. The prompt tells what its
players do. The most that sounded at once is a limit, with a little room; what is usual is a course: the more notes (and
the longer) there are than usual until then, the more silence (and short ones) are preferred, and the other way round.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from songfoundry.composing.steering import Rule, Steered, beats
from songfoundry.metrics.music import DRUMS, Notes

__all__ = ["Texture", "TextureRule", "texture_between", "texture_of"]

STRENGTH = 1.5
"""Nats that a choice loses or gains where there is a bar's worth too much or too little of something."""
_FAR = 2.0
"""Further off than by so many bars' worth counts as being this far."""
_BAR = 4.0
"""Quarters of such a bar."""
_CLOCK = 24
"""Steps of a quarter by which notes at once are counted: players overlap by less."""


@dataclass(frozen=True)
class Texture:
    """Hold how thick a stretch of music is.

    Attributes
    ----------
    most : by program (drums -1), the most notes that may sound at once. all_most : the most of all pitched ones together.
    notes : by program, notes that begin in a quarter; 0 for one that rests. length : by program, the mean length of a note in quarters.
    """

    most: dict[int, int]
    all_most: int
    notes: dict[int, float]
    length: dict[int, float]


def texture_of(notes: Notes, quarters: float, since: float = 0.0) -> Texture | None:
    """Measure the texture of notes (times in quarters); None where there are none.

    The limits leave room for one note more than ever sounded, but in a part that is as full most of the time: a melody stays one
    voice, and four-part writing four parts.

    Parameters
    ----------
    quarters : how long the music lasts, or the part of it from `since` on by which notes are counted.
    """
    if not len(notes):
        return None
    parts = {int(program): notes.keep(notes.programs == program) for program in np.unique(notes.programs)}
    return Texture(
        {program: _most(part) for program, part in parts.items()}, _most(notes.pitched),
        {program: np.count_nonzero(part.starts >= since) / quarters for program, part in parts.items()},
        {program: float(part.durations.mean()) for program, part in parts.items()},
    )  # fmt: skip


def texture_between(first: Texture | None, second: Texture | None, weight: float) -> Texture | None:
    """Give a texture between two: the usual in proportion, the limits of the fuller one; None where either is not known."""
    if weight in (0, 1) or first is None or second is None:
        return first if weight == 0 else second if weight == 1 else None
    programs = first.most.keys() | second.most.keys()
    shares = ((first, 1 - weight), (second, weight))
    notes = {p: sum(share * one.notes.get(p, 0.0) for one, share in shares) for p in programs}
    length = {p: float(np.mean([one.length[p] for one, _ in shares if p in one.length])) for p in programs}
    most = {p: max(one.most.get(p, 0) for one, _ in shares) for p in programs}
    return Texture(most, max(first.all_most, second.all_most), notes, length)


def _most(notes: Notes) -> int:
    """Give the most notes that may sound at once, by those that do."""
    if not len(notes):
        return 1
    ticks = notes.at(_CLOCK)
    times = np.concatenate([ticks.starts, ticks.ends])
    steps = np.repeat([1, -1], len(notes))
    order = np.lexsort((steps, times))  # what ends makes room for what begins
    counts = steps[order].cumsum()
    lengths = np.diff(times[order], append=times.max())
    most = int(counts.max())
    full = lengths[counts == most].sum() > lengths[counts > 0].sum() / 2
    return most if most == 1 or full else most + 1


class TextureRule(Rule):
    """Hold written music to a texture.

    Parameters
    ----------
    metre : of the first bar that is written. programs : those that may play.
    part, part_programs : what is forced, as `PartRule` takes it; it is not held to the texture.
    until : number of the first bar that is not, the first that is written being 1.
    """

    def __init__(
        self, tokenizer, texture: Texture, metre: tuple[int, int], programs: Collection[int], *, part: dict | None = None,
        part_programs: Sequence[int] = (), until: float = np.inf,
    ):  # fmt: skip
        self.texture, self._metre, self._coder, self._kinds = texture, metre, tokenizer, tokenizer.kinds
        self._grid = tokenizer.config.positions
        self._until = until
        self._begin, self._program, self._last = 0.0, 0, "TimeSig"
        self._ends: dict[int, list[float]] = {}
        self._struck: dict[int, int] = {}
        self._sounded: dict[int, float] = {}
        self._held = {program: tokenizer.ids[f"Program_{program}"] for program in texture.notes if program not in part_programs}
        self._starts = np.asarray(tokenizer.of_kind("Position"))
        self._places = np.array([int(tokenizer.value(token)) for token in self._starts])
        self._programs = np.asarray(tokenizer.of_kind("Program"))
        never = [tokenizer.ids[f"Program_{program}"] for program in (DRUMS, *part_programs)]
        self._pitched = self._programs[~np.isin(self._programs, never)]
        self._others = not set(programs) <= {*self._held, *part_programs} or not self._held
        self._forced = {bar: {position for position, _ in those} for bar, those in (part or {}).items()}
        self._leaves = np.array([tokenizer.ids["Bar_None"], tokenizer.eos])
        self._durations = np.asarray(tokenizer.of_kind("Duration"))
        self._logs = np.log([beats(tokenizer.names[token]) for token in self._durations])

    def shape(self, mask: np.ndarray, grammar: Steered) -> None:
        """Limit what sounds at once, and prefer what leads back to the usual."""
        if grammar.written >= self._until:
            return
        if self._last == "Velocity":
            self._lengthen(mask, grammar)
        elif self._last in ("TimeSig", "Position", "Tempo", "Duration"):
            self._limit(mask, grammar)
            self._thin(mask, grammar)

    def _now(self, grammar: Steered) -> float:
        """Give the quarters from the first bar line to where the next note stands."""
        return self._begin + max(0, grammar.position) / self._grid * 4 / self._metre[1]

    def _limit(self, mask: np.ndarray, grammar: Steered) -> None:
        """Forbid instruments that are full, and positions at which none could play."""
        now = self._now(grammar)
        free = {program: _free(self._ends.get(program, []), self.texture.most[program]) for program in self._held}
        together = _free([end for program, ends in self._ends.items() if program != DRUMS for end in ends], self.texture.all_most)
        ticks = 1e-6
        for program, token in self._held.items():
            if free[program] > now + ticks:
                mask[token] = -np.inf
        if together > now + ticks:
            mask[self._pitched] = -np.inf
        first = 0.0 if self._others else min(max(end, together) if program != DRUMS else end for program, end in free.items())
        at = self._begin + self._places / self._grid * 4 / self._metre[1]
        late = (at + ticks < first) & ~np.isin(self._places, list(self._forced.get(grammar.written, ())))
        # A bar in which nothing is free is left to the other rules.
        if np.isfinite(mask[self._starts[~late]]).any() or grammar.struck:
            mask[self._starts[late]] = -np.inf

    def _thin(self, mask: np.ndarray, grammar: Steered) -> None:
        """Prefer notes or silence."""
        elapsed = self._now(grammar)
        total = wanted = 0.0
        for program, token in self._held.items():
            usual, there = self.texture.notes[program], self._struck.get(program, 0)
            total, wanted = total + there, wanted + usual
            mask[token] -= STRENGTH * (_off(there, usual * elapsed, usual * _BAR) if usual else _FAR)
        if wanted:
            # To wait is to write less: each beat that is passed over counts, up to two.
            off = STRENGTH * _off(total, wanted * elapsed, wanted * _BAR)
            here = max(0, grammar.position)
            mask[self._starts] += (off * np.clip((self._places - here) / self._grid, 0, 2)).astype(np.float32)
            left = self._metre[0] - here / self._grid
            mask[self._leaves] += np.float32(off * min(2.0, left))

    def _lengthen(self, mask: np.ndarray, grammar: Steered) -> None:
        """Prefer long or short notes."""
        program = self._program
        if program == DRUMS or program not in self._held:
            return
        usual, count = self.texture.length[program], self._struck.get(program, 0)
        bar = max(1.0, self.texture.notes[program] * _BAR) * usual
        off = _off(self._sounded.get(program, 0.0), count * usual, bar)
        quarter = math.log(4 / self._metre[1])
        mask[self._durations] -= (STRENGTH * off * (self._logs + quarter - math.log(usual))).astype(np.float32)

    def see(self, token: int, grammar: Steered) -> None:
        """Follow time and notes."""
        kind = self._kinds[token]
        if kind == "Bar":
            self._begin += 4 * self._metre[0] / self._metre[1]
        elif kind == "TimeSig":
            self._metre = tuple(map(int, self._coder.value(token).split("/")))
        elif kind == "Program":
            self._program = int(self._coder.value(token))
        elif kind == "Duration":
            now, length = self._now(grammar), beats(self._coder.names[token]) * 4 / self._metre[1]
            ends = [end for end in self._ends.get(self._program, []) if end > now + 1e-6]
            self._ends[self._program] = [*ends, now + length]
            self._struck[self._program] = self._struck.get(self._program, 0) + 1
            self._sounded[self._program] = self._sounded.get(self._program, 0.0) + length
        self._last = kind

    def copy(self) -> "TextureRule":
        """Copy with what has sounded."""
        new = object.__new__(TextureRule)
        new.__dict__.update(self.__dict__)
        new._ends = {program: list(ends) for program, ends in self._ends.items()}
        new._struck, new._sounded = dict(self._struck), dict(self._sounded)
        return new


def _free(ends: list[float], most: int) -> float:
    """Give the time from which fewer than so many notes sound."""
    return 0.0 if len(ends) < most else sorted(ends)[len(ends) - most]


def _off(there: float, wanted: float, bar: float) -> float:
    """Say by how many bars' worth there is too much (above 0) or too little, within bounds; a bar has at least a note."""
    return min(_FAR, max(-_FAR, (there - wanted) / max(1.0, bar)))
