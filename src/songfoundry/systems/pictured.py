"""Share what systems of pictures do: fit to draws, and show, those that make them, how they get on: samples, a distance, curves."""

import io
from abc import abstractmethod
from typing import Literal

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from songfoundry import pictures, registry
from songfoundry.config import Config
from songfoundry.errors import ConfigError
from songfoundry.metrics.generation import frechet
from songfoundry.systems import Artifact

__all__ = ["MakesPicturesConfig", "MakesPictures", "Pictured", "PicturedConfig", "coarse_distance", "curves", "noise", "sheet"]

SHOWN = 64
"""Samples of a sheet."""
_COMPARED = 256
"""Samples that are compared with real pictures at the end of an epoch."""
_SIDE = 7
"""Pixels a side of the small pictures that are compared while a system is trained."""


class PicturedConfig(Config):
    """Say what the pictures are: those of the draws, which fill `classes` in where it is empty."""

    classes: list[str] = []
    channels: Literal[1, 3] = 1
    size: PositiveInt = 28


class MakesPicturesConfig(PicturedConfig):
    """Say besides which net makes them, by name and preset; `net_options` override single values of the preset."""

    net: str
    preset: str | None
    net_options: dict[str, int | float | str | bool | list] = {}


class Pictured(nn.Module):
    """Hold what all systems of pictures have: classes, the shape of a picture, a fit to draws."""

    Config = PicturedConfig

    def __init__(self, config: PicturedConfig):
        super().__init__()
        self.config = config
        if not config.classes:
            raise ConfigError("expected the classes of a system of pictures, found none: name them in [system]")

    @classmethod
    def fitted(cls, config: PicturedConfig, draws) -> PicturedConfig:
        """Fill in the classes of draws.

        Raises
        ------
        ConfigError : the recipe names other classes than the draws have, or pictures of another size.
        """
        drawn = list(draws.classes)
        if config.classes and config.classes != drawn:
            raise ConfigError(
                f"expected in system.classes those of the draws in their order ({', '.join(drawn)}), found {', '.join(config.classes)}: "
                "leave the key out"
            )
        if (config.channels, config.size) != (draws.channels, draws.size):
            raise ConfigError(
                f"expected pictures of {config.channels} channel(s) and {config.size} pixels a side, found draws of {draws.channels} and "
                f"{draws.size}: give [system] and [data] the same"
            )
        return config.model_copy(update={"classes": drawn})

    @property
    def classes(self) -> list[str]:
        """Name the classes in the order of their numbers."""
        return self.config.classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""
        return self.config.channels, self.config.size, self.config.size

    @property
    def device(self) -> torch.device:
        """The device that the weights are on."""
        return next(self.parameters()).device


class MakesPictures(Pictured):
    """Hold what the systems that make pictures have: a net by name, and samples to show."""

    Config = MakesPicturesConfig

    def built(self, task: str) -> nn.Module:
        """Build the net for a task; raises `ConfigError`."""
        config = self.config
        try:
            return registry.build_net(
                task, config.net, config.preset, config.net_options, channels=config.channels, size=config.size,
                classes=len(config.classes),
            )  # fmt: skip
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def preview(self, batch: dict) -> list[Artifact]:
        """Show pictures of fixed noise, as the weights make them now: the last sheet is that of the final weights."""
        return [Artifact("final_samples", "png", sheet(self.made(SHOWN)))]

    @abstractmethod
    def made(self, count: int, seed: int = 0) -> Tensor:
        """Make pictures of all classes in turn, the same by seed: float32 (count, *shape) in -1..1."""

    def epoch(self, number: int, batch: dict, rows: list[dict], per_epoch: float) -> tuple[dict[str, float], list[Artifact]]:
        """Show what an epoch came to: pictures of the same noise, their distance from real ones, curves.

        Parameters
        ----------
        batch : validation pictures, "image" float32 numpy (n, *shape). rows : of the log. per_epoch : steps of an epoch.
        """
        made = self.made(min(_COMPARED, len(batch["image"])))
        figures = {"epoch": number, "distance": round(coarse_distance(made, torch.as_tensor(batch["image"])), 4)}
        shown = Artifact(f"epoch_comparisons/samples_epoch_{number:03d}", "png", sheet(made[:SHOWN]))
        return figures, [shown, *curves(rows, figures, per_epoch)]


def noise(count: int, shape: tuple[int, ...], seed: int) -> Tensor:
    """Draw standard normal numbers by a seed, float32 (count, *shape), the same on every device and in every version of the weights."""
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def sheet(images: Tensor) -> bytes:
    """Lay images, float (n, channels, height, width) in -1..1, in a square as a PNG."""
    return pictures.png(pictures.grid(pictures.levels(images.float().cpu().numpy())))


def coarse_distance(made: Tensor, real: Tensor) -> float:
    """Give the Fréchet distance of pictures, float (n, channels, size, size) in -1..1, seen as 7 x 7 pixels: lower is better.

    It needs no other model and sees no fine strokes: a figure to follow one training by, not to compare systems with.
    """
    rows = [functional.adaptive_avg_pool2d(images.float(), _SIDE).flatten(1).cpu().double().numpy() for images in (real, made)]
    return frechet(*rows)


def curves(rows: list[dict], shown: dict[str, float], per_epoch: float) -> list[Artifact]:
    """Draw training_loss.png and metrics_comparison.png (distance and loss over epochs); nothing without matplotlib.

    Parameters
    ----------
    rows : of the log. shown : what this epoch shows, "epoch" and "distance". per_epoch : steps of an epoch.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return []
    losses = [(row["step"] / per_epoch, row["loss"]) for row in rows if row.get("loss")]
    epochs = [row["epoch"] for row in rows if "epoch" in row and row["epoch"]["epoch"] < shown["epoch"]] + [shown]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    _losses(figure.add_subplot(), losses)
    plots = [Artifact("training_loss", "png", _png(figure))]
    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    above.plot([row["epoch"] for row in epochs], [row["distance"] for row in epochs], marker="o")
    above.set(ylabel="Fréchet distance, 7 x 7 pixels\n(lower is better)", ylim=(0, None))
    above.grid(alpha=0.3)
    _losses(below, losses)
    return [*plots, Artifact("metrics_comparison", "png", _png(figure))]


def _losses(axes, losses: list[tuple[float, dict]]) -> None:
    for name in sorted({name for _, row in losses for name in row}):
        points = [(epoch, row[name]) for epoch, row in losses if name in row]
        axes.plot(*np.array(points).T, label=name, linewidth=1)
    axes.set(xlabel="epoch", ylabel="loss")
    axes.grid(alpha=0.3)
    if losses:
        axes.legend(fontsize=8)


def _png(figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, format="png")
    return buffer.getvalue()
