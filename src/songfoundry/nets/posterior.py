"""Hold what a net that encodes says of its latents: where they are and, if it is variational, how sure it is."""

from typing import NamedTuple

import torch
from torch import Tensor


class Posterior(NamedTuple):
    """Hold a diagonal Gaussian over latents.

    Attributes
    ----------
    mean : float32 (batch, latent, steps). log_variance : likewise; None for a net that gives a point.
    """

    mean: Tensor
    log_variance: Tensor | None = None

    def draw(self) -> Tensor:
        """Draw latents (batch, latent, steps) by torch's own generator; the mean where there is no variance.

        Reference: Kingma & Welling 2014 (arXiv 1312.6114), section 2.4.
        """
        if self.log_variance is None:
            return self.mean
        return self.mean + torch.randn_like(self.mean) * torch.exp(0.5 * self.log_variance)

    def divergence(self) -> Tensor:
        """Give the divergence from a standard normal in nats, of each unit at each step: (batch, latent, steps); 0 for a point.

        Reference: Kingma & Welling 2014, appendix B.
        """
        if self.log_variance is None:
            return torch.zeros_like(self.mean)
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance)
