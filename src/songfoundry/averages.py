"""Average the weights of a training over its steps: what is scored and shipped."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["Averages"]


class Averages:
    """Hold an exponential moving average of a system's parameters.

    Parameters
    ----------
    system : whose parameters are followed, on their device.
    decay : share of the average that is kept at each step, 0..1.
    """

    def __init__(self, system: nn.Module, decay: float):
        self.system, self.decay = system, decay
        self.restart()

    def restart(self) -> None:
        """Begin again with the parameters as they are."""
        self.tensors = {name: p.detach().clone() for name, p in self.system.named_parameters()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from averages that were kept; raises KeyError where one is missing."""
        self.tensors = {name: tensors[name].to(tensor.device) for name, tensor in self.tensors.items()}

    def follow(self, step: int) -> None:
        """Take up the parameters after a step, counted from 0."""
        # Averages follow faster at first: min(decay, (1 + t) / (10 + t)), as in Tan & Le 2019's reference code.
        decay = min(self.decay, (1 + step) / (10 + step))
        parameters = dict(self.system.named_parameters())
        torch._foreach_lerp_(list(self.tensors.values()), [parameters[name].detach() for name in self.tensors], 1 - decay)

    def whole(self) -> dict[str, Tensor]:
        """Give the system's state with the averages in place of the parameters."""
        return {**self.system.state_dict(), **self.tensors}

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averages into the system, for evaluation, and the trained weights back after it."""
        kept = {name: t.detach().clone() for name, t in self.system.state_dict().items()}
        self.system.load_state_dict(self.whole())
        self.system.eval()
        try:
            yield
        finally:
            self.system.load_state_dict(kept)
            self.system.train()
