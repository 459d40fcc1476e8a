"""Draw pictures for training: each once an epoch, in an order that follows from the seed and the epoch.

Example n belongs to epoch n // length, whose order is drawn by (seed, epoch), so a resumed training sees the examples that it would
have seen.
"""

from collections.abc import Callable, Iterator
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt

from songfoundry.config import Config
from songfoundry.data import digits
from songfoundry.data.image_sets import Images, find_images, made_images

__all__ = ["DRAWS", "ImageDraws", "ImagesConfig"]

_GROUP = 500
"""Validation images that are scored together."""


class ImagesConfig(Config):
    """Say which pictures are drawn.

    `path`, `kind`: as `data.image_sets.find_images` has them; kind "made": digits drawn by code, `count` for training, no file. `size`:
    pixels a side; `channels`: 1 grey, 3 red, green, blue; `licence`: what the pictures are under; `only`: training images that are taken,
    the first of them, by default all.
    """

    name: str = "images"
    path: str = "images"
    kind: Literal["auto", "idx", "folder", "made"] = "auto"
    size: Annotated[int, Field(ge=4, le=512)] = 28
    channels: Literal[1, 3] = 1
    licence: str = "not stated"
    count: PositiveInt = 2000
    only: PositiveInt | None = None


class ImageDraws:
    """Give example n as {"image": float32 (channels, size, size) from -1 (black) to 1, "label": int64, place in `classes`}.

    Images of split "test" are never drawn.

    Attributes
    ----------
    classes : names. channels, size : of each picture.

    Raises
    ------
    DatasetError, MissingExtraError : as `find_images`.
    """

    Config = ImagesConfig

    def __init__(self, config: ImagesConfig, seed: int = 0, progress: Callable[[float], None] | None = None):
        self.config, self.seed = config, seed
        self.channels, self.size = config.channels, config.size
        if config.kind == "made":
            self._sets, self.classes = made_images(config.count, config.size)
            self.channels = 1
        else:
            self._sets, self.classes = find_images(config.path, config.kind, config.size, config.channels, progress)
        if config.only is not None:
            self._sets = {**self._sets, "train": self._sets["train"].part(slice(config.only))}
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        """Count the images of an epoch."""
        return len(self._sets["train"])

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """Draw example `number`, always the same for one seed and one set of pictures."""
        epoch, place = divmod(number, len(self))
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng((self.seed, epoch)).permutation(len(self)))
        chosen = int(self._order[1][place])
        train = self._sets["train"]
        return {"image": torch.from_numpy(scaled(train.pixels[chosen])), "label": torch.tensor(int(train.labels[chosen]))}

    def validation(self) -> Iterator[dict]:
        """Give the validation images in groups: {"name", "image": float32 numpy (n, channels, size, size), "label": int64 (n,)}."""
        held = self.held_out("valid")
        for first in range(0, len(held), _GROUP):
            part = held.part(slice(first, first + _GROUP))
            yield {"name": f"valid {first}", "image": scaled(part.pixels), "label": part.labels}

    def held_out(self, split: str = "test") -> Images:
        """Give the images of a split, none where the set has no such part."""
        empty = Images(np.zeros((0, self.channels, self.size, self.size), np.uint8), np.zeros(0, np.int64))
        return self._sets.get(split, empty)

    def seen(self, examples: int) -> dict:
        """Say how many images so many examples are, for the card."""
        return {"images_seen": examples}

    def describe(self) -> dict:
        """Say what the examples are drawn from: how many images of which classes, and their licence, for the card."""
        made = self.config.kind == "made"
        return {
            "images": len(self), "classes": list(self.classes), "size": self.size, "channels": self.channels,
            "folders": ["made by code" if made else self.config.path],
            "licences": [digits.LICENCE if made else self.config.licence], "validation": len(self.held_out("valid")),
        }  # fmt: skip


def scaled(pixels: np.ndarray) -> np.ndarray:
    """Turn uint8 pixels into float32 from -1 to 1."""
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)


DRAWS = ImageDraws
