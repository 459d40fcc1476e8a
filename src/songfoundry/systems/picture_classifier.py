"""Tell which class a picture is of: a small net that judges pictures from outside, whatever made them, and describes them by features."""

from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from songfoundry.errors import ConfigError
from songfoundry.systems import Artifact
from songfoundry.systems.pictured import Pictured, PicturedConfig

__all__ = ["SYSTEM", "PictureClassifier", "PictureClassifierConfig"]

_BATCH = 250


class PictureClassifierConfig(PicturedConfig):
    """Say what the net sees and how large it is.

    `widths` are the channels of the
    three resolutions, `features` the numbers that a picture is described by, `dropout` the share of them that is dropped in training, in
    which a picture is turned by at most `turn` degrees, made larger or smaller by `scale` and moved by `move`, shares of its side.
    """

    name: str = "picture_classifier"
    widths: tuple[PositiveInt, PositiveInt, PositiveInt] = (24, 48, 96)
    features: PositiveInt = 64
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.05
    turn: NonNegativeFloat = 10.0
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.1
    move: Annotated[float, Field(ge=0, lt=1)] = 0.07


class PictureClassifier(Pictured):
    """Hold the net: two convolutions at each of three resolutions, features, classes."""

    Config = PictureClassifierConfig

    def __init__(self, config: PictureClassifierConfig):
        super().__init__(config)
        if config.size % 4:
            raise ConfigError(f"expected a size that is a multiple of 4 for a picture classifier, found {config.size}: change system.size")
        layers: list[nn.Module] = []
        before = config.channels
        for number, width in enumerate(config.widths):
            layers += [*_layer(before, width), *_layer(width, width)]
            layers += [nn.MaxPool2d(2)] if number < 2 else []
            before = width
        self.layers = nn.Sequential(*layers)
        self.describe = nn.Linear(before * (config.size // 4) ** 2, config.features)
        self.label = nn.Linear(config.features, len(config.classes))

    def phases(self) -> dict[str, list[nn.Parameter]]:
        """Name the sets of parameters that are updated in turn: one, "model"."""
        return {"model": list(self.parameters())}

    def _features(self, image: Tensor) -> Tensor:
        return self.describe(self.layers(image).flatten(1)).float()

    def _logits(self, features: Tensor) -> Tensor:
        return self.label(functional.gelu(functional.dropout(features, self.config.dropout, self.training))).float()

    def forward(self, phase: str, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the loss of a batch, each picture moved at random as the config says.

        Parameters
        ----------
        batch : "image" float (batch, channels, size, size) in -1..1, "label" int64 (batch,).

        Returns
        -------
        losses : "label", the cross-entropy in nats with label smoothing.
        """
        logits = self._logits(self._features(self._varied(batch["image"])))
        return {"label": functional.cross_entropy(logits, batch["label"], label_smoothing=self.config.label_smoothing)}

    def _varied(self, image: Tensor) -> Tensor:
        """Turn, resize and move pictures; what comes in from outside is black. The random numbers are torch's own."""
        config, count = self.config, len(image)
        turn, size, right, down = (2 * torch.rand(4, count, device=image.device) - 1).unbind()
        turn, size = torch.deg2rad(config.turn * turn), 1 + config.scale * size
        cosine, sine = torch.cos(turn) * size, torch.sin(turn) * size
        rows = (torch.stack((cosine, -sine, 2 * config.move * right), 1), torch.stack((sine, cosine, 2 * config.move * down), 1))
        places = functional.affine_grid(torch.stack(rows, 1), list(image.shape), align_corners=False)
        return functional.grid_sample(image + 1, places, align_corners=False) - 1

    @torch.no_grad()
    def judged(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Look at pictures, in evaluation mode.

        Parameters
        ----------
        image : float (n, channels, size, size) in -1..1.

        Returns
        -------
        label : float32 (n, classes), probabilities. features : float32 (n, features), what the picture is described by.
        """
        features = torch.cat([self._features(part) for part in image.to(self.device).split(_BATCH)])
        return self._logits(features).softmax(1), features

    @torch.no_grad()
    def score(self, batch: dict) -> dict[str, float]:
        """Score validation pictures: "image" float32 numpy (n, channels, size, size), "label" int64 numpy (n,).

        Returns
        -------
        scores : "accuracy", the share that is told rightly; "mean", less the mean cross-entropy in nats.
        """
        label = torch.as_tensor(batch["label"])
        found = self.judged(torch.as_tensor(batch["image"]))[0].cpu()
        certain = found[torch.arange(len(label)), label].clamp(min=1e-9).log().mean()
        return {"mean": float(certain), "accuracy": float((found.argmax(1) == label).float().mean())}

    def preview(self, batch: dict) -> list[Artifact]:
        """Give nothing: a judge makes nothing to look at."""
        return []


def _layer(before: int, after: int) -> list[nn.Module]:
    """Convolve, normalise, bend."""
    return [nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(4 if after % 4 == 0 else 1, after), nn.GELU()]


SYSTEM = PictureClassifier
