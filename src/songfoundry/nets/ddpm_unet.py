"""Take noise out of pictures: a U-Net that is told the time and the class, with attention at its coarsest resolution.

References: Ronneberger et al. 2015 (arXiv 1505.04597) for the shape and the skips; Ho et al. 2020 (arXiv 2006.11239, appendix B) for its
blocks and the time embedding; Dhariwal & Nichol 2021 (arXiv 2105.05233, equation 3) for scale and offset by time and class; Ho & Salimans
2022 (arXiv 2207.12598) for the class that is left open.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["NET", "PRESETS", "TASK", "DdpmUnet", "time_waves"]

TASK = "picture"
# Channels from the finest resolution to the coarsest; each is half as fine as the one before. On a CPU the finest costs most.
PRESETS = {
    "tiny": {"widths": [8, 12, 16], "embedding": 32},
    "small": {"widths": [32, 64, 128], "embedding": 128},
    "base": {"widths": [64, 128, 256], "embedding": 256, "blocks": 2},
}
_HEAD = 32
"""Channels of one head of attention, at most."""


def time_waves(time: Tensor, width: int) -> Tensor:
    """Describe times, float (batch,) in 0..1, by sines and cosines: float32 (batch, width), periods from 2 pi / 1000 to 20 pi.

    Reference: Vaswani et al. 2017 (arXiv 1706.03762), section 3.5, as Ho et al. 2020 use it, whose 1,000 steps are here 0..1.
    """
    half = width // 2
    speed = torch.exp(-math.log(10000) * torch.arange(half, device=time.device) / half)
    angle = 1000 * time.float()[:, None] * speed
    return torch.cat((angle.sin(), angle.cos()), 1)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(8, channels), channels)


class _Block(nn.Module):
    """Convolve twice beside a short cut, told by the embedding what to scale and to add."""

    def __init__(self, entering: int, leaving: int, embedding: int, attention: bool):
        super().__init__()
        self.before, self.first = _norm(entering), nn.Conv2d(entering, leaving, 3, padding=1)
        self.told = nn.Linear(embedding, 2 * leaving)
        self.between, self.second = _norm(leaving), nn.Conv2d(leaving, leaving, 3, padding=1)
        self.skip = nn.Conv2d(entering, leaving, 1) if entering != leaving else nn.Identity()
        self.attend = _Attention(leaving) if attention else nn.Identity()
        _quieten(self.second)

    def forward(self, values: Tensor, embedding: Tensor) -> Tensor:
        inner = self.between(self.first(functional.silu(self.before(values))))
        gain, offset = self.told(embedding)[:, :, None, None].chunk(2, 1)
        inner = self.second(functional.silu(torch.addcmul(offset, inner, 1 + gain)))
        return self.attend(self.skip(values) + inner)


class _Attention(nn.Module):
    """Let every place look at every other."""

    def __init__(self, channels: int):
        super().__init__()
        self.heads = max(1, channels // _HEAD)
        self.norm, self.ask, self.answer = _norm(channels), nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)
        _quieten(self.answer)

    def forward(self, values: Tensor) -> Tensor:
        batch, channels, height, width = values.shape
        parts = self.ask(self.norm(values)).view(batch, 3, self.heads, channels // self.heads, height * width).transpose(3, 4)
        query, key, value = parts.unbind(1)
        found = functional.scaled_dot_product_attention(query, key, value)
        return values + self.answer(found.transpose(2, 3).reshape(batch, channels, height, width))


def _quieten(layer: nn.Conv2d) -> None:
    """Let a branch begin small, but not at nothing: with zeros no gradient would reach what lies before it."""
    with torch.no_grad():
        layer.weight.mul_(0.1)
        layer.bias.zero_()


class DdpmUnet(nn.Module):
    """Build the U-Net.

    Parameters
    ----------
    channels, size : of the pictures; `size` must be a multiple of 2 ** (number of widths - 1).
    classes : how many there are; a picture's class may also be left open.
    widths : channels of each resolution, fine to coarse. blocks : of each resolution, on the way down and (one more) up.
    embedding : numbers that tell time and class. dropout : share of the embedding that is dropped in training.

    Attributes
    ----------
    conditional : True, for it heeds the class. classes : as given.
    """

    conditional = True

    def __init__(
        self, *, channels: int = 1, size: int = 28, classes: int = 10, widths: list[int] | None = None, blocks: int = 1,
        embedding: int = 128, dropout: float = 0.0,
    ):  # fmt: skip
        super().__init__()
        widths = list(widths or PRESETS["small"]["widths"])
        halvings = 2 ** (len(widths) - 1)
        if size % halvings:
            raise ValueError(f"expected a size that is a multiple of {halvings} for {len(widths)} widths, found {size}: change one of them")
        self.classes, self._embedding = classes, embedding
        self.time = nn.Sequential(nn.Linear(embedding, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        # One more: the class that is left open.
        self.label = nn.Embedding(classes + 1, embedding)
        self.dropout = nn.Dropout(dropout)
        self.enter = nn.Conv2d(channels, widths[0], 3, padding=1)
        last = len(widths) - 1
        self.down, self.halves, kept, now = nn.ModuleList(), nn.ModuleList(), [widths[0]], widths[0]
        for level, width in enumerate(widths):
            row = nn.ModuleList()
            for _ in range(blocks):
                row.append(_Block(now, width, embedding, level == last))
                now = width
                kept.append(now)
            self.down.append(row)
            self.halves.append(nn.Conv2d(now, now, 3, stride=2, padding=1) if level < last else nn.Identity())
            if level < last:
                kept.append(now)
        self.middle = nn.ModuleList([_Block(now, now, embedding, True), _Block(now, now, embedding, False)])
        self.up, self.doubles = nn.ModuleList(), nn.ModuleList()
        for level in range(last, -1, -1):
            row = nn.ModuleList()
            for _ in range(blocks + 1):
                row.append(_Block(now + kept.pop(), widths[level], embedding, level == last))
                now = widths[level]
            self.up.append(row)
            self.doubles.append(nn.Conv2d(now, now, 3, padding=1) if level else nn.Identity())
        self.norm, self.leave = _norm(now), nn.Conv2d(now, channels, 3, padding=1)
        _quieten(self.leave)

    def forward(self, image: Tensor, time: Tensor, label: Tensor) -> Tensor:
        """Predict what the system wants to know of noisy pictures.

        Parameters
        ----------
        image : float (batch, channels, size, size). time : float (batch,), 0 clean to 1 noise.
        label : int64 (batch,), the class; `classes` where it is left open.

        Returns
        -------
        predicted : float32 (batch, channels, size, size).
        """
        told = functional.silu(self.dropout(self.time(time_waves(time, self._embedding)) + self.label(label)))
        values = self.enter(image)
        kept = [values]
        for row, halve in zip(self.down, self.halves, strict=True):
            for block in row:
                values = block(values, told)
                kept.append(values)
            if not isinstance(halve, nn.Identity):
                values = halve(values)
                kept.append(values)
        for block in self.middle:
            values = block(values, told)
        for row, double in zip(self.up, self.doubles, strict=True):
            for block in row:
                values = block(torch.cat((values, kept.pop()), 1), told)
            if not isinstance(double, nn.Identity):
                values = double(functional.interpolate(values, scale_factor=2.0, mode="nearest"))
        return self.leave(functional.silu(self.norm(values))).float()


NET = DdpmUnet
