"""Hold a key as it is heard: tilt the choice of pitches so that what is written, taken together, is in the prompt's key.

A scale is not a key: C major, F major and G major differ by a note, and music that never leaves the scale of the one may settle
on the tonic of another. Which key is heard depends on how long each pitch class sounds (`songfoundry.metrics.key`), and that can
be steered like a course: as long as the music would come home by itself nothing is done, and the further it is off, and the
fewer bars are left, the more the pitches that lead back are preferred.

Reference: the estimator is Krumhansl's, see `songfoundry.metrics.key`.
"""

import numpy as np

from songfoundry.composing.steering import Rule, Steered, beats
from songfoundry.metrics.key import UNIT_PROFILES, fit, relative

__all__ = ["KeyRule"]

GOAL = 0.06
"""The correlation with the key is to be above that with any other key (but the relative one) by this much in the end."""
_SHARPNESS = 20.0
"""How much the nearest rival counts beside the others: a softmax of correlations, multiplied by this."""
_HABIT = 4.0
"""So many quarters of the prompt are taken to sound beside what was written, where it is asked what will follow."""
_TILTS = 9


class KeyRule(Rule):
    """Prefer the pitches that bring all that was written into a key, as little as that takes.

    Before each pitch: what has sounded so far, and for the bars left what is usual (of what
    was written, and without what this rule did to it), tilted by exp(t · d) towards the key, are
    added up; t is the least that makes the sum correlate with the key better than with its rivals by `GOAL`, and at most the
    strength. The pitch's logits then lose t · (max d - d). d is the gradient of the difference of the correlations, from 0
    (the pitch class that leads away most) to 1.

    Parameters
    ----------
    key : 0-23. strength : the most nats that a pitch loses. bars : how many are written. metre : of the first of them.
    usual : float (12,), how long each pitch class sounds in the prompt; None for the key's own profile.
    around : whether what is written is heard as a part of the prompt: its own notes need not make the key alone.
    """

    def __init__(
        self, tokenizer, key: int, strength: float, bars: int, metre: tuple[int, int], usual: np.ndarray | None = None, around: bool = False
    ):  # fmt: skip
        self.key, self.bars, self._metre = key, bars, metre
        usual = UNIT_PROFILES[key] - UNIT_PROFILES[key].min() if usual is None or not usual.any() else usual
        self._usual = usual / usual.sum()
        self._around = usual if around else np.zeros(12)
        self._tilts = np.linspace(0, strength, _TILTS)
        self._rivals = np.array([other for other in range(24) if other not in (key, relative(key))])
        self._sounded, self._class, self._tilt, self._pull = np.zeros(12), -1, 0.0, np.zeros(12)
        self._losses, self._lost, self._count = np.zeros(12), np.zeros(12), 0
        self._kinds, self._coder = tokenizer.kinds, tokenizer
        self._pitches = np.asarray(tokenizer.of_kind("Pitch"))
        self._classes = np.array([int(tokenizer.value(token)) % 12 for token in self._pitches])
        self._grid = tokenizer.config.positions
        self._pitched = False

    def shape(self, mask: np.ndarray, grammar: Steered) -> None:
        """Tilt the pitches, where one is to be chosen."""
        if not self._pitched:
            return
        self._steer(grammar)
        self._losses = self._tilt * (self._pull.max() - self._pull)
        if self._tilt:
            mask[self._pitches] -= self._losses[self._classes].astype(np.float32)

    def _steer(self, grammar: Steered) -> None:
        """Find which way to pull, and how much."""
        done = (max(0, grammar.written - 1) + max(0, grammar.position) / (self._metre[0] * self._grid)) / self.bars
        so_far = self._sounded.sum()
        # What would have been written without the rule: with it in, a rule that works would think itself needless.
        habit = self._sounded * np.exp(self._lost / max(1, self._count)) + _HABIT * self._usual
        quarters = self.bars * 4 * self._metre[0] / self._metre[1]
        # What sounds in a quarter of time, by what was written; one voice where nothing was yet.
        density = (so_far + 4.0) / (done * quarters + 4.0)
        left = max(1.0, (1 - done) * quarters * density)
        habit /= habit.sum()
        there = self._around + self._sounded
        expected = there + left * habit
        pull = self._gradient(expected)
        spread = pull.max() - pull.min()
        self._pull = (pull - pull.min()) / spread if spread > 1e-9 else np.zeros(12)
        chances = habit * np.exp(self._tilts[:, None] * (self._pull - self._pull.max()))
        ends = there + left * chances / chances.sum(1, keepdims=True)
        scores = fit(ends)
        enough = np.flatnonzero(scores[:, self.key] - scores[:, self._rivals].max(1) >= GOAL)
        self._tilt = float(self._tilts[enough[0] if len(enough) else -1])

    def _gradient(self, sounding: np.ndarray) -> np.ndarray:
        """Differentiate the key's correlation less its rivals' by how long each pitch class sounds; up to a factor."""
        scores = fit(sounding)
        weights = np.exp(_SHARPNESS * (scores[self._rivals] - scores[self._rivals].max()))
        weights /= weights.sum()
        centred = sounding - sounding.mean()
        shape = centred / max(1e-9, np.linalg.norm(centred))
        lead = scores[self.key] - weights @ scores[self._rivals]
        return UNIT_PROFILES[self.key] - weights @ UNIT_PROFILES[self._rivals] - lead * shape

    def see(self, token: int, grammar: Steered) -> None:
        """Add up what sounds."""
        kind = self._kinds[token]
        if kind == "Program":
            self._pitched = self._coder.value(token) != "-1"
        elif kind == "Pitch":
            self._class, self._pitched = int(self._coder.value(token)) % 12, False
            self._lost, self._count = self._lost + self._losses, self._count + 1
        elif kind == "PitchDrum":
            self._class = -1
        elif kind == "Duration" and self._class >= 0:
            self._sounded[self._class] += beats(self._coder.names[token]) * 4 / self._metre[1]
        elif kind == "TimeSig":
            self._metre = tuple(map(int, self._coder.value(token).split("/")))

    def copy(self) -> "KeyRule":
        """Copy with what has sounded."""
        new = object.__new__(KeyRule)
        new.__dict__.update(self.__dict__)
        new._sounded = self._sounded.copy()
        return new
