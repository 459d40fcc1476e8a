"""Encode spectrograms of any length, a latent for every four frames: a variational autoencoder with convolutions along time.

What lies within reach of a frame decides its latent, nothing else: a piece may be cut anywhere. Blocks are those of ConvNeXt (Liu et al.
2022), along time and with whole convolutions, for which one CPU core is quicker.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from songfoundry.nets.posterior import Posterior

TASK = "encode"
_LOWEST, _HIGHEST = -10.0, 4.0
"""Range of the log variance: beyond, a draw says nothing more."""
_BEGINNING = -4.0
"""The log variance of a net that has learnt nothing."""


class Block(nn.Module):
    """Change (batch, channels, steps) by what stands near in time."""

    def __init__(self, channels: int, kernel: int):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.near = nn.Conv1d(channels, channels, kernel, padding=kernel // 2)
        self.mix = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Add the change to float (batch, channels, steps)."""
        # Over channels alone: over time, a frame would depend on where a piece is cut.
        y = self.norm(x.transpose(1, 2)).transpose(1, 2)
        return x + self.mix(functional.gelu(self.near(y)))


class Vae(nn.Module):
    """Encode images (batch, channels, mels, frames) in [-1, 1], -1 for silence, into latents (batch, latent, frames / 4) and back.

    Parameters
    ----------
    mels, latent : rows of the images, numbers of a latent. channels : images that are encoded together. widths : channels at the
        frames' own pace, at half and at a quarter of it. blocks : at each of these. kernel : frames that a block sees, odd.
    frames : taken for the sake of nets that know but one length; this one knows all multiples of 4.

    Reference: Kingma & Welling 2014 (arXiv 1312.6114).
    """

    def __init__(
        self, *, mels: int = 128, frames: int = 256, latent: int = 64, channels: int = 1, widths: list[int] | None = None,
        blocks: list[int] | None = None, kernel: int = 3,
    ):  # fmt: skip
        super().__init__()
        widths, blocks = widths or [192, 320, 448], blocks or [1, 2, 2]
        if len(widths) != 3 or len(blocks) != 3 or not kernel % 2:
            raise ValueError(f"expected 3 widths, 3 numbers of blocks and an odd kernel, found {widths}, {blocks}, {kernel}: mend them")
        self.mels, self.latent, self.channels, self.window, self.stride = mels, latent, channels, None, 4
        down, up = [nn.Conv1d(channels * mels, widths[0], 5, padding=2)], []
        for place, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            if place:
                down.append(nn.Conv1d(widths[place - 1], width, 4, 2, 1))
                up.append(nn.ConvTranspose1d(width, widths[place - 1], 4, 2, 1))
            down += [Block(width, kernel) for _ in range(count)]
            up += [Block(width, kernel) for _ in range(count)]
        self.down = nn.ModuleList([*down, nn.Conv1d(widths[-1], 2 * latent, 1)])
        # Begins with little noise, in which nothing could be told apart yet.
        nn.init.constant_(self.down[-1].bias.data[latent:], _BEGINNING)
        head, tail = nn.Conv1d(latent, widths[-1], 3, padding=1), nn.Conv1d(widths[0], channels * mels, 5, padding=2)
        self.up = nn.ModuleList([head, *up[::-1], tail])

    @property
    def reach(self) -> int:
        """Count the frames on either side that a latent depends on, or an image on those of its latents: a multiple of `stride`."""
        seen, pace = 0, 1
        for layer in self.down:
            kernel = layer.near.kernel_size[0] if isinstance(layer, Block) else layer.kernel_size[0]
            seen += pace * (kernel // 2)
            pace *= 2 if isinstance(layer, nn.Conv1d) and layer.stride[0] == 2 else 1
        # The decoder's first convolution sees one latent more on either side.
        return -(-(seen + self.stride) // self.stride) * self.stride

    def encode(self, images: Tensor) -> Posterior:
        """Encode float (batch, channels, mels, frames), frames a multiple of 4: float32 (batch, latent, frames / 4) each."""
        # From 0 for silence, for beyond the ends convolutions see zeros.
        x = images.flatten(1, 2) + 1
        for layer in self.down:
            x = layer(x)
        mean, log_variance = x.float().chunk(2, 1)
        # Bounded smoothly: a hard bound has no gradient.
        middle, half = (_HIGHEST + _LOWEST) / 2, (_HIGHEST - _LOWEST) / 2
        return Posterior(mean, middle + half * torch.tanh((log_variance - middle) / half))

    def decode(self, latents: Tensor) -> Tensor:
        """Decode float (batch, latent, steps) into images, float32 (batch, channels, mels, 4 * steps), about -1 to 1."""
        x = latents
        for layer in self.up:
            x = layer(x)
        return x.float().unflatten(1, (self.channels, self.mels)) - 1


NET = Vae
PRESETS = {
    "tiny": {"widths": [32, 40, 48], "blocks": [1, 1, 1]},
    "small": {"widths": [192, 320, 448], "blocks": [1, 2, 2]},
}
