"""Follow the game of a system's phases: the means that the log shows, and the sentence that ends a training with a dead side."""

from collections import deque

import numpy as np

from songfoundry.errors import TrainingError

NO_GAP, BY_CHANCE = 0.01, 0.3
"""A discriminator tells nothing apart whose mean gap is below the first, or below the second times what it swings by from step to step: for
batches of 16 a tenth of the spread of its scores. Its loss is then at 2 log 2, the entropy of a coin for each side, or above, for softplus
is convex."""
BY_COIN = 0.53
"""And which is right so seldom: a gap may be small because the scores of a game are (the Wasserstein game's have no unit)."""
NO_GRADIENT, FADED = 2e-6, 1e-5
"""A generator has no gradient whose norm is below the first, or below the second times what it was at first."""
_FIRST = 50
"""Steps whose norms say what it was at first."""


class Game:
    """Collect what each phase's gradients and the system's own figures are.

    Parameters
    ----------
    patience : over how many steps a side must be dead, by their means; 0 never ends a training. A resumed training counts anew.
    """

    def __init__(self, patience: int):
        self.patience = patience
        self._sums: dict[str, dict[str, list[float]]] = {}
        self._gaps: deque[float] = deque(maxlen=patience)
        self._right: deque[float] = deque(maxlen=patience)
        self._norms: deque[float] = deque(maxlen=patience)
        self._first: list[float] = []

    def follow(self, step: int, norms: dict[str, float], figures: dict[str, float]) -> None:
        """Take up what a step showed.

        Parameters
        ----------
        norms : of the gradients, for each phase that learned.
        figures : what the system watches; "gap" is the mean score of real examples less that of made ones, "right_..." shares of examples
            that are told right.

        Raises
        ------
        TrainingError : a side has been dead for too long.
        """
        for kind, values in (("norm", norms), ("game", figures)):
            for name, value in values.items():
                self._sums.setdefault(kind, {}).setdefault(name, []).append(value)
        if "gap" in figures:
            self._gaps.append(figures["gap"])
            self._right.append(float(np.mean([value for name, value in figures.items() if name.startswith("right_")] or [0.5])))
        if "generator" in norms:
            self._norms.append(norms["generator"])
            self._first += [norms["generator"]] if len(self._first) < _FIRST else []
        blind, still = self._blind(), self._still()
        if blind or still:
            dead = (
                f"the discriminator at its entropy floor for {self.patience} steps (it scores real and made alike)"
                if blind
                else f"no gradient in the generator for {self.patience} steps (its norm is {norms['generator']:.0e})"
            )
            remedy = (
                "raise the discriminator's rate or discriminator_first_steps, or lower the gradient penalty"
                if blind
                else "lower the discriminator's rate or raise the gradient penalty"
            )
            raise TrainingError(f"expected both sides of the game to be alive, found at step {step} {dead}: {remedy}")

    def _blind(self) -> bool:
        """Tell whether the discriminator told nothing apart for as long as patience lasts."""
        if not 0 < self.patience == len(self._gaps):
            return False
        return bool(abs(np.mean(self._gaps)) < max(NO_GAP, BY_CHANCE * np.std(self._gaps)) and np.mean(self._right) < BY_COIN)

    def _still(self) -> bool:
        """Tell whether the generator had no gradient for as long."""
        if not 0 < self.patience == len(self._norms):
            return False
        return bool(np.median(self._norms) < max(NO_GRADIENT, FADED * np.median(self._first)))

    def row(self) -> dict[str, dict[str, float]]:
        """Give the means since the last row: {"norm": by phase, "game": by figure}, without what was not seen."""
        row = {
            kind: {name: round(sum(values) / len(values), 4) for name, values in named.items()} for kind, named in self._sums.items()
        }
        self._sums = {}
        return row
