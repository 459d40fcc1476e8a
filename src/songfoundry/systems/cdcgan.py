"""Make pictures of noise and a class by a game of two nets: the conditional DCGAN, with the losses of the system of notes."""

from typing import Literal

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from songfoundry.errors import ConfigError
from songfoundry.systems.adversarial import discriminator_loss, frozen, generator_loss, slope, steepness
from songfoundry.systems.pictured import MakesPictures, MakesPicturesConfig, coarse_distance, noise

__all__ = ["SYSTEM", "Cdcgan", "CdcganConfig"]

_BATCH = 64


class CdcganConfig(MakesPicturesConfig):
    """Say what the system is: net by name and preset, pictures, the game that it learns by.

    `loss`: "nonsaturating" (with `r1`), "hinge" (with `r1`) or "wgan_gp" (with `penalty`); `r1` is the weight of the
    squared gradient at real pictures, taken every `r1_every` steps; 0 for none, as the plain recipe has it.
    """

    name: str = "cdcgan"
    net: str = "dcgan"
    preset: str | None = "modern"
    loss: Literal["nonsaturating", "hinge", "wgan_gp"] = "nonsaturating"
    r1: NonNegativeFloat = 1.0
    r1_every: PositiveInt = 8
    penalty: NonNegativeFloat = 10.0


class Cdcgan(MakesPictures):
    """Hold both sides of the game, and know how to train them, score them and make pictures."""

    Config = CdcganConfig
    conditional = True

    def __init__(self, config: CdcganConfig):
        super().__init__(config)
        self.net = self.built("picture_game")
        self._penalise = True
        self._seen: dict[str, Tensor] = {}

    @classmethod
    def fitted(cls, config: CdcganConfig, draws) -> CdcganConfig:
        """Fill in the classes of draws; raises `ConfigError` where recipe and draws do not fit, or the recipe names but one side."""
        if not config.net_options.get("judging", True):
            raise ConfigError(
                "expected both sides of the game for a training, found system.net_options.judging = false, as in a shipped model: "
                "take that key out"
            )
        return super().fitted(config, draws)

    @staticmethod
    def shipped(config: dict) -> dict:
        """Give the config, plain values, of the same system as it is shipped: without the side that judges, for it makes no pictures."""
        return {**config, "net_options": {**config["net_options"], "judging": False}}

    @property
    def latent(self) -> int:
        """Numbers of noise that a picture is made of."""
        return self.net.latent

    def phases(self) -> dict[str, list[nn.Parameter]]:
        """Name the sets of parameters that are updated in turn: "discriminator", then "generator"."""
        return self.net.phases()

    def begin_step(self, step: int, steps: int) -> None:
        """Take up what depends on the step: whether the gradient at real pictures is penalised."""
        self._penalise = step % self.config.r1_every == 0

    def forward(self, phase: str, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the losses of one side.

        Parameters
        ----------
        batch : "image" float (batch, channels, size, size) in -1..1, "label" int64 (batch,).

        Returns
        -------
        losses : the side's own loss by its name; "penalty" of the gradient, where it is due.
        """
        real, label, config = batch["image"], batch["label"], self.config
        latent = torch.randn(len(label), self.latent, device=label.device)
        if phase == "generator":
            with frozen(self.net.phases()["discriminator"]):
                score = self.net.discriminator(self.net.generator(latent, label), label)
            return {"generator": generator_loss(config.loss, score)}
        with torch.no_grad():
            made = self.net.generator(latent, label)
        high, low = self.net.discriminator(real, label), self.net.discriminator(made, label)
        losses = {"discriminator": discriminator_loss(config.loss, high, low)}

        def judge(image: Tensor) -> Tensor:
            return self.net.discriminator(image, label)

        if config.loss == "wgan_gp":
            losses["penalty"] = config.penalty * slope(judge, real, made)
        elif config.r1 and self._penalise:
            # Weighed by how seldom it is taken.
            losses["penalty"] = config.r1 / 2 * config.r1_every * steepness(judge, real).mean()
        with torch.no_grad():
            # Scores of the Wasserstein game have no zero of their own.
            middle = (high.mean() + low.mean()) / 2 if config.loss == "wgan_gp" else 0.0
            self._seen = {
                "right_real": (high > middle).float().mean(), "right_made": (low < middle).float().mean(), "gap": high.mean() - low.mean()
            }  # fmt: skip
        return losses

    def watch(self) -> dict[str, Tensor]:
        """Say what the discriminator last saw, once: "right_real" and "right_made", shares that it told right; "gap" between scores."""
        seen, self._seen = self._seen, {}
        return seen

    @torch.no_grad()
    def sample(self, latent: Tensor, label: Tensor) -> Tensor:
        """Make pictures of noise, float (batch, latent), and classes, int64 (batch,): float32 (batch, *shape) in -1..1."""
        return self.net.generator(latent, label)

    def made(self, count: int, seed: int = 0) -> Tensor:
        """Make pictures of all classes in turn, the same by seed: float32 (count, *shape)."""
        labels = torch.arange(count, device=self.device) % len(self.classes)
        latent = noise(count, (self.latent,), seed).to(self.device)
        return torch.cat([self.sample(*part) for part in zip(latent.split(_BATCH), labels.split(_BATCH), strict=True)])

    @torch.no_grad()
    def score(self, batch: dict) -> dict[str, float]:
        """Score as many made pictures beside validation pictures: "image" float32 numpy (n, *shape).

        Returns
        -------
        scores : "distance", `pictured.coarse_distance` from them, lower is better; "mean", less that.
        """
        real = torch.as_tensor(batch["image"])
        distance = coarse_distance(self.made(len(real)), real)
        return {"mean": -distance, "distance": distance}


SYSTEM = Cdcgan
