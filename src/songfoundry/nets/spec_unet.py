"""Separate with a convolutional U-Net that sees log magnitudes and answers with complex masks.

References: Jansson et al. 2017 ("Singing voice separation with deep U-Net convolutional networks", ISMIR) for the U-Net on
spectrograms; Oktay et al. 2018 ("Attention U-Net", arXiv 1804.03999, eq. 1-2) for the gates on the skips.
Each block convolves along frequency (5 x 1) and then along time (1 x 5): a tenth of a square kernel's weights less
than half its reach. Blocks halve both axes; only the encoder normalises. As convolutions do not know
where in the spectrum they stand, the bin's place is an input beside the magnitudes. Like every net it is given chunks of RMS 1,
not of peak 1: a peak tells little of how loud a chunk is, and the logarithm brings the magnitudes near ±1.
"""

import torch
from torch import Tensor, nn

__all__ = ["NET", "PRESETS", "TASK", "SpecUNet"]

TASK = "separate"
# Millions of weights: 0.54, 5.4 and 21.4.
PRESETS = {
    "tiny": {"width": 8, "levels": 5, "widest": 96},
    "small": {"width": 16, "levels": 6, "widest": 256},
    "base": {"width": 32, "levels": 6, "widest": 512},
}


class _Block(nn.Module):
    """Convolve along frequency, then along time, with ReLU after each; normalise in between where asked."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: bool):
        super().__init__()
        self.bins = nn.Conv2d(inputs, outputs, (5, 1), (stride, 1), padding=(2, 0))
        self.frames = nn.Conv2d(outputs, outputs, (1, 5), (1, stride), padding=(0, 2))
        groups = max(1, outputs // 8)
        self.norms = nn.ModuleList(nn.GroupNorm(groups, outputs) if norm else nn.Identity() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, bins, frames) to (batch, outputs, bins / stride, frames / stride), rounded up."""
        x = torch.relu(self.norms[0](self.bins(x)))
        return torch.relu(self.norms[1](self.frames(x)))


class _Gate(nn.Module):
    """Weigh a skip by additive attention, at the coarser resolution of the gating map (Oktay et al. 2018, eq. 1-2)."""

    def __init__(self, skip: int, gate: int):
        super().__init__()
        hidden = max(1, skip // 2)
        self.from_skip = nn.Conv2d(skip, hidden, 2, 2, bias=False)
        self.from_gate = nn.Conv2d(gate, hidden, 1)
        self.score = nn.Conv2d(hidden, 1, 1)

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        """Map a skip (batch, skip, bins, frames) and a gate (batch, gate, bins / 2, frames / 2) to the skip's shape."""
        bins, frames = skip.shape[2:]
        coarse = self.from_skip(nn.functional.pad(skip, (0, frames % 2, 0, bins % 2))) + self.from_gate(gate)
        alpha = torch.sigmoid(self.score(torch.relu(coarse)))
        alpha = nn.functional.interpolate(alpha, scale_factor=2, mode="bilinear", align_corners=False)
        return skip * alpha[:, :, :bins, :frames]


class SpecUNet(nn.Module):
    """Estimate the complex spectra of all stems by masks on the mixture's, from its log magnitudes.

    Parameters
    ----------
    stems, channels : how many stems come out; how many channels go in.
    sample_rate : accepted as every net's; the U-Net sees bins.
    n_fft : transform length; the spectra have n_fft // 2 + 1 bins.
    width, widest : feature maps at the full resolution; they double level by level up to `widest`.
    levels : how often the resolution is halved.
    """

    def __init__(
        self, *, stems: int = 4, channels: int = 2, sample_rate: int = 44100, n_fft: int = 4096,
        width: int = 16, levels: int = 6, widest: int = 256,
    ):  # fmt: skip
        super().__init__()
        self.stems, self.channels = stems, channels
        widths = [min(width << level, widest) for level in range(levels + 1)]
        self.register_buffer("place", torch.linspace(-1, 1, n_fft // 2 + 1)[:, None], persistent=False)
        self.enter = _Block(channels + 1, widths[0], 1, norm=True)
        steps = list(zip(widths, widths[1:], strict=False))
        self.down = nn.ModuleList(_Block(fine, coarse, 2, norm=True) for fine, coarse in steps)
        self.gates = nn.ModuleList(_Gate(fine, coarse) for fine, coarse in steps)
        self.widen = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, 2) for fine, coarse in steps)
        self.up = nn.ModuleList(_Block(2 * fine, fine, 1, norm=False) for fine, _ in steps)
        self.leave = nn.Conv2d(widths[0], 2 * channels * stems, 1)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Map a mixture (batch, channels, 2, bins, frames) to stems (batch, stems, channels, 2, bins, frames)."""
        batch, channels, _, bins, frames = spectrum.shape
        # A floor 60 dB below the level of a mixture of unit power; the divisor brings music to about ±1.
        power = spectrum.float().square().sum(2)
        x = (power + 1e-6).log() / 8
        x = torch.cat((x, self.place.expand(batch, 1, bins, frames)), 1)
        # Twice as fast on a CPU.
        x = self.enter(x.contiguous(memory_format=torch.channels_last))
        skips = []
        for block in self.down:
            skips.append(x)
            x = block(x)
        for skip, gate, widen, block in zip(*map(reversed, (skips, self.gates, self.widen, self.up)), strict=True):
            gated = gate(skip, x)
            x = widen(x)[:, :, : skip.shape[2], : skip.shape[3]]
            x = block(torch.cat((x, gated), 1))
        mask = self.leave(x).to(spectrum.dtype).reshape(batch, self.stems, channels, 2, bins, frames)
        real, imag = spectrum[:, None, :, 0], spectrum[:, None, :, 1]
        mask_real, mask_imag = mask.select(3, 0), mask.select(3, 1)
        return torch.stack((real * mask_real - imag * mask_imag, real * mask_imag + imag * mask_real), dim=3)


NET = SpecUNet
