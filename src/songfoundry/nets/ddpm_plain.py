"""Take noise out of pictures: a small convolutional net of an earlier study, kept as the plain row of the table.

Two blocks of convolutions with max-pooling down, two transposed convolutions up, skips, the time added to every block; it is not told
the class.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from songfoundry.nets.ddpm_unet import time_waves

__all__ = ["NET", "PRESETS", "TASK", "DdpmPlain"]

TASK = "picture"
PRESETS = {"tiny": {"widths": [8, 12], "embedding": 16}, "small": {"widths": [32, 64], "embedding": 32}}


class _Block(nn.Module):
    """Convolve twice, with the time added between."""

    def __init__(self, entering: int, leaving: int, embedding: int):
        super().__init__()
        self.first, self.second = nn.Conv2d(entering, leaving, 3, padding=1), nn.Conv2d(leaving, leaving, 3, padding=1)
        self.told = nn.Linear(embedding, leaving)

    def forward(self, values: Tensor, waves: Tensor) -> Tensor:
        inner = functional.relu(self.first(values)) + self.told(waves)[:, :, None, None]
        return functional.relu(self.second(inner))


class DdpmPlain(nn.Module):
    """Build the plain net.

    Parameters
    ----------
    channels, size : of the pictures; `size` must be a multiple of 4.
    classes : how many there are; taken for the sake of the interface, for the net is not told them.
    widths : channels at the full and at half the resolution. embedding : numbers that tell the time.

    Attributes
    ----------
    conditional : False. classes : as given.
    """

    conditional = False

    def __init__(
        self, *, channels: int = 1, size: int = 28, classes: int = 10, widths: list[int] | None = None, embedding: int = 32
    ):  # fmt: skip
        super().__init__()
        fine, coarse = widths or PRESETS["small"]["widths"]
        if size % 4:
            raise ValueError(f"expected a size that is a multiple of 4, found {size}: change it")
        self.classes, self._embedding = classes, embedding
        self.down = nn.ModuleList([_Block(channels, fine, embedding), _Block(fine, coarse, embedding)])
        self.doubles = nn.ModuleList([nn.ConvTranspose2d(coarse, coarse, 2, stride=2), nn.ConvTranspose2d(fine, fine, 2, stride=2)])
        self.up = nn.ModuleList([_Block(2 * coarse, fine, embedding), _Block(2 * fine, fine, embedding)])
        self.leave = nn.Conv2d(fine, channels, 1)

    def forward(self, image: Tensor, time: Tensor, label: Tensor) -> Tensor:
        """Predict what the system wants to know of noisy pictures; arguments as of `ddpm_unet`, the label is not heeded."""
        waves, values, kept = time_waves(time, self._embedding), image, []
        for block in self.down:
            values = block(values, waves)
            kept.append(values)
            values = functional.max_pool2d(values, 2)
        for double, block in zip(self.doubles, self.up, strict=True):
            values = block(torch.cat((functional.relu(double(values)), kept.pop()), 1), waves)
        return self.leave(values).float()


NET = DdpmPlain
