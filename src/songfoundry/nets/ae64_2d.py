"""Encode a window of a spectrogram as one vector: four convolutions along time and frequency, and four transposed back.

The counterpart of `ae64` with about as many parameters: whether patterns that move along frequency are better kept.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from songfoundry.nets.posterior import Posterior

TASK = "encode"
STRIDE, KERNEL = 4, 8


class Ae64Planes(nn.Module):
    """Encode images (batch, channels, mels, frames) in [-1, 1], -1 for silence, into latents (batch, latent, 1) and back.

    Parameters
    ----------
    mels, frames, latent : of the images and of the vector; frames are a multiple of 64, mels of 32. channels : images of one window that
        are encoded together. widths : planes after the first three convolutions; these leave one frame of four each, and one band
        of four, of four, and of two; the last one leaves one of all.
    """

    def __init__(self, *, mels: int = 128, frames: int = 256, latent: int = 64, channels: int = 1, widths: list[int] | None = None):
        super().__init__()
        if frames % STRIDE**3 or frames < STRIDE**3 or mels % 32 or mels < 32:
            raise ValueError(f"expected frames in multiples of {STRIDE**3} and mels of 32, found {frames} and {mels}: choose others")
        sizes = [channels, *(widths or [40, 160, 256])]
        if len(sizes) != 4:
            raise ValueError(f"expected 3 widths, found {len(sizes) - 1}: give as many")
        self.mels, self.latent, self.channels, self.window, self.stride = mels, latent, channels, frames, frames
        left = (mels // 32, frames // STRIDE**3)
        shapes = [((KERNEL, KERNEL), (4, 4), (2, 2))] * 2 + [((4, KERNEL), (2, 4), (1, 2))]
        pairs = list(zip(sizes[:-1], sizes[1:], shapes, strict=True))
        self.down = nn.ModuleList(nn.Conv2d(size, wider, *shape) for size, wider, shape in pairs)
        self.to_latent = nn.Conv2d(sizes[-1], latent, left)
        self.from_latent = nn.ConvTranspose2d(latent, sizes[-1], left)
        self.up = nn.ModuleList(nn.ConvTranspose2d(wider, size, *shape) for size, wider, shape in pairs[::-1])
        # Planes lie innermost: half of the time on a CPU.
        self.to(memory_format=torch.channels_last)

    def encode(self, images: Tensor) -> Posterior:
        """Encode float (batch, channels, mels, frames) as a point, float32 (batch, latent, 1)."""
        # From 0 for silence, for beyond the window convolutions see zeros.
        x = (images + 1).contiguous(memory_format=torch.channels_last)
        for layer in self.down:
            x = functional.gelu(layer(x))
        return Posterior(self.to_latent(x).float().flatten(2))

    def decode(self, latents: Tensor) -> Tensor:
        """Decode float (batch, latent, 1) into images, float32 (batch, channels, mels, frames), about -1 to 1."""
        x = functional.gelu(self.from_latent(latents[..., None]))
        for layer in self.up[:-1]:
            x = functional.gelu(layer(x))
        return self.up[-1](x).float().contiguous() - 1


NET = Ae64Planes
PRESETS = {
    "tiny": {"widths": [8, 16, 32]},
    "small": {"widths": [40, 160, 256]},
}
