"""Make pictures by diffusion: a net that takes noise out, by name; what it predicts, by which schedule; guidance by the class."""

import zlib
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from songfoundry import diffusion
from songfoundry.diffusion import SAMPLERS
from songfoundry.errors import ConfigError
from songfoundry.systems.pictured import MakesPictures, MakesPicturesConfig, noise

__all__ = ["SYSTEM", "Ddpm", "DdpmConfig"]

_BATCH = 64


class DdpmConfig(MakesPicturesConfig):
    """Say what the system is: net by name and preset, pictures, schedule, prediction.

    `schedule`: "linear", "cosine" or "rectified", of `steps`; `prediction`: "epsilon" or "v"; `open`: share of
    examples whose class is left open in training, so that classifier-free guidance can be had.
    """

    name: str = "ddpm"
    net: str = "ddpm_unet"
    preset: str | None = "small"
    schedule: Literal["linear", "cosine", "rectified"] = "cosine"
    steps: PositiveInt = 1000
    prediction: Literal["epsilon", "v"] = "v"
    open: Annotated[float, Field(ge=0, le=1)] = 0.1


class Ddpm(MakesPictures):
    """Hold the net and the schedule, and know how to train them, score them and make pictures."""

    Config = DdpmConfig

    def __init__(self, config: DdpmConfig):
        super().__init__(config)
        if config.schedule == "rectified" and config.prediction == "epsilon":
            raise ConfigError(
                "expected system.prediction = 'v' for the schedule 'rectified', whose last step tells nothing of the picture, found "
                "'epsilon': change one of them"
            )
        self.schedule = diffusion.schedule(config.schedule, config.steps)
        self.net = self.built("picture")

    @property
    def conditional(self) -> bool:
        """Tell whether the net heeds the class."""
        return self.net.conditional

    def phases(self) -> dict[str, list[nn.Parameter]]:
        """Name the sets of parameters that are updated in turn: one, "model"."""
        return {"model": list(self.net.parameters())}

    def forward(self, phase: str, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the loss of a batch: the mean square of what the net mistakes, at a random step of each picture.

        Parameters
        ----------
        batch : "image" float (batch, channels, size, size) in -1..1, "label" int64 (batch,).

        Returns
        -------
        losses : by the prediction's name.

        Reference
        ---------
        Ho et al. 2020, equation 14; Kingma et al. 2021 (arXiv 2107.00630), appendix I.1, for steps spread evenly over a batch.
        """
        clean, label, config = batch["image"], batch["label"], self.config
        count = len(clean)
        share = (torch.rand(1, device=clean.device) + torch.arange(count, device=clean.device) / count) % 1
        step = 1 + (share * config.steps).long().clamp(max=config.steps - 1)
        epsilon = torch.randn_like(clean)
        label = torch.where(torch.rand(count, device=clean.device) < config.open, len(config.classes), label)
        return {config.prediction: self._mistake(clean, epsilon, step, label)}

    def _mistake(self, clean: Tensor, epsilon: Tensor, step: Tensor, label: Tensor) -> Tensor:
        wanted = self.schedule.target(clean, epsilon, step, self.config.prediction)
        found = self.net(self.schedule.mixed(clean, epsilon, step), step.float() / self.config.steps, label)
        return functional.mse_loss(found, wanted)

    @torch.no_grad()
    def sample(
        self, start: Tensor, label: Tensor | None = None, *, sampler: str = "dpm++", steps: int = 20, guidance: float = 1.0,
        draw: Callable[[], Tensor] | None = None, watch: diffusion.Watch | None = None,
    ) -> Tensor:  # fmt: skip
        """Make pictures of noise.

        Parameters
        ----------
        start : float (batch, *shape), standard normal. label : int64 (batch,); None, or `len(classes)`, leaves the class open.
        sampler, steps, draw, watch : see `songfoundry.diffusion`. guidance : how far to go from what is likely of any class (0) to what is
            likely of this one (1), and beyond; 1 asks the net once a step, others but 0 twice.

        Returns
        -------
        images : float32 (batch, *shape) in -1..1.

        Reference
        ---------
        Ho & Salimans 2022 (arXiv 2207.12598), equation 6, whose weight is this one less 1.
        """
        nobody = torch.full((len(start),), len(self.classes), device=start.device)
        label = nobody if label is None or guidance == 0 or not self.conditional else label
        twice = guidance not in (0, 1) and label is not nobody

        def denoise(noisy: Tensor, step: int) -> Tensor:
            time = torch.full((len(noisy) * (1 + twice),), step / self.config.steps, device=noisy.device)
            if twice:
                told, free = self.net(torch.cat((noisy, noisy)), time, torch.cat((label, nobody))).chunk(2)
                predicted = torch.lerp(free, told, guidance)
            else:
                predicted = self.net(noisy, time, label)
            # No pixel is darker than black.
            return self.schedule.clean(noisy, predicted, step, self.config.prediction).clamp(-1, 1)

        return SAMPLERS[sampler](denoise, start, self.schedule, steps, draw=draw, watch=watch).clamp(-1, 1)

    @torch.no_grad()
    def score(self, batch: dict) -> dict[str, float]:
        """Score validation pictures: "name", "image" float32 numpy (n, *shape), "label" int64 numpy (n,).

        Returns
        -------
        scores : "loss", the mean square mistake at steps that are spread evenly, with noise that follows from the name; "mean", less that.
        """
        clean, label = (torch.as_tensor(batch[key]) for key in ("image", "label"))
        epsilon = noise(len(clean), self.shape, zlib.crc32(str(batch["name"]).encode()))
        step = torch.linspace(1, self.config.steps, len(clean)).round().long()
        step = step[torch.randperm(len(clean), generator=torch.Generator().manual_seed(0))]
        parts = zip(*(values.to(self.device).split(_BATCH) for values in (clean, epsilon, step, label)), strict=True)
        loss = sum(float(self._mistake(*part)) * len(part[0]) for part in parts) / len(clean)
        return {"mean": -loss, "loss": loss}

    def made(self, count: int, seed: int = 0) -> Tensor:
        """Make pictures of all classes in turn, quickly and the same by seed: float32 (count, *shape)."""
        labels = torch.arange(count, device=self.device) % len(self.classes)
        start = noise(count, self.shape, seed).to(self.device)
        return torch.cat([
            self.sample(part, label, guidance=1.5) for part, label in zip(start.split(_BATCH), labels.split(_BATCH), strict=True)
        ])  # fmt: skip


SYSTEM = Ddpm
