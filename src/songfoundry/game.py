"""Follow the game of a system's phases: the means that the log shows, and the sentence that ends a training with a dead side."""

from songfoundry.errors import TrainingError

NO_GAP = 0.01
"""So near to each other's are the scores of real and made examples where the discriminator tells nothing apart: its loss is at most
half of that below 2 log 2, the entropy of a coin for each of the two."""
NO_GRADIENT = 1e-7


class Game:
    """Collect what each phase's gradients and the system's own figures are.

    Parameters
    ----------
    patience : how many steps one after the other a side may be dead; 0 never ends a training. A resumed training counts anew.
    """

    def __init__(self, patience: int):
        self.patience = patience
        self._sums: dict[str, dict[str, list[float]]] = {}
        self._blind = self._still = 0

    def follow(self, step: int, norms: dict[str, float], figures: dict[str, float]) -> None:
        """Take up what a step showed.

        Parameters
        ----------
        norms : of the gradients, for each phase that learned.
        figures : what the system watches; "gap" is the mean score of real examples less that of made ones.

        Raises
        ------
        TrainingError : a side has been dead for too long.
        """
        for kind, values in (("norm", norms), ("game", figures)):
            for name, value in values.items():
                self._sums.setdefault(kind, {}).setdefault(name, []).append(value)
        if "gap" in figures:
            self._blind = self._blind + 1 if abs(figures["gap"]) < NO_GAP else 0
        if "generator" in norms:
            self._still = self._still + 1 if norms["generator"] < NO_GRADIENT else 0
        if 0 < self.patience <= max(self._blind, self._still):
            dead = (
                f"the discriminator at its entropy floor for {self._blind} steps (it scores real and made alike)"
                if self._blind >= self.patience
                else f"no gradient in the generator for {self._still} steps (its norm is {norms['generator']:.0e})"
            )
            remedy = (
                "raise the discriminator's rate or discriminator_first_steps, or lower the gradient penalty"
                if self._blind >= self.patience
                else "lower the discriminator's rate or raise the gradient penalty"
            )
            raise TrainingError(f"expected both sides of the game to be alive, found at step {step} {dead}: {remedy}")

    def row(self) -> dict[str, dict[str, float]]:
        """Give the means since the last row: {"norm": by phase, "game": by figure}, without what was not seen."""
        row = {
            kind: {name: round(sum(values) / len(values), 4) for name, values in named.items()} for kind, named in self._sums.items()
        }
        self._sums = {}
        return row
