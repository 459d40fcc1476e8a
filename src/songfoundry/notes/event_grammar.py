"""Say which token may come next in performances and chorales; see `songfoundry.notes.grammar`."""

import numpy as np

from songfoundry.notes.vocabulary import HEADER


class _EventRules:
    """Hold what the rules of both share: the header, the end, and bars counted by time."""

    def __init__(self, tokenizer, *, locks, programs, weights, polyphony, max_duration, metre_plan, bars) -> None:
        self.coder, self.names = tokenizer, tokenizer.names
        self._kinds = tokenizer.kinds.tolist()
        self._weights, self._bars = weights, bars
        self._forbidden = np.full(tokenizer.size, -np.inf, np.float32)
        self._end: int | None = None
        self.now, self.done = 0, False

    @property
    def bar(self) -> int:
        """Count the bars begun."""
        return -(-self.now // self.coder.bar_length)

    @property
    def tick(self) -> int:
        """Return the place in the bar."""
        return self.now % self.coder.bar_length

    def start(self, ids: list[int]) -> None:
        """Take the prompt; see `Grammar.start`."""
        kinds = [self._kinds[token] if 0 <= token < len(self._kinds) else "nothing" for token in ids]
        if kinds[:HEADER] != ["BOS", "Style", "Key"]:
            raise ValueError("expected tokens that begin with BOS, Style and Key, found none: encode the prompt")
        self.clear()
        for token, kind in zip(ids[HEADER:], kinds[HEADER:], strict=True):
            if kind == "Fill":
                self.clear()
            elif self.done or kind not in self.events:
                raise ValueError(f"expected {', '.join(self.events)} after the header, found {kind}")
            else:
                self.take(token)
        self._end = None if self._bars is None else (self.bar + self._bars) * self.coder.bar_length

    def meant(self, token: int) -> int:
        """Give what a token stands for: itself."""
        return token

    def _full(self) -> bool:
        """Tell whether the last bar that was asked for is full."""
        return self._end is not None and self.now >= self._end


class ChoraleRules(_EventRules):
    """Count the voices: soprano, alto, tenor, bass, each a pitch or a rest; a piece ends after a bass only."""

    events = ("Pitch", "Rest", "EOS")

    def clear(self) -> None:
        """Stand before the first step."""
        self.now, self.done, self._voice = 0, False, 0

    def __init__(self, tokenizer, **options) -> None:
        super().__init__(tokenizer, **options)
        self._row = self._forbidden.copy()
        chosen = tokenizer.of_kind("Pitch", "Rest")
        self._row[chosen] = self._weights[chosen]
        self.clear()

    def take(self, token: int) -> None:
        """Move on by a token."""
        if self._kinds[token] == "EOS":
            self.done = True
            return
        self._voice = (self._voice + 1) % 4
        self.now += self._voice == 0

    def mask(self) -> np.ndarray:
        """Give what may come next; see `Grammar.mask`."""
        if not self.done and not (self._voice == 0 and self._full()):
            return self._row.copy()
        mask = self._forbidden.copy()
        mask[self.coder.pad if self.done else self.coder.eos] = 0
        return mask

    def copy(self) -> "ChoraleRules":
        """Copy the state; what never changes is shared."""
        new = object.__new__(ChoraleRules)
        new.__dict__.update(self.__dict__)
        return new


class PerformanceRules(_EventRules):
    """Follow which keys are down: only those are released, only others struck; a wait is followed by one more if it was the longest.

    Each velocity is followed by a note; a note lasts 10 ms at least; at the end all keys are up.
    """

    events = ("NoteOn", "NoteOff", "TimeShift", "Velocity", "EOS")

    def __init__(self, tokenizer, **options) -> None:
        super().__init__(tokenizer, **options)
        self._on, self._off, self._shift, self._loud = (tokenizer.of_kind(kind) for kind in self.events[:4])
        self._polyphony = min(options["polyphony"], int((self._weights[self._on] > -np.inf).sum()))
        self.clear()

    def clear(self) -> None:
        """Stand before the first event."""
        self.now, self.done = 0, False
        self._struck: dict[int, int] = {}
        self._velocity, self._last = False, 0

    def meant(self, token: int) -> int:
        """Give what a token stands for: a wait over the end is one up to it."""
        if self._kinds[token] != "TimeShift" or self._end is None:
            return token
        return int(self._shift[min(int(self.coder.value(token)), self._end - self.now) - 1])

    def take(self, token: int) -> None:
        """Move on by a token."""
        kind = self._kinds[token]
        if kind == "EOS":
            self.done = True
            return
        value = int(self.coder.value(token))
        if kind == "NoteOn":
            self._struck[value] = self.now
        elif kind == "NoteOff":
            self._struck.pop(value, None)
        elif kind == "TimeShift":
            self.now += value
        else:
            self._velocity = True
        self._last = token

    def mask(self) -> np.ndarray:
        """Give what may come next; see `Grammar.mask`."""
        mask = self._forbidden.copy()
        if self.done:
            mask[self.coder.pad] = 0
            return mask
        room = len(self._struck) < self._polyphony and not self._full()
        after = self._kinds[self._last]
        if self._velocity and room:
            mask[self._on] = self._weights[self._on]
            mask[self._on[list(self._struck)]] = -np.inf
        if after == "Velocity" and room:
            return mask
        mask[self._off[[pitch for pitch, onset in self._struck.items() if onset < self.now]]] = 0
        if room:
            mask[self._loud] = 0
        if not self._full() and (after != "TimeShift" or self._last == self._shift[-1]):
            mask[self._shift] = 0
        if self._full() and not self._struck:
            mask[self.coder.eos] = 0
        return mask

    def copy(self) -> "PerformanceRules":
        """Copy the state; what never changes is shared."""
        new = object.__new__(PerformanceRules)
        new.__dict__.update(self.__dict__)
        new._struck = dict(self._struck)
        return new
