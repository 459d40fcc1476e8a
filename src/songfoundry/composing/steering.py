"""Steer what a net writes: rules that lay their own mask over the grammar's.

A `Steered` grammar has the methods of `songfoundry.notes.grammar.Grammar`, so the loop that samples does not know of the
rules. A rule may forbid tokens or make them less likely; what the grammar forbids stays forbidden, and where the rules
together would forbid all that is left, the grammar's word holds: there is always a token to take.
"""

from collections.abc import Sequence

import numpy as np

from songfoundry.composing.chords import Chord

__all__ = ["ChordRule", "CrewRule", "LivelyRule", "PartRule", "Rule", "Steered", "beats", "part_tokens", "pitch_classes"]

_FORBIDDEN = -np.inf


class Rule:
    """Lay a mask over the grammar's; the base of all rules, which lays none."""

    def shape(self, mask: np.ndarray, grammar: "Steered") -> None:
        """Change a mask in place: float32 (vocabulary,), added to the logits, -inf forbids."""

    def see(self, token: int, grammar: "Steered") -> None:
        """Take notice of a token that was pushed."""

    def copy(self) -> "Rule":
        """Copy what the rule remembers; a rule that remembers nothing is its own copy."""
        return self


class Steered:
    """Hold a grammar and the rules laid over it.

    Attributes
    ----------
    written : number of the bar under way, the first that is written being 1.
    position : grid step of the bar where the next note stands (-1 before the first). struck : notes begun in this bar.
    """

    def __init__(self, grammar, tokenizer, rules: Sequence[Rule] = (), written: int = 0, position: int = -1):
        self.grammar, self.tokenizer, self.rules = grammar, tokenizer, list(rules)
        self.written, self.position, self.struck = written, position, 0
        self._mask: np.ndarray | None = None

    def __getattr__(self, name: str):
        if name == "grammar":  # not built yet: a copy asks
            raise AttributeError(name)
        return getattr(self.grammar, name)

    def mask(self) -> np.ndarray:
        """Give the mask of the grammar and all rules, float32 (vocabulary,): 0 allowed, -inf forbidden, between them disliked."""
        if self._mask is None:
            own = self.grammar.mask()
            mask = own.copy()
            for rule in self.rules:
                rule.shape(mask, self)
            mask[np.isneginf(own)] = _FORBIDDEN
            self._mask = mask if np.isfinite(mask).any() else own
        return self._mask

    def forced(self) -> int | None:
        """Give the only token that is allowed, None where there is a choice."""
        allowed = np.flatnonzero(np.isfinite(self.mask()))
        return int(allowed[0]) if len(allowed) == 1 else None

    def push(self, token: int) -> int:
        """Take a token, and give the one that it stands for (see `Grammar.push`); raises `ValueError` where the grammar forbids it."""
        token = self.grammar.push(token)
        self._mask = None
        kind = self.tokenizer.kinds[token]
        if kind == "Bar":
            self.written, self.position, self.struck = self.written + 1, -1, 0
        elif kind == "Position":
            self.position = int(self.tokenizer.names[token].rpartition("_")[2])
        elif kind in ("Pitch", "PitchDrum"):
            self.struck += 1
        for rule in self.rules:
            rule.see(token, self)
        return token

    def copy(self) -> "Steered":
        """Copy grammar and rules, for another variation."""
        rules = [rule.copy() for rule in self.rules]
        new = Steered(self.grammar.copy(), self.tokenizer, rules, self.written, self.position)
        new.struck = self.struck
        return new


class ChordRule(Rule):
    """Prefer the tones of a chord, one chord a bar, round and round.

    Parameters
    ----------
    strength : nats that a pitch outside the chord loses.
    """

    def __init__(self, tokenizer, chords: Sequence[Chord], strength: float = 4.0):
        self.chords, self._masks = list(chords), []
        classes = pitch_classes(tokenizer)
        for chord in chords:
            inside = np.isin(classes, list(chord.tones))
            self._masks.append((inside, np.where((classes >= 0) & ~inside & bool(chord.tones), np.float32(-strength), np.float32(0))))

    def shape(self, mask: np.ndarray, grammar: Steered) -> None:
        """Dislike the pitches that are no tones of this bar's chord; its tones are welcome even out of the scale."""
        inside, dislike = self._masks[max(0, grammar.written - 1) % len(self._masks)]
        mask += dislike
        mask[inside & np.isfinite(mask)] = 0.0


class LivelyRule(Rule):
    """Forbid bars without a note."""

    def __init__(self, tokenizer):
        self._ends = np.isin(tokenizer.kinds, ["Bar"])
        self._ends[tokenizer.eos] = True

    def shape(self, mask: np.ndarray, grammar: Steered) -> None:
        """Forbid the next bar until this one has a note."""
        if grammar.written and not grammar.struck:
            mask[self._ends] = _FORBIDDEN


class CrewRule(Rule):
    """Keep instruments few, and let them come in one by one: what a model's learned pieces play together all of them never did.

    Parameters
    ----------
    known : programs that play already, drums -1. most : how many there may be in all, the known ones and drums included.
    new : how many may come in during a bar.
    """

    def __init__(self, tokenizer, known: Sequence[int] = (), most: int = 6, new: int = 2):
        self.most, self.new, self._bar, self._came = max(most, len(known)), new, 0, 0
        self._programs = tokenizer.kinds == "Program"
        self._heard = np.isin(tokenizer.names, [f"Program_{program}" for program in known])

    def shape(self, mask: np.ndarray, grammar: Steered) -> None:
        """Forbid further instruments once there are enough."""
        came = self._came if grammar.written == self._bar else 0
        if self._heard.sum() >= self.most or came >= self.new:
            mask[self._programs & ~self._heard] = _FORBIDDEN

    def see(self, token: int, grammar: Steered) -> None:
        """Notice an instrument."""
        if self._programs[token] and not self._heard[token]:
            self._came = self._came + 1 if grammar.written == self._bar else 1
            self._bar, self._heard[token] = grammar.written, True

    def copy(self) -> "CrewRule":
        """Copy with the instruments heard."""
        new = object.__new__(CrewRule)
        new.__dict__.update(self.__dict__)
        new._heard = self._heard.copy()
        return new


def part_tokens(tokenizer, ids: np.ndarray) -> dict[int, list[tuple[int, list[int]]]]:
    """Read the notes out of encoded bars.

    Returns
    -------
    notes : by bar (from 1), each a grid step of the bar and the tokens Program, Pitch, Velocity, Duration.
    """
    found: dict[int, list[tuple[int, list[int]]]] = {}
    bar, position, note = 0, 0, []
    for token in np.asarray(ids).tolist():
        kind = tokenizer.kinds[token]
        if kind == "Bar":
            bar, position, note = bar + 1, 0, []
        elif kind == "Position":
            position = int(tokenizer.names[token].rpartition("_")[2])
        elif kind == "Program":
            note = [token]
        elif kind in ("Pitch", "PitchDrum", "Velocity", "Duration") and note:
            note.append(token)
            if kind == "Duration":
                found.setdefault(bar, []).append((position, note))
                note = []
    return found


class PartRule(Rule):
    """Write a given part note for note: its tokens are forced at their places, and its programs are nobody else's.

    Where the grammar cannot take a note of the part (more at once than its limit, a pitch struck twice) that note is passed
    over here; whoever needs the part to the letter copies it into the score and leaves out what has its programs.

    Parameters
    ----------
    notes : by bar, the first that is written being 1, as `part_tokens` gives them. programs : 0-127 or -1, kept from the sampler.
    """

    def __init__(self, tokenizer, notes: dict[int, list[tuple[int, list[int]]]], programs: Sequence[int]):
        self._notes = {bar: sorted(those, key=lambda note: note[0]) for bar, those in notes.items()}
        self._queue: list[int] = []
        self._kinds = tokenizer.kinds
        self._programs = np.isin(tokenizer.names, [f"Program_{program}" for program in programs])
        self._leaves = np.isin(tokenizer.kinds, ["Bar"])
        self._leaves[tokenizer.eos] = True
        self._positions = np.full(tokenizer.size, -1)
        for token in np.flatnonzero(tokenizer.kinds == "Position"):
            self._positions[token] = int(tokenizer.names[token].rpartition("_")[2])

    def shape(self, mask: np.ndarray, grammar: Steered) -> None:
        """Force the part's next token, or keep the sampler from passing its place."""
        if self._queue:
            if np.isfinite(mask[self._queue[0]]):
                _force(mask, self._queue[0])
            return
        mask_before = mask.copy()
        mask[self._programs] = _FORBIDDEN
        waiting = self._notes.get(grammar.written, [])
        while waiting and waiting[0][0] == grammar.position and np.isneginf(mask_before[waiting[0][1][0]]) and self._between(mask_before):
            waiting.pop(0)  # the grammar has no room for it
        if waiting and waiting[0][0] == grammar.position:
            if np.isfinite(mask_before[waiting[0][1][0]]):
                _force(mask, waiting[0][1][0])
        elif waiting:
            mask[self._leaves | (self._positions > waiting[0][0])] = _FORBIDDEN

    def _between(self, mask: np.ndarray) -> bool:
        """Tell whether a note could begin here or has just ended: the grammar lets the bar go on or end."""
        return bool(np.isfinite(mask[self._leaves | (self._positions >= 0)]).any())

    def see(self, token: int, grammar: Steered) -> None:
        """Go on within a forced note, or begin one."""
        if self._queue:
            self._queue = self._queue[1:] if token == self._queue[0] else []
            return
        waiting = self._notes.get(grammar.written, [])
        if self._kinds[token] == "Position":
            while waiting and waiting[0][0] < grammar.position:
                waiting.pop(0)
        elif self._programs[token] and waiting and waiting[0][0] == grammar.position:
            self._queue = waiting.pop(0)[1][1:]

    def copy(self) -> "PartRule":
        """Copy with what is still to come."""
        new = object.__new__(PartRule)
        new.__dict__.update(self.__dict__)
        new._notes, new._queue = {bar: list(those) for bar, those in self._notes.items()}, list(self._queue)
        return new


def _force(mask: np.ndarray, token: int) -> None:
    """Leave one token."""
    mask[:] = _FORBIDDEN
    mask[token] = 0.0


def pitch_classes(tokenizer) -> np.ndarray:
    """Give the pitch class of each token: 0-11 for pitches, -1 for all others, drums among them."""
    classes = np.full(tokenizer.size, -1)
    for token in np.flatnonzero(tokenizer.kinds == "Pitch"):
        classes[token] = int(tokenizer.names[token].rpartition("_")[2]) % 12
    return classes


def beats(name: str) -> float:
    """Read the beats of a duration token, "Duration_1.6.12" being one beat and 6 twelfths."""
    whole, part, resolution = name.rpartition("_")[2].split(".")
    return int(whole) + int(part) / int(resolution)
