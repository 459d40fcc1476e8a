"""Say which token may come next, so that what is written is always music that can be read: metre and tempo as locked, notes that end.

The rules are a little machine that is pushed on token by token; its state is small and is copied for each variation.
"""

import math
from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np

from songfoundry.config import Config
from songfoundry.notes.event_grammar import ChoraleRules, PerformanceRules
from songfoundry.notes.vocabulary import Vocabulary

MetrePlan = Callable[[int], tuple[int, int]]
"""Metre of a bar, (numerator, denominator), by its index: 0 is the first bar of the tokens that a grammar begins with (in a filling
task, the first bar before the gap)."""


class Locks(Config):
    """Say what is kept as the prompt has it.

    `metre`: time signatures are the plan's, else that of the last bar. `tempo`: none is written. `key`: pitches outside the scale
    are left alone ("off"), made less likely ("soft", by `key_strength` nats) or forbidden ("hard"); drums are not concerned.
    `instruments`: only those that are asked for, else those of the prompt.
    """

    metre: bool = True
    tempo: bool = True
    key: Literal["off", "soft", "hard"] = "soft"
    key_strength: float = 3.0
    instruments: bool = True


class Grammar:
    """Follow a sequence of tokens and tell which may come next.

    Args:
        tokenizer: of any kind; each kind has rules of its own (`RemiRules`, `PerformanceRules`, `ChoraleRules`).
        locks: see `Locks`.
        programs: instruments that may play, drums -1; None for those of the prompt (all, where it has none or they are not locked).
        scale: 12 truths, by pitch class, C first; None for no key.
        polyphony: how many notes of one instrument may sound at once.
        max_duration: longest note in beats; None for as long as a token can tell.
        metre_plan: see `MetrePlan`.
        bars: how many bars may begin after the prompt; where the next would begin the piece ends, and so do all notes. None: it never ends.
    """

    def __init__(
        self, tokenizer: Vocabulary, *, locks: Locks | None = None, programs: Iterable[int] | None = None, scale=None,
        polyphony: int = 32, max_duration: float | None = None, metre_plan: MetrePlan | None = None, bars: int | None = None,
    ) -> None:  # fmt: skip
        locks = locks or Locks()
        weights = np.zeros(tokenizer.size, np.float32)
        if scale is not None and locks.key != "off":
            weights = key_weights(tokenizer, np.asarray(scale, bool), -np.inf if locks.key == "hard" else -abs(locks.key_strength))
        kinds = {"remi": RemiRules, "performance": PerformanceRules, "chorale": ChoraleRules}
        self.rules = kinds[tokenizer.config.kind](
            tokenizer, locks=locks, programs=programs, weights=weights, polyphony=polyphony, max_duration=max_duration,
            metre_plan=metre_plan, bars=bars,
        )  # fmt: skip
        self._mask: np.ndarray | None = None

    @property
    def bar(self) -> int:
        """Count the bars begun, those of the prompt included."""
        return self.rules.bar

    @property
    def tick(self) -> int:
        """Return the place in the bar of the next note, in positions (remi; -1 before the first), sixteenths (chorale) or 10 ms."""
        return self.rules.tick

    @property
    def done(self) -> bool:
        """Tell whether the piece has ended."""
        return self.rules.done

    def start(self, ids: Iterable[int]) -> None:
        """Take a prompt, header and all; it need not keep to the locks, the limits or the plan, but must be tokens in an order that can be.

        Raises
        ------
        ValueError : a token that cannot stand where it does, or no header.
        """
        self.rules.start([int(token) for token in ids])
        self._mask = None

    def mask(self) -> np.ndarray:
        """Give what is to be added to the logits: float32 (vocabulary,), 0 allowed, -inf forbidden, negative disliked; not to be changed.

        At least one token is allowed; after the end, PAD alone.
        """
        if self._mask is None:
            self._mask = self.rules.mask()
            self._mask.flags.writeable = False
        return self._mask

    def forced(self) -> int | None:
        """Give the only token that is allowed, None where there is a choice."""
        allowed = np.flatnonzero(self.mask() > -np.inf)
        return int(allowed[0]) if len(allowed) == 1 else None

    def push(self, token: int) -> int:
        """Take the token that was chosen, and give the one that it stands for.

        They differ where what a net means goes beyond what was asked for, which then ends there: a bar line after the last bar
        is the end, a wait over the end a wait up to it. Were these forbidden, their probability would go to more notes, as EOS
        is rare in what nets learn from.

        Raises
        ------
        ValueError : the token is forbidden, and nothing changes.
        """
        if not 0 <= token < len(self.mask()) or self.mask()[token] == -np.inf:
            name = self.rules.names[token] if 0 <= token < len(self.mask()) else token
            raise ValueError(f"expected a token that is allowed here, found {name}: choose by the mask")
        token = self.rules.meant(int(token))
        self.rules.take(token)
        self._mask = None
        return token

    def copy(self) -> "Grammar":
        """Copy the state, for a variation."""
        new = object.__new__(Grammar)
        new.rules, new._mask = self.rules.copy(), self._mask
        return new


def key_weights(tokenizer: Vocabulary, scale: np.ndarray, outside: float) -> np.ndarray:
    """Tabulate what the key lock adds to each token: float32 (vocabulary,), `outside` for pitches whose class is not in the scale.

    Raises
    ------
    ValueError : not 12 truths, or none of them true.
    """
    if scale.shape != (12,) or not scale.any():
        raise ValueError(f"expected a scale of 12 truths, one at least true, found {scale.tolist()}: C comes first")
    weights = np.zeros(tokenizer.size, np.float32)
    for token in tokenizer.of_kind("Pitch", "NoteOn"):
        if not scale[int(tokenizer.value(token)) % 12]:
            weights[token] = outside
    return weights


class RemiRules:
    """Hold where a REMI sequence stands: bar, position, what sounds in each instrument until when (in ticks of the grid).

    Positions rise within a bar and lie inside it; a pitch is struck again only when it has ended; at most `polyphony` notes of an
    instrument sound at once; a tempo stands on a beat, before the notes. Where the number of bars is known no note outlasts the
    last of them.
    """

    def __init__(self, tokenizer, *, locks, programs, weights, polyphony, max_duration, metre_plan, bars) -> None:
        self.coder, self.locks, self.names = tokenizer, locks, tokenizer.names
        self._grid = tokenizer.config.positions
        self._kinds = tokenizer.kinds.tolist()
        self._plan, self._bars, self._weights = metre_plan, bars, weights
        # With fewer notes sounding than there are pitches, one is always free.
        pitches, drums = tokenizer.of_kind("Pitch"), tokenizer.of_kind("PitchDrum")
        self._polyphony = {False: min(polyphony, int((weights[pitches] > -np.inf).sum())), True: min(polyphony, len(drums))}
        self._ids_of = {kind: tokenizer.of_kind(kind) for kind in set(self._kinds)}
        self._durations = np.array([tokenizer.lengths[int(token)] for token in self._ids_of["Duration"]])
        self._longest = math.inf if max_duration is None else max(1.0, max_duration * self._grid)
        self._programs = None if programs is None else sorted({int(program) for program in programs})
        if self._programs == [] or any(f"Program_{program}" not in tokenizer.ids for program in self._programs or ()):
            raise ValueError(f"expected programs of 0-127, or -1 for drums, found {self._programs}: name at least one")
        self._forbidden = np.full(tokenizer.size, -np.inf, np.float32)
        self._bar_id, self._eos, self._pad = tokenizer.ids["Bar_None"], tokenizer.eos, tokenizer.pad
        self._clear()
        self.last = "BOS"
        self._limit: int | None = None

    def _clear(self) -> None:
        """Stand before the first bar."""
        self.bar, self.tick, self.done = 0, -1, False
        self._begin, self._length, self._step = 0, 0, 0  # of the bar, in ticks of the grid; ticks of a position
        self._metre: tuple[int, int] | None = None
        self._sounding: dict[int, dict[int, int]] = {}
        self._program, self._pitch, self._heard = 0, 0, set()

    def start(self, ids: list[int]) -> None:
        """Take the prompt; see `Grammar.start`."""
        if [self._kinds[token] for token in ids[:3] if 0 <= token < len(self._kinds)] != ["BOS", "Style", "Key"]:
            raise ValueError("expected tokens that begin with BOS, Style and Key, found none: encode the prompt")
        self._clear()
        self.last, heard = "Key", set()
        for token in ids[3:]:
            kind = self._kinds[token] if 0 <= token < len(self._kinds) else "nothing"
            if kind == "Fill":
                heard |= self._heard
                self._clear()
                self.last = "Key"
                continue
            if kind not in _FOLLOWS.get(self.last, ()):
                raise ValueError(f"expected one of {', '.join(_FOLLOWS.get(self.last, ['no more']))} after {self.last}, found {kind}")
            self.take(token)
        self._heard |= heard
        if self._programs is None and self.locks.instruments and self._heard:
            self._programs = sorted(self._heard)
        self._limit = None if self._bars is None else self.bar + self._bars

    def meant(self, token: int) -> int:
        """Give what a token stands for: a bar line is the end after the last bar."""
        return self._eos if token == self._bar_id and self._last_bar() else token

    def take(self, token: int) -> None:
        """Move on by a token."""
        kind, value = self._kinds[token], self.coder.value(token)
        if kind == "Bar":
            self._begin += self._length
            self.bar, self.tick = self.bar + 1, -1
        elif kind == "TimeSig":
            numerator, denominator = map(int, value.split("/"))
            self._metre, self._step = (numerator, denominator), 16 // denominator
            self._length = self._bar_length(self._metre)
        elif kind == "Position":
            self.tick = int(value)
            now = self._now
            for notes in self._sounding.values():
                for pitch in [pitch for pitch, end in notes.items() if end <= now]:
                    del notes[pitch]
        elif kind == "Program":
            self._program = int(value)
            self._heard.add(self._program)
        elif kind in ("Pitch", "PitchDrum"):
            self._pitch = int(value)
        elif kind == "Duration":
            self._sounding.setdefault(self._program, {})[self._pitch] = self._now + self.coder.lengths[token] * self._step
        elif kind == "EOS":
            self.done = True
        self.last = kind

    def mask(self) -> np.ndarray:
        """Give what may come next; see `Grammar.mask`."""
        mask = self._forbidden.copy()
        if self.done:
            mask[self._pad] = 0
        elif self.last == "Bar":
            mask[self._metres()] = 0
        elif self.last == "Program":
            drums = self._program < 0
            chosen = self._ids_of["PitchDrum" if drums else "Pitch"]
            mask[chosen] = self._weights[chosen]
            first = self.coder.ids["PitchDrum_27" if drums else "Pitch_0"] - (27 if drums else 0)
            for pitch in self._sounding.get(self._program, ()):
                mask[first + pitch] = -np.inf
        elif self.last in ("Pitch", "PitchDrum"):
            mask[self._ids_of["Velocity"]] = 0
        elif self.last == "Velocity":
            mask[self._ids_of["Duration"][: self._lengths()]] = 0
        else:
            self._between(mask)
        return mask

    def copy(self) -> "RemiRules":
        """Copy the state; what never changes is shared."""
        new = object.__new__(RemiRules)
        new.__dict__.update(self.__dict__)
        new._sounding = {program: dict(notes) for program, notes in self._sounding.items()}
        new._heard = set(self._heard)
        return new

    @property
    def _now(self) -> int:
        """The tick of the present position, that of the bar line before the first."""
        return self._begin + max(self.tick, 0) * self._step

    def _last_bar(self) -> bool:
        """Tell whether the bar under way is the last that was asked for."""
        return self._limit is not None and self.bar >= self._limit

    def _bar_length(self, metre: tuple[int, int]) -> int:
        """Count the ticks of the grid in a bar."""
        return metre[0] * 16 // metre[1] * self._grid

    def _planned(self, bar: int) -> tuple[int, int] | None:
        """Return the metre that a bar must have, None where it is free."""
        if not self.locks.metre:
            return None
        return self._metre if self._plan is None else tuple(self._plan(bar))

    def _metres(self) -> np.ndarray | int:
        """List the time signatures that the bar just begun may have."""
        planned = self._planned(self.bar - 1)
        if planned is None:
            return self._ids_of["TimeSig"]
        name = f"TimeSig_{planned[0]}/{planned[1]}"
        if name not in self.coder.ids:
            raise ValueError(f"expected a metre that has a token in the plan, found {planned[0]}/{planned[1]}")
        return self.coder.ids[name]

    def _lengths(self) -> int:
        """Count the durations, from the shortest, that the note may have."""
        room = self._longest
        if self._limit is not None:
            after = sum(self._bar_length(self._planned(bar) or self._metre) for bar in range(self.bar, self._limit))
            room = min(room, (self._begin + self._length + after - self._now) / self._step)
        return max(1, int(np.searchsorted(self._durations, room + 1e-9, side="right")))

    def _free_at(self, program: int) -> int:
        """Return the first tick, from now on, at which an instrument may strike a note."""
        ends = self._sounding.get(program, {}).values()
        most = self._polyphony[program < 0]
        if len(ends) < most:
            return 0
        return sorted(ends)[len(ends) - most]

    def _between(self, mask: np.ndarray) -> None:
        """Allow what may come where a note, a position or a bar may begin."""
        placed = self.last in ("Position", "Tempo", "Duration") and self.tick >= 0
        now = self._now
        busy = {program: self._free_at(program) for program in self._sounding}
        if placed:
            chosen = self._ids_of["Program"] if self._programs is None else [self.coder.ids[f"Program_{p}"] for p in self._programs]
            mask[chosen] = 0
            for program, free in busy.items():
                if free > now:
                    mask[self.coder.ids[f"Program_{program}"]] = -np.inf
        if self.last == "Position":
            if not self.locks.tempo and self.tick % self._grid == 0:
                mask[self._ids_of["Tempo"]] = 0
            return
        if self.last in ("TimeSig", "Tempo", "Duration"):
            among = range(-1, 128) if self._programs is None else self._programs
            free = 0 if any(program not in busy for program in among) else min(busy[program] for program in among)
            first = max(self.tick + 1, -(-(free - self._begin) // self._step))
            mask[self._ids_of["Position"][first : self._length // self._step]] = 0
        mask[self._bar_id] = 0
        if self._last_bar():
            mask[self._eos] = 0


_NEXT = ("Bar", "Position", "EOS")
_FOLLOWS = {
    "Key": ("Bar", "EOS"),
    "Bar": ("TimeSig",),
    "TimeSig": _NEXT,
    "Position": ("Tempo", "Program"),
    "Tempo": ("Program", *_NEXT),
    "Program": ("Pitch", "PitchDrum"),
    "Pitch": ("Velocity",),
    "PitchDrum": ("Velocity",),
    "Velocity": ("Duration",),
    "Duration": ("Program", *_NEXT),
}
"""What can follow a token of each kind: MidiTok's graph, less what its encoder never writes (a note without a position)."""
