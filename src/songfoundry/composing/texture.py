"""Keep how thick the music is: how many notes of an instrument, and of all, sound at once, how many begin in a bar, how long they are.

A net that is unsure adds notes: chords grow, tracks that rested come in, or the music thins out. The prompt tells what its
players do. The most that sounded at once is a limit, with a little room; what is usual is a course: a choice is preferred by
how much nearer to it the music stands afterwards, and to wait is to write less. The register of an instrument, and how
often the highest note stays the same, are held softly as well. Where there is no prompt to tell, the style does.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from songfoundry.composing.steering import Rule, Steered, beats
from songfoundry.metrics.music import DRUMS, Notes

__all__ = ["Texture", "TextureRule", "texture_between", "texture_of", "usual_texture"]

STRENGTH = 2.0
"""Nats that an instrument loses or gains where it has a bar's worth too many or too few notes."""
STIFFNESS = 8.0
"""Twice the nats that lie between the usual and a bar's worth too much or too little; they grow with the square."""
_FAR = 1.5
"""Further off than by so many bars' worth counts as being this far."""
_NEAR, _BEYOND = 3.0, 0.6
"""So many semitones beyond an instrument's register cost nothing, each one more so many nats."""
_NARROW = 7.0
"""No register is taken to be narrower than this many semitones."""
_STUCK = 2.0
"""Nats that the highest note loses for each time that it was repeated more often in a row than in the prompt."""
_SPARE = {False: 4, True: 3}
"""Most notes at once of an instrument that a texture does not know; of drums."""
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
    register : by program but drums, the lowest and highest pitch but for a twentieth at either end. run : how often the highest
        note was the same in a row at most. total : notes of all that begin in a quarter, where it is free which instruments play.
    """

    most: dict[int, int]
    all_most: int
    notes: dict[int, float]
    length: dict[int, float]
    register: dict[int, tuple[float, float]] = field(default_factory=dict)
    run: int | None = None
    total: float | None = None

    def loose(self) -> "Texture":
        """Give the texture without its instruments: only what all together play."""
        return Texture({}, self.all_most, {}, {}, {}, self.run, sum(self.notes.values()) if self.total is None else self.total)


_USUAL = {"pop": (4.0, 9), "folk": (3.1, 5), "chorale": (3.8, 4), "piano": (5.8, 8), "band": (8.0, 6), "drums": (4.7, 1), "other": (5.0, 6)}
"""Notes a quarter and pitched notes at once by style: of the first 1,500 tokens of 60 training pieces of each collection (10 of
MAESTRO) the notes over the quarters, and the 95th percentile of the notes sounding on the 16ths; then the median of the pieces."""


def usual_texture(style: str) -> Texture:
    """Give the texture of a style, whoever plays."""
    total, most = _USUAL.get(style, _USUAL["other"])
    return Texture({}, most, {}, {}, total=total)


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
        {program: _register(part) for program, part in parts.items() if program != DRUMS}, _longest_run(notes.pitched),
    )  # fmt: skip


def _register(part: Notes) -> tuple[float, float]:
    """Give the lowest and highest pitch but for a twentieth at either end."""
    low, high = np.percentile(part.pitches, (5, 95))
    wider = max(0.0, _NARROW - (high - low)) / 2
    return float(low - wider), float(high + wider)


def _longest_run(notes: Notes) -> int | None:
    """Count how often the highest of the notes that begin together is the same in a row, at most; None without notes."""
    highest: dict[int, int] = {}
    for tick, pitch in zip(np.round(notes.starts * _CLOCK).astype(int).tolist(), notes.pitches.tolist(), strict=True):
        highest[tick] = max(highest.get(tick, 0), pitch)
    longest = run = 0
    before = None
    for _, pitch in sorted(highest.items()):
        run = run + 1 if pitch == before else 1
        before, longest = pitch, max(longest, run)
    return longest or None


def texture_between(first: Texture | None, second: Texture | None, weight: float) -> Texture | None:
    """Give a texture between two: the usual in proportion, the limits of the fuller one; None where either is not known."""
    if weight in (0, 1) or first is None or second is None:
        return first if weight == 0 else second if weight == 1 else None
    programs = first.most.keys() | second.most.keys()
    shares = ((first, 1 - weight), (second, weight))
    notes = {p: sum(share * one.notes.get(p, 0.0) for one, share in shares) for p in programs}
    length = {p: float(np.mean([one.length[p] for one, _ in shares if p in one.length])) for p in programs}
    most = {p: max(one.most.get(p, 0) for one, _ in shares) for p in programs}
    heard = {p: [one.register[p] for one, _ in shares if p in one.register] for p in programs}
    register = {p: (min(low for low, _ in those), max(high for _, high in those)) for p, those in heard.items() if those}
    runs = [one.run for one, _ in shares if one.run is not None]
    return Texture(most, max(first.all_most, second.all_most), notes, length, register, max(runs) if runs else None)


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
    metre : of the first bar that is written. programs : those that may play; None for any.
    part, part_programs : what is forced, as `PartRule` takes it; it is not held to the texture.
    until : number of the first bar that is not, the first that is written being 1.
    """

    def __init__(
        self, tokenizer, texture: Texture, metre: tuple[int, int], programs: Collection[int] | None, *, part: dict | None = None,
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
        self._part = set(part_programs)
        self._others = programs is None or not set(programs) <= {*self._held, *part_programs} or not self._held
        self._open = texture.total is not None
        self._total = sum(usual for p, usual in texture.notes.items() if p in self._held) if texture.total is None else texture.total
        self._pitches = np.asarray(tokenizer.of_kind("Pitch"))
        self._heights = np.array([int(tokenizer.value(token)) for token in self._pitches])
        # The highest note of the place under way and of the one before it, and how often it was the same in a row.
        self._top, self._top_before, self._run = -1, -1, 0
        self._forced = {bar: {position for position, _ in those} for bar, those in (part or {}).items()}
        self._leaves = np.array([tokenizer.ids["Bar_None"], tokenizer.eos])
        self._durations = np.asarray(tokenizer.of_kind("Duration"))
        self._lengths = np.array([beats(tokenizer.names[token]) for token in self._durations])

    def shape(self, mask: np.ndarray, grammar: Steered) -> None:
        """Limit what sounds at once, and prefer what leads back to the usual."""
        if grammar.written >= self._until:
            return
        if self._last == "Velocity":
            self._lengthen(mask)
        elif self._last == "Program":
            self._place(mask)
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
        for program, ends in self._ends.items():
            if program not in self._held and program not in self._part and _free(ends, _SPARE[program == DRUMS]) > now + ticks:
                mask[self._coder.ids[f"Program_{program}"]] = -np.inf
        if together > now + ticks:
            mask[self._pitched] = -np.inf
        drums = _free(self._ends[DRUMS], _SPARE[True]) if DRUMS in self._ends else together
        first = min(together, drums) if self._open else 0.0
        if not self._others:
            first = min(max(end, together) if program != DRUMS else end for program, end in free.items())
        at = self._begin + self._places / self._grid * 4 / self._metre[1]
        late = (at + ticks < first) & ~np.isin(self._places, list(self._forced.get(grammar.written, ())))
        # A bar in which nothing is free is left to the other rules.
        if np.isfinite(mask[self._starts[~late]]).any() or grammar.struck:
            mask[self._starts[late]] = -np.inf

    def _thin(self, mask: np.ndarray, grammar: Steered) -> None:
        """Prefer notes or silence: by how far from the usual the music would be where it goes on."""
        elapsed = self._now(grammar)
        there = 0
        for program, token in self._held.items():
            usual, mine = self.texture.notes[program], self._struck.get(program, 0)
            there += mine
            mask[token] -= STRENGTH * (_off(mine, usual * elapsed, usual * _BAR) if usual else _FAR)
        if self._open:
            there = sum(count for program, count in self._struck.items() if program not in self._part)
        if self._total:
            here, quarter = max(0, grammar.position) / self._grid, 4 / self._metre[1]
            waits = np.maximum(0.0, self._places / self._grid - here) * quarter
            cost = self._strain(there, elapsed + waits) - self._strain(there, elapsed)
            mask[self._starts] -= cost.astype(np.float32)
            left = (self._metre[0] - here) * quarter
            mask[self._leaves] -= np.float32(self._strain(there, elapsed + left) - self._strain(there, elapsed))

    def _strain(self, there: int, elapsed):
        """Say how far from the usual so many notes are after so many quarters, in nats."""
        off = np.clip((there - self._total * elapsed) / max(1.0, self._total * _BAR), -_FAR, _FAR)
        return STIFFNESS / 2 * off**2

    def _lengthen(self, mask: np.ndarray) -> None:
        """Prefer long or short notes, and none that alone would take the mean far over the usual."""
        program = self._program
        if program == DRUMS or program not in self._held:
            return
        usual, count = self.texture.length[program], self._struck.get(program, 0)
        bar = max(1.0, self.texture.notes[program] * _BAR) * usual
        after = self._sounded.get(program, 0.0) + self._lengths * 4 / self._metre[1]
        tilt = STRENGTH * _off(self._sounded.get(program, 0.0), count * usual, bar)
        over = np.clip((after - (count + 1) * usual) / bar, 0, _FAR)
        cost = tilt * np.log(self._lengths * 4 / self._metre[1] / usual) + STIFFNESS / 2 * over**2
        mask[self._durations] -= cost.astype(np.float32)

    def _place(self, mask: np.ndarray) -> None:
        """Prefer the register of the instrument, and another highest note where it stays the same for longer than in the prompt."""
        if self._program in self._part:
            return
        if self._program in self.texture.register:
            low, high = self.texture.register[self._program]
            beyond = np.maximum(low - self._heights, self._heights - high) - _NEAR
            mask[self._pitches] -= (_BEYOND * np.maximum(0.0, beyond)).astype(np.float32)
        if self.texture.run is not None and self._top <= self._top_before:
            excess = self._run - max(2, self.texture.run) + 1
            if excess > 0:
                mask[self._pitches[self._heights == self._top_before]] -= _STUCK * excess

    def see(self, token: int, grammar: Steered) -> None:
        """Follow time and notes."""
        kind = self._kinds[token]
        if kind == "Bar":
            self._begin += 4 * self._metre[0] / self._metre[1]
        elif kind == "TimeSig":
            self._metre = tuple(map(int, self._coder.value(token).split("/")))
        elif kind == "Position":
            if self._top >= 0:
                self._run = self._run + 1 if self._top == self._top_before else 1
                self._top, self._top_before = -1, self._top
        elif kind == "Program":
            self._program = int(self._coder.value(token))
        elif kind == "Pitch":
            self._top = max(self._top, int(self._coder.value(token)))
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
