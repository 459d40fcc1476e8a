"""Compute what a game of a generator and a discriminator is played by: losses by name, penalties of the gradient."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["discriminator_loss", "frozen", "generator_loss", "slope", "steepness"]

Judge = Callable[[Tensor], Tensor]
"""Scores images, float (batch, channels, height, width) -> (batch,), higher is more real."""


def discriminator_loss(name: str, real: Tensor, made: Tensor) -> Tensor:
    """Compute the discriminator's loss of its scores, (batch,) each; the name is "nonsaturating", "hinge" or "wgan_gp".

    Reference: Goodfellow et al. 2014, eq. 1; Lim & Ye 2017 for "hinge"; Arjovsky et al. 2017, eq. 2, for "wgan_gp".
    """
    if name == "nonsaturating":
        return functional.softplus(-real).mean() + functional.softplus(made).mean()
    if name == "hinge":
        return functional.relu(1 - real).mean() + functional.relu(1 + made).mean()
    return made.mean() - real.mean()


def generator_loss(name: str, made: Tensor) -> Tensor:
    """Compute the generator's loss of the discriminator's scores, (batch,), by the same names."""
    return functional.softplus(-made).mean() if name == "nonsaturating" else -made.mean()


def steepness(judge: Judge, image: Tensor) -> Tensor:
    """Measure the squared gradient of the scores at images, (batch,), so that it can be differentiated itself.

    Reference: Mescheder et al. 2018 (arXiv 1801.04406), eq. 9 (R1).
    """
    image = image.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(judge(image).sum(), image, create_graph=True)
    return gradient.float().square().sum((1, 2, 3))


def slope(judge: Judge, real: Tensor, made: Tensor) -> Tensor:
    """Measure how far the slope is from 1 between real and made images (Gulrajani et al. 2017, eq. 3)."""
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = steepness(judge, torch.lerp(real, made, share))
    return ((between + 1e-12).sqrt() - 1).square().mean()


@contextmanager
def frozen(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Let gradients pass through a side whose own would be thrown away: a quarter of the time."""
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
