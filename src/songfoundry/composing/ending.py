"""Bring music to rest: its last bar is one chord on the tonic, held."""

from collections.abc import Collection, Mapping

import numpy as np

from songfoundry.composing.chords import triad
from songfoundry.composing.steering import Rule, Steered, beats, pitch_classes
from songfoundry.composing.texture import Texture
from songfoundry.metrics.key import fit
from songfoundry.metrics.music import DRUMS

__all__ = ["EndingRule"]

_CHORD = 6
"""Most pitched notes of the chord, and `_HITS` those of drums."""
_HITS = 2
_ALONE = 3
"""Most notes of an instrument of which the prompt tells nothing."""


class EndingRule(Rule):
    """Bring the music to rest in its last bar: the tonic triad on the downbeat, held; nothing after it.

    The first pitched note of that bar is the tonic, and without it the bar does not end; the others are of its triad. No
    instrument plays more notes at once than before, nor far out of the register it was heard in, none comes in anew, and drums
    strike twice at most. A part that is forced is left alone. Where no key is known it is that of what was written.

    Parameters
    ----------
    last : number of the last bar, the first that is written being 1. key : 0-23, or None.
    texture : how thick the prompt is, or None. metre : of the first bar that is written.
    part, part_programs : what is forced, as `PartRule` takes it.
    pitched : whether any instrument but the part may play a pitch.
    """

    def __init__(
        self, tokenizer, last: int, key: int | None, texture: Texture | None, metre: tuple[int, int], *,
        part: Mapping[int, list] | None = None, part_programs: Collection[int] = (), pitched: bool = True,
    ):  # fmt: skip
        self.last, self.key, self._texture, self._metre, self._can = last, key, texture, metre, pitched
        self._kinds, self._coder, self._grid = tokenizer.kinds, tokenizer, tokenizer.config.positions
        self._most = {} if texture is None else texture.most
        self._all = min(_CHORD, texture.all_most if texture is not None else _CHORD)
        self._forced = {place for place, _ in (part or {}).get(last, ())}
        self._part = {int(program) for program in part_programs}
        self._registers = {} if texture is None else dict(texture.register)
        self._sounded = np.zeros(12)
        self._struck: dict[int, int] = {}
        self._tonic = False
        self._program, self._pitch, self._state = 0, 0, "TimeSig"
        self._classes = pitch_classes(tokenizer)
        self._starts = np.asarray(tokenizer.of_kind("Position"))
        self._places = np.array([int(tokenizer.value(token)) for token in self._starts])
        self._tokens = {int(tokenizer.value(token)): int(token) for token in tokenizer.of_kind("Program")}
        self._pitches = np.asarray(tokenizer.of_kind("Pitch"))
        self._heights = np.array([int(tokenizer.value(token)) for token in self._pitches])
        self._leaves = np.array([tokenizer.ids["Bar_None"], tokenizer.eos])
        self._durations = np.asarray(tokenizer.of_kind("Duration"))
        self._lengths = np.array([beats(tokenizer.names[token]) for token in self._durations])

    def shape(self, mask: np.ndarray, grammar: Steered) -> None:
        """Leave only the downbeat, the triad, and long notes, once the last bar has begun."""
        if grammar.written < self.last:
            if self._state == "Velocity":
                # What sounded on into the last bar would be heard beside its chord.
                left = (self.last - grammar.written) * self._metre[0] - max(0, grammar.position) / self._grid
                mask[self._durations[self._lengths > max(left, self._lengths[0])]] = -np.inf
        elif self._state in ("TimeSig", "Position", "Tempo", "Duration"):
            self._between(mask, grammar)
        elif self._program in self._part or self._program == DRUMS:
            return
        elif self._state == "Program":
            self._chord(mask)
        elif self._state == "Velocity":
            # Nats: a note under two beats is unlikely, one of a half is not written.
            mask[self._durations] -= (np.maximum(0.0, min(2.0, self._metre[0]) - self._lengths) * 6.0).astype(np.float32)

    def _between(self, mask: np.ndarray, grammar: Steered) -> None:
        """Leave the downbeat, and there the instruments that have room."""
        mask[self._starts[(self._places > 0) & ~np.isin(self._places, list(self._forced))]] = -np.inf
        late = grammar.position > 0
        full = sum(count for program, count in self._struck.items() if program != DRUMS) >= self._all
        for program, token in self._tokens.items():
            if program in self._part:
                continue
            count = self._struck.get(program, 0)
            if program == DRUMS:
                stop = late or count >= _HITS
            else:
                strange = bool(self._registers) and program not in self._registers
                stop = late or full or strange or count >= self._most.get(program, _ALONE)
            if stop:
                mask[token] = -np.inf
        waits = grammar.position < 0 or any(np.isfinite(mask[t]) for p, t in self._tokens.items() if p != DRUMS and p not in self._part)
        if self._can and not self._tonic and waits:
            mask[self._leaves] = -np.inf
            if not late:
                mask[self._starts[self._places > 0]] = -np.inf

    def _chord(self, mask: np.ndarray) -> None:
        """Leave the tonic, or once it is struck its triad, near the register of the instrument."""
        key = self.key if self.key is not None else self._estimate()
        if key is not None:
            inside = list(triad(key)) if self._tonic else [key % 12]
            mask[(self._classes >= 0) & ~np.isin(self._classes, inside)] = -np.inf
        if self._program in self._registers:
            low, high = self._registers[self._program]
            beyond = np.maximum(low - self._heights, self._heights - high)
            mask[self._pitches] -= np.maximum(0.0, beyond).astype(np.float32)

    def _estimate(self) -> int | None:
        """Tell the key of what was written; None before a note."""
        return int(fit(self._sounded).argmax()) if self._sounded.any() else None

    def see(self, token: int, grammar: Steered) -> None:
        """Follow what sounds, and notice the tonic."""
        kind, ends = self._kinds[token], grammar.written >= self.last
        if kind == "TimeSig":
            self._metre = tuple(map(int, self._coder.value(token).split("/")))
        elif kind == "Program":
            self._program = int(self._coder.value(token))
        elif kind in ("Pitch", "PitchDrum"):
            self._pitch = int(self._coder.value(token))
            if ends and self._program not in self._part:
                self._struck[self._program] = self._struck.get(self._program, 0) + 1
                self._tonic |= kind == "Pitch"
            elif kind == "Pitch" and not ends:
                low, high = self._registers.get(self._program, (self._pitch, self._pitch))
                self._registers[self._program] = (min(low, self._pitch), max(high, self._pitch))
        elif kind == "Duration" and self._program != DRUMS and not ends:
            # The key of the chord is that of what stands before it.
            self._sounded[self._pitch % 12] += beats(self._coder.names[token]) * 4 / self._metre[1]
        self._state = kind

    def copy(self) -> "EndingRule":
        """Copy with what has sounded."""
        new = object.__new__(EndingRule)
        new.__dict__.update(self.__dict__)
        new._sounded, new._struck, new._registers = self._sounded.copy(), dict(self._struck), dict(self._registers)
        return new
