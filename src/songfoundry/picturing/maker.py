"""Make pictures with a model that is loaded once: of any classes, the same by seed."""

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from songfoundry import checkpoint, inventory, pictures
from songfoundry.diffusion import SAMPLERS
from songfoundry.engine import Engine
from songfoundry.errors import Cancelled, ConfigError
from songfoundry.registry import nearest
from songfoundry.systems.cdcgan import Cdcgan
from songfoundry.systems.ddpm import Ddpm

__all__ = ["DEFAULT_MODEL", "MOST", "MOST_FRAMES", "MOST_MOVING", "PictureMaker", "find"]

DEFAULT_MODEL = "ddpm"
"""Name of the model that makes pictures where none is named."""
SYSTEMS = ("ddpm", "cdcgan")
MOST = 100_000
"""Pictures of one call."""
SAMPLER, STEPS, GUIDANCE = "dpm++", 20, 1.5
"""How a diffusion model is asked where nothing is said."""
MOST_FRAMES, MOST_MOVING = 60, 256
"""Frames and pictures of an animation."""
_BATCH = 64
_RECIPES = {"ddpm": "recipes/mnist_ddpm.toml", "cdcgan": "recipes/mnist-cdcgan.toml"}


class PictureMaker(Engine):
    """Hold one model, ready to make any number of pictures.

    Parameters
    ----------
    model : name of a shipped or local model, path of a `.safetensors`, or a system that is built.
    device : "auto", "cpu", "cuda", "cuda:1" or "mps". threads : CPU threads; None for the cores that are free now.

    Attributes
    ----------
    classes : their names. conditional : whether a class can be asked for. kind : "ddpm" or "cdcgan". shape : of a picture.

    Raises
    ------
    ConfigError : an unknown model or device. CheckpointError : the file is damaged, or no model that makes pictures.
    """

    def __init__(self, model: str | os.PathLike | nn.Module = DEFAULT_MODEL, device: str = "auto", threads: int | None = None):
        super().__init__(model, device, threads, find=find, kinds=SYSTEMS, does="makes pictures")
        self.system: Ddpm | Cdcgan
        self.kind = self.system.config.name
        self.classes, self.conditional, self.shape = tuple(self.system.classes), self.system.conditional, self.system.shape

    def label(self, name: str | int) -> int:
        """Find the number of a class, or of a digit; raises `ConfigError`, which names the nearest."""
        name = str(name)
        if not self.conditional:
            raise ConfigError(
                f"expected a model that is told what to make for {name!r}, found {self.name}, which is not: name another, or no class"
            )
        if name not in self.classes:
            raise ConfigError(f"expected a class of {self.name}, found {name!r}: {nearest(name, list(self.classes))}")
        return self.classes.index(name)

    def labels(self, count: int, digit: str | int | Sequence[str | int] | None = None) -> np.ndarray:
        """Say which class each of `count` pictures is of: int64 (count,), the classes that are named, or all, in turn.

        Raises
        ------
        ConfigError : an unknown class, or a count below 1 or above `MOST`.
        """
        if not 1 <= count <= MOST:
            raise ConfigError(f"expected 1 to {MOST} pictures, found {count}: change --count")
        named = [digit] if isinstance(digit, str | int) else digit
        wanted = [self.label(name) for name in named] if named else list(range(len(self.classes)))
        return np.resize(np.array(wanted, np.int64), count)

    def pictures(
        self, count: int = 64, digit: str | int | Sequence[str | int] | None = None, *, seed: int = 0, sampler: str | None = None,
        steps: int | None = None, guidance: float | None = None, frames: bool = False,
        progress: Callable[[float], bool | None] | None = None, cancel: threading.Event | None = None,
    ) -> tuple[np.ndarray, list[np.ndarray]]:  # fmt: skip
        """Make pictures.

        Parameters
        ----------
        count : how many. digit : of which class or classes (in turn); None for all in turn. seed : decides the noise.
        sampler, steps, guidance : of a diffusion model alone: "ddpm", "ddim", "dpm++" or "heun"; how many of the schedule's steps; how
            far to go towards the class (1: as it is learned). frames : whether to tell how the first `MOST_MOVING` come out of the noise.
        progress : called with the share that is done; returns False to stop. cancel : stops when set.

        Returns
        -------
        images : uint8 (count, channels, size, size). frames : those that move at the beginning and after each step, where they were asked
            for; of more than `MOST_FRAMES` so many, chosen evenly.

        Raises
        ------
        ConfigError : a value is out of range or means nothing to this model. Cancelled : as asked.
        """
        labels = self.labels(count, digit)
        asked = self.asked(sampler, steps, guidance)
        if not 0 <= seed < 2**63:
            raise ConfigError(f"expected a seed of 0 to 2^63 - 1, found {seed}: choose another")
        if frames and self.kind != "ddpm":
            raise ConfigError(f"expected a diffusion model for --gif, found {self.name}, which takes one step: leave it out")
        made, shown = [], []
        with self.threaded():
            for first in range(0, count, _BATCH):
                part = labels[first : first + _BATCH]

                def stop(share: float, first: int = first, size: int = len(part)) -> bool:
                    done = (first + size * share) / count
                    return progress is not None and progress(done) is False or cancel is not None and cancel.is_set()

                films: list[np.ndarray] = []
                moving = max(0, min(len(part), MOST_MOVING - first)) if frames else 0
                made.append(self._batch(part, seed, first, asked, films, moving, stop))
                if moving:
                    shown.append(films)
        return np.concatenate(made), [np.concatenate(column) for column in zip(*shown, strict=True)]

    def asked(self, sampler: str | None = None, steps: int | None = None, guidance: float | None = None) -> dict:
        """Check how a model is asked, and fill in what is not said: {"sampler", "steps", "guidance"}, or nothing for a cDCGAN.

        Raises
        ------
        ConfigError : a value is out of range, or means nothing to this model.
        """
        if self.kind != "ddpm":
            given = [name for name, value in (("sampler", sampler), ("steps", steps), ("guidance", guidance)) if value is not None]
            if given:
                raise ConfigError(f"expected a diffusion model for --{given[0]}, found {self.name}, which takes one step: leave it out")
            return {}
        sampler, steps = sampler or SAMPLER, STEPS if steps is None else steps
        if sampler not in SAMPLERS:
            raise ConfigError(f"expected the name of a sampler, found {sampler!r}: {nearest(sampler, list(SAMPLERS))}")
        if not 1 <= steps <= self.system.config.steps:
            raise ConfigError(f"expected 1 to {self.system.config.steps} steps, found {steps}: change --steps")
        if guidance is not None and not self.conditional and guidance != 1:
            raise ConfigError(f"expected a model that is told what to make for --guidance, found {self.name}, which is not: leave it out")
        guidance = (GUIDANCE if self.conditional else 1.0) if guidance is None else guidance
        if not 0 <= guidance <= 20:
            raise ConfigError(f"expected a guidance of 0 to 20, found {guidance:g}: change it")
        return {"sampler": sampler, "steps": steps, "guidance": guidance}

    def _batch(self, labels: np.ndarray, seed: int, first: int, asked: dict, films: list, moving: int, stop) -> np.ndarray:
        """Make some pictures: uint8 (batch, channels, size, size); `films` takes the first `moving` of them at the steps that are shown."""
        draws = [_generator(seed, first + number) for number in range(len(labels))]
        label = torch.from_numpy(labels).to(self.device)
        shape = self.shape if self.kind == "ddpm" else (self.system.latent,)

        def draw() -> Tensor:
            return torch.stack([torch.randn(shape, generator=each) for each in draws]).to(self.device)

        start = draw()
        if self.kind != "ddpm":
            made = self.system.sample(start, label)
            if stop(1.0):
                raise _cancelled()
            return _pixels(made)
        steps = asked["steps"]
        shown = {round(place) for place in np.linspace(0, steps, min(MOST_FRAMES, steps + 1))} if moving else set()
        if 0 in shown:
            films.append(_pixels(start[:moving] / 2))

        def watch(number: int, thing: Tensor, _guess: Tensor) -> bool:
            if number in shown:
                films.append(_pixels(thing[:moving]))
            if stop(number / steps):
                raise _cancelled()
            return True

        return _pixels(self.system.sample(start, label, draw=draw, watch=watch, **asked))


def _generator(seed: int, number: int) -> torch.Generator:
    """Give picture `number` of a seed a source of noise of its own, so that a picture does not depend on how many are made."""
    mixed = int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(mixed & 0x7FFF_FFFF_FFFF_FFFF)


def _pixels(images: Tensor) -> np.ndarray:
    return pictures.levels(images.float().cpu().numpy())


def _cancelled() -> Cancelled:
    return Cancelled("expected to make all pictures, found the work cancelled: nothing was kept")


def find(name: str | os.PathLike) -> Path:
    """Find the file of a model of pictures; the `ConfigError` says what to do where a default one is not installed."""
    recipe = _RECIPES.get(os.fspath(name))
    if recipe and os.fspath(name) not in checkpoint.shipped((inventory.local_models(),)):
        raise ConfigError(
            f"expected the model {os.fspath(name)!r}, found none installed: train one (songfoundry train {recipe}) and name its file with "
            "--model PATH"
        )
    return inventory.find_model(name)
