"""Make pictures as a user asks for them: a grid, single files, an animation of how they come out of the noise."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from songfoundry import pictures
from songfoundry.audio.atomic import AsideFolder, check_target
from songfoundry.errors import ConfigError
from songfoundry.picturing.maker import DEFAULT_MODEL, PictureMaker

__all__ = ["Pictures", "picture"]

Progress = Callable[[float], bool | None]
_SCALE = 3
"""Pixels of an animation for each of a picture's: 28 are small on a screen."""


@dataclass
class Pictures:
    """Hold pictures that were made.

    Attributes
    ----------
    model : name. images : uint8 (count, channels, size, size). labels : name of each one's class, or None where none was asked for.
    asked : how a diffusion model was asked. grid, animation : paths; paths : of single files. elapsed : seconds of work.
    """

    model: str
    images: np.ndarray
    labels: list[str | None]
    seed: int
    asked: dict[str, Any] = field(default_factory=dict)
    grid: str | None = None
    animation: str | None = None
    paths: list[str] = field(default_factory=list)
    elapsed: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Give plain values for JSON, the pixels left out."""
        count, channels, height, width = self.images.shape
        return {
            "model": self.model, "seed": self.seed, "count": count, "labels": self.labels, **self.asked, "channels": channels,
            "height": height, "width": width, "grid": self.grid, "animation": self.animation, "paths": self.paths,
            "elapsed": round(self.elapsed, 3),
        }  # fmt: skip


def picture(
    count: int = 64, digit: str | int | Sequence[str | int] | None = None, *,
    model: str | os.PathLike | PictureMaker | nn.Module = DEFAULT_MODEL, seed: int = 0, sampler: str | None = None,
    steps: int | None = None, guidance: float | None = None, out: str | os.PathLike | None = None, each: bool = False,
    gif: str | os.PathLike | None = None, device: str = "auto", threads: int | None = None, progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Pictures:  # fmt: skip
    """Make pictures.

    Parameters
    ----------
    count : how many. digit : of which class or classes, in turn; None for all in turn. model : a name, a path, or a `PictureMaker`.
    seed, sampler, steps, guidance : as `PictureMaker.pictures`.
    out : a .png for all of them in a square without labels; with `each` a folder for a file each; None to write none.
    gif : a .gif for the way out of the noise, of the first 256 pictures in at most 60 frames.
    progress : called with the fraction done; returns False to stop. cancel : stops when set.

    Raises
    ------
    ConfigError, CheckpointError, OutputError, Cancelled : one sentence each; no file is left.
    """
    begun = time.perf_counter()
    _check(out, each, gif)
    maker = model if isinstance(model, PictureMaker) else PictureMaker(model, device, threads)
    asked = maker.asked(sampler, steps, guidance)
    labels = maker.labels(count, digit)
    images, frames = maker.pictures(
        count, digit, seed=seed, sampler=sampler, steps=steps, guidance=guidance, frames=gif is not None, progress=progress, cancel=cancel
    )
    made = Pictures(maker.name, images, [maker.classes[n] if maker.conditional else None for n in labels], seed, asked)
    targets: dict[Path, bytes] = {}
    if out is not None and each:
        digits = len(str(count - 1))
        for number, (image, label) in enumerate(zip(images, made.labels, strict=True)):
            name = f"{number:0{digits}d}" + (f"-{_safe(label)}" if label is not None else "")
            targets[Path(out) / f"{name}.png"] = pictures.png(_page(image))
        made.paths = [str(path) for path in targets]
    elif out is not None:
        targets[Path(out)] = pictures.png(pictures.grid(images))
        made.grid = str(out)
    if gif is not None:
        targets[Path(gif)] = animated(frames)
        made.animation = str(gif)
    _write(targets)
    made.elapsed = time.perf_counter() - begun
    return made


def animated(frames: Sequence[np.ndarray]) -> bytes:
    """Lay the pictures of each frame, uint8 (n, channels, size, size), in a square, and give all as an animated GIF."""
    scale = _SCALE if len(frames[0]) <= 64 else 1
    return pictures.animation([pictures.grid(frame).repeat(scale, 0).repeat(scale, 1) for frame in frames])


def _page(image: np.ndarray) -> np.ndarray:
    """Give a picture as PNG wants it: uint8 (channels, height, width) -> (height, width) or (height, width, 3)."""
    return image[0] if len(image) == 1 else image.transpose(1, 2, 0)


def _safe(label: str) -> str:
    """Make a class's name, which comes out of a file, fit for a file's name: no folder may hide in it."""
    return "".join(letter if letter.isalnum() or letter in "-+_ " else "_" for letter in label)


def _check(out, each: bool, gif) -> None:
    """Refuse, before any work, names by which nothing can be written."""
    if gif is not None and Path(gif).suffix.lower() != ".gif":
        raise ConfigError(f"expected a name that ends in .gif for an animation, found '{os.fspath(gif)}': change it")
    if out is not None and not each and Path(out).suffix.lower() != ".png":
        raise ConfigError(f"expected a name that ends in .png for a grid, found '{os.fspath(out)}': change it, or ask for --each")
    for target in (gif, None if each else out):
        if target is not None:
            check_target(target)


def _write(targets: dict[Path, bytes]) -> None:
    """Write all files or none: those of each folder aside, and renamed when all are there."""
    with ExitStack() as stack:
        asides = {folder: stack.enter_context(AsideFolder(folder)) for folder in sorted({path.parent for path in targets})}
        for path, data in targets.items():
            (asides[path.parent].folder / path.name).write_bytes(data)
        for aside in asides.values():
            aside.commit()
