"""Encode a window of a spectrogram as one vector: four convolutions along time, mel bands as channels, and four transposed back.

The net of an earlier study, without its normalisation over the batch: an example comes out the same whatever lies beside it.
"""

from torch import Tensor, nn
from torch.nn import functional

from songfoundry.nets.posterior import Posterior

TASK = "encode"
STRIDE, KERNEL = 4, 8


class Ae64(nn.Module):
    """Encode images (batch, channels, mels, frames) in [-1, 1], -1 for silence, into latents (batch, latent, 1) and back.

    Parameters
    ----------
    mels, frames, latent : of the images and of the vector; frames are a multiple of 64. channels : images of one window that are encoded
        together. widths : channels after the first three convolutions; these leave one frame of four each, the last one leaves one.
    """

    def __init__(self, *, mels: int = 128, frames: int = 256, latent: int = 64, channels: int = 1, widths: list[int] | None = None):
        super().__init__()
        if frames % STRIDE**3 or frames < STRIDE**3:
            raise ValueError(f"expected frames in multiples of {STRIDE**3}, found {frames}: choose another number")
        sizes = [channels * mels, *(widths or [192, 320, 448])]
        if len(sizes) != 4:
            raise ValueError(f"expected 3 widths, found {len(sizes) - 1}: give as many")
        self.mels, self.latent, self.channels, self.window, self.stride = mels, latent, channels, frames, frames
        left = frames // STRIDE**3
        margin = (KERNEL - STRIDE) // 2
        self.down = nn.ModuleList(
            nn.Conv1d(size, wider, KERNEL, STRIDE, margin) for size, wider in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.to_latent = nn.Conv1d(sizes[-1], latent, left)
        self.from_latent = nn.ConvTranspose1d(latent, sizes[-1], left)
        self.up = nn.ModuleList(
            nn.ConvTranspose1d(wider, size, KERNEL, STRIDE, margin) for size, wider in zip(sizes[-2::-1], sizes[:0:-1], strict=True)
        )

    def encode(self, images: Tensor) -> Posterior:
        """Encode float (batch, channels, mels, frames) as a point, float32 (batch, latent, 1)."""
        # From 0 for silence, for beyond the window convolutions see zeros.
        x = images.flatten(1, 2) + 1
        for layer in self.down:
            x = functional.gelu(layer(x))
        return Posterior(self.to_latent(x).float())

    def decode(self, latents: Tensor) -> Tensor:
        """Decode float (batch, latent, 1) into images, float32 (batch, channels, mels, frames), about -1 to 1."""
        x = functional.gelu(self.from_latent(latents))
        for layer in self.up[:-1]:
            x = functional.gelu(layer(x))
        return self.up[-1](x).float().unflatten(1, (self.channels, self.mels)) - 1


NET = Ae64
PRESETS = {
    "tiny": {"widths": [32, 48, 64]},
    "small": {"widths": [192, 320, 448]},
}
