"""Make pictures from noise and a class in one step, and tell them from real ones: the conditional DCGAN, plain and modern.

The plain one is that of the papers: strided convolutions, batch norm, the class as maps beside the picture. The modern one keeps its shape
and changes what made it fail: residual blocks told the class by scale and offset, resized instead of transposed convolutions, no batch
norm, projection and the deviation within the batch in the discriminator. The blocks are made for other games too.

References: Radford et al. 2016 (DCGAN, arXiv 1511.06434), section 3; Mirza & Osindero 2014 (arXiv 1411.1784) for the class on both sides;
Miyato & Koyama 2018 (arXiv 1802.05637, eq. 4) for projection; Karras et al. 2018 (arXiv 1710.10196), section 3, for the deviation within
the batch; Odena et al. 2016 (doi 10.23915/distill.00003) for resizing; Miyato et al. 2018 (arXiv 1802.05957) for spectral norm.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm as normalise

__all__ = ["NET", "PRESETS", "TASK", "Dcgan", "Fall", "Rise", "deviation", "plain_fall", "plain_rise"]

TASK = "picture_game"
# Channels from the coarsest resolution on; the picture is twice as fine as the last.
PRESETS = {
    "tiny": {"widths": [16, 8], "latent": 16},
    "plain": {"widths": [128, 64], "latent": 100, "modern": False},
    "modern": {"widths": [128, 64, 32], "latent": 100},
}


def plain_rise(entering: int, leaving: int, kernel: int = 4, stride: int = 2, padding: int = 1) -> nn.Sequential:
    """Build the plain generator's layer: transposed convolution, batch norm, rectifier; by default twice as fine."""
    return nn.Sequential(
        nn.ConvTranspose2d(entering, leaving, kernel, stride, padding, bias=False), nn.BatchNorm2d(leaving), nn.ReLU()
    )  # fmt: skip


def plain_fall(entering: int, leaving: int, norm: bool = True) -> nn.Sequential:
    """Build the plain discriminator's layer: strided convolution, batch norm (not in the first), leaky rectifier; half as fine."""
    layers = [nn.Conv2d(entering, leaving, 4, 2, 1, bias=not norm), nn.BatchNorm2d(leaving) if norm else nn.Identity()]
    return nn.Sequential(*layers, nn.LeakyReLU(0.2))


class Rise(nn.Module):
    """Convolve twice beside a short cut, told a style what to scale and to add; twice as fine where `up` says so."""

    def __init__(self, entering: int, leaving: int, style: int, up: bool = True):
        super().__init__()
        self.up, self.widths = up, (entering, leaving)
        self.norms = nn.ModuleList(nn.GroupNorm(math.gcd(8, width), width, affine=False) for width in self.widths)
        self.told = nn.Linear(style, 2 * (entering + leaving))
        self.first, self.second = nn.Conv2d(entering, leaving, 3, padding=1), nn.Conv2d(leaving, leaving, 3, padding=1)
        self.skip = nn.Conv2d(entering, leaving, 1, bias=False) if entering != leaving else nn.Identity()

    def forward(self, values: Tensor, style: Tensor) -> Tensor:
        """Take values (batch, entering, height, width) and style (batch, style) to (batch, leaving, height, width), or twice as fine."""
        entering, leaving = self.widths
        gain, offset, gain_2, offset_2 = self.told(style)[:, :, None, None].split((entering, entering, leaving, leaving), 1)
        inner = functional.leaky_relu(torch.addcmul(offset, self.norms[0](values), 1 + gain), 0.2)
        values = self.skip(values)
        if self.up:
            # A convolution before it is made finer costs a quarter.
            inner, values = (functional.interpolate(each, scale_factor=2.0, mode="nearest") for each in (self.first(inner), values))
        else:
            inner = self.first(inner)
        inner = functional.leaky_relu(torch.addcmul(offset_2, self.norms[1](inner), 1 + gain_2), 0.2)
        return (values + self.second(inner)) * math.sqrt(0.5)


class Fall(nn.Module):
    """Convolve twice beside a short cut, half as fine; `norm` wraps each layer, or leaves it."""

    def __init__(self, entering: int, leaving: int, norm=lambda layer: layer):
        super().__init__()
        self.first = norm(nn.Conv2d(entering, entering, 3, padding=1))
        self.second = norm(nn.Conv2d(entering, leaving, 4, stride=2, padding=1))
        self.skip = norm(nn.Conv2d(entering, leaving, 1, bias=False))

    def forward(self, values: Tensor) -> Tensor:
        """Take values (batch, entering, height, width) to (batch, leaving, height / 2, width / 2)."""
        inner = self.second(functional.leaky_relu(self.first(functional.leaky_relu(values, 0.2)), 0.2))
        return (inner + self.skip(functional.avg_pool2d(values, 2))) * math.sqrt(0.5)


def deviation(values: Tensor) -> Tensor:
    """Put a map beside values (batch, channels, height, width) that says how much they differ within the batch; 0 for one alone."""
    spread = values.float().var(0, correction=0).add(1e-8).sqrt().mean().to(values.dtype)
    return torch.cat((values, spread.expand(len(values), 1, *values.shape[2:])), 1)


class _PlainGenerator(nn.Module):
    """Grow a picture of noise and a one-hot class, as DCGAN does."""

    def __init__(self, channels, coarse, classes, latent, widths):
        super().__init__()
        self.classes = classes
        self.layers = nn.Sequential(
            plain_rise(latent + classes, widths[0], coarse, 1, 0),
            *(plain_rise(a, b) for a, b in zip(widths, widths[1:], strict=False)),
            nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1),
        )  # fmt: skip

    def forward(self, latent: Tensor, label: Tensor) -> Tensor:
        told = torch.cat((latent, functional.one_hot(label, self.classes).to(latent.dtype)), 1)
        return torch.tanh(self.layers(told[:, :, None, None]).float())


class _PlainDiscriminator(nn.Module):
    """Judge a picture beside maps of its class."""

    def __init__(self, channels, coarse, classes, widths):
        super().__init__()
        self.classes = classes
        widths = widths[::-1]
        self.layers = nn.Sequential(
            plain_fall(channels + classes, widths[0], norm=False), *(plain_fall(a, b) for a, b in zip(widths, widths[1:], strict=False)),
            nn.Conv2d(widths[-1], 1, coarse),
        )  # fmt: skip

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        maps = functional.one_hot(label, self.classes).to(image.dtype)[:, :, None, None].expand(-1, -1, *image.shape[2:])
        return self.layers(torch.cat((image, maps), 1)).flatten().float()


class _Generator(nn.Module):
    """Grow a picture by blocks that are told noise and class."""

    def __init__(self, channels, coarse, classes, latent, widths):
        super().__init__()
        style = 2 * latent
        self.coarse, self.label = coarse, nn.Embedding(classes, latent)
        self.mapping = nn.Sequential(nn.Linear(2 * latent, style), nn.LeakyReLU(0.2), nn.Linear(style, style), nn.LeakyReLU(0.2))
        self.begin = nn.Linear(2 * latent, widths[0] * coarse * coarse)
        doubled = [True] * (len(widths) - 1)
        self.blocks = nn.ModuleList(Rise(a, b, style, up) for a, b, up in zip(widths, widths[1:], doubled, strict=False))
        self.leave = nn.Conv2d(widths[-1], channels, 3, padding=1)
        nn.init.constant_(self.leave.bias, -1.0)

    def forward(self, latent: Tensor, label: Tensor) -> Tensor:
        told = torch.cat((latent, self.label(label)), 1)
        style = self.mapping(told)
        values = self.begin(told).view(len(latent), -1, self.coarse, self.coarse)
        for block in self.blocks:
            values = block(values, style)
        return torch.tanh(self.leave(functional.leaky_relu(values, 0.2)).float())


class _Discriminator(nn.Module):
    """Judge a picture by residual blocks, the deviation within the batch, and projection of its class."""

    def __init__(self, channels, coarse, classes, widths, norm):
        super().__init__()
        widths = widths[::-1]
        self.enter = norm(nn.Conv2d(channels, widths[0], 3, padding=1))
        self.blocks = nn.ModuleList(Fall(a, b, norm) for a, b in zip(widths, widths[1:], strict=False))
        self.end = norm(nn.Conv2d(widths[-1] + 1, widths[-1], 3, padding=1))
        self.features = norm(nn.Linear(widths[-1] * coarse * coarse, widths[-1]))
        self.score, self.label = norm(nn.Linear(widths[-1], 1)), nn.Embedding(classes, widths[-1])

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        values = self.enter(image)
        for block in self.blocks:
            values = block(values)
        values = functional.leaky_relu(self.end(deviation(functional.leaky_relu(values, 0.2))), 0.2)
        features = functional.leaky_relu(self.features(values.flatten(1)), 0.2).float()
        return self.score(features)[:, 0].float() + (self.label(label) * features).sum(1) / math.sqrt(features.shape[1])


class Dcgan(nn.Module):
    """Build a generator of pictures and the discriminator that it is trained against.

    Parameters
    ----------
    channels, size : of the pictures; `size` must be a multiple of 2 ** halvings, one for each width (but one, if modern).
    classes : how many there are. latent : numbers of noise. widths : channels, coarse to fine.
    modern : residual blocks and projection, or the DCGAN of the paper with label maps. spectral_norm : whether each layer of the modern
    discriminator is held to a spectral norm of 1. judging : whether there is a discriminator at all; without it none can be trained.

    Attributes
    ----------
    latent, classes : as given.
    """

    def __init__(
        self, *, channels: int = 1, size: int = 28, classes: int = 10, latent: int = 100, widths: list[int] | None = None,
        modern: bool = True, spectral_norm: bool = False, judging: bool = True,
    ):  # fmt: skip
        super().__init__()
        widths = list(widths or PRESETS["modern" if modern else "plain"]["widths"])
        halvings = len(widths) - modern
        if halvings < 1 or size % 2**halvings:
            raise ValueError(f"expected a size that is a multiple of {2 ** max(halvings, 1)} for these widths, found {size}: change it")
        if spectral_norm and not modern:
            raise ValueError("expected spectral norm with the modern blocks alone, found it with the plain ones: leave one of the two out")
        self.latent, self.classes = latent, classes
        coarse = size // 2**halvings
        if modern:
            norm = normalise if spectral_norm else (lambda layer: layer)
            self._generator: nn.Module = _Generator(channels, coarse, classes, latent, widths)
            self._discriminator: nn.Module | None = _Discriminator(channels, coarse, classes, widths, norm) if judging else None
        else:
            self._generator = _PlainGenerator(channels, coarse, classes, latent, widths)
            self._discriminator = _PlainDiscriminator(channels, coarse, classes, widths) if judging else None
            self.apply(_as_in_the_paper)

    def phases(self) -> dict[str, list[nn.Parameter]]:
        """Name the parameters of the two sides, in the order in which they are updated; of the generator alone without a judge."""
        sides = {"discriminator": self._discriminator, "generator": self._generator}
        return {name: list(side.parameters()) for name, side in sides.items() if side is not None}

    def generator(self, latent: Tensor, label: Tensor) -> Tensor:
        """Make pictures of noise, float (batch, latent), and classes, int64 (batch,): float32 (batch, channels, size, size) in -1..1."""
        return self._generator(latent, label)

    def discriminator(self, image: Tensor, label: Tensor) -> Tensor:
        """Score pictures, float (batch, channels, size, size) in -1..1, as ones of their classes: float32 (batch,), higher is more real.

        The score of one depends on the others beside it.
        """
        return self._discriminator(image, label)


def _as_in_the_paper(layer: nn.Module) -> None:
    """Draw weights as DCGAN does: normal, with a deviation of 0.02 (Radford et al. 2016, section 4)."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, 0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1, 0.02)


NET = Dcgan
