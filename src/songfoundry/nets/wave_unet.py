"""Turn one series into another of the same length, at every resolution in time at once: the Wave-U-Net, one-dimensional.

A series has any number of channels: the samples of a waveform, or, as in the system that sings, the mel bands of frames.

Reference: Stoller, Ewert & Dixon 2018 ("Wave-U-Net: a multi-scale neural network for end-to-end audio source separation", ISMIR, arXiv
1806.03185), section 3: convolutions whose outputs are decimated by 2, level by level; linear interpolation on the way up (3.2.2), skips,
the input itself joined on before the last layer (3.2). Edges are padded with what lies there, so that length stays.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["NET", "PRESETS", "TASK", "WaveUNet"]

TASK = "convert"
# "stoller" is the paper's own size for waveforms; the others are for frames, of which a second has about sixty.
PRESETS = {
    "tiny": {"width": 16, "growth": 8, "levels": 2, "down": 5, "up": 3},
    "small": {"width": 160, "growth": 32, "levels": 4, "down": 5, "up": 5},
    "large": {"width": 256, "growth": 64, "levels": 5, "down": 7, "up": 5},
    "stoller": {"width": 24, "growth": 24, "levels": 12, "down": 15, "up": 5},
}


class _Layer(nn.Module):
    """Convolve, normalise each frame over its channels, and bend."""

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__()
        self.convolve = nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2, padding_mode="replicate")
        self.norm = nn.LayerNorm(outputs)

    def forward(self, series: Tensor) -> Tensor:
        """Map (batch, inputs, steps) to (batch, outputs, steps)."""
        return functional.leaky_relu(self.norm(self.convolve(series).transpose(1, 2)).transpose(1, 2), 0.2)


def _doubled(series: Tensor) -> Tensor:
    """Put a step between each two, (batch, channels, steps) -> (batch, channels, 2 steps): every second one stays where halving took it."""
    held = functional.pad(series, (0, 1), mode="replicate")
    return functional.interpolate(held, size=2 * series.shape[-1] + 1, mode="linear", align_corners=True)[..., :-1]


class WaveUNet(nn.Module):
    """Convert series of any length.

    Parameters
    ----------
    inputs, outputs : channels of what comes in, of what goes out.
    width, growth : channels at full resolution; how many more there are at each level below.
    levels : how often the resolution is halved.
    down, up : steps that a convolution sees on the way down, on the way up; odd.

    Attributes
    ----------
    stride : a series is padded inside to a multiple of so many steps.

    Raises
    ------
    ValueError : a kernel is even, or a number is none.
    """

    def __init__(
        self, *, inputs: int = 128, outputs: int = 128, width: int = 160, growth: int = 32, levels: int = 4, down: int = 5, up: int = 5
    ):  # fmt: skip
        super().__init__()
        if min(inputs, outputs, width, levels) < 1 or growth < 0 or down % 2 == 0 or up % 2 == 0:
            raise ValueError(f"expected channels, levels and odd kernels, found width {width}, {levels} levels, kernels {down} and {up}")
        self.inputs, self.outputs, self.stride = inputs, outputs, 2**levels
        widths = [width + growth * level for level in range(levels + 1)]
        self.down = nn.ModuleList(_Layer(a, b, down) for a, b in zip((inputs, *widths), widths[:-1], strict=False))
        self.middle = _Layer(widths[-2], widths[-1], down)
        self.up = nn.ModuleList(_Layer(below + here, here, up) for below, here in zip(widths[1:], widths[:-1], strict=True))
        self.leave = nn.Conv1d(widths[0] + inputs, outputs, 1)
        # It begins by saying next to nothing: who asks for a correction is given none at first.
        nn.init.normal_(self.leave.weight, std=0.01)
        nn.init.zeros_(self.leave.bias)

    def forward(self, series: Tensor) -> Tensor:
        """Map float (batch, inputs, steps) to float32 (batch, outputs, steps), without bounds."""
        steps = series.shape[-1]
        values = whole = functional.pad(series, (0, -steps % self.stride), mode="replicate")
        skips = []
        for layer in self.down:
            values = layer(values)
            skips.append(values)
            values = values[..., ::2]
        values = self.middle(values)
        for layer, skip in zip(reversed(self.up), reversed(skips), strict=True):
            values = _doubled(values)
            values = layer(torch.cat((values.to(skip.dtype), skip), 1))
        return self.leave(torch.cat((values, whole.to(values.dtype)), 1))[..., :steps].float()


NET = WaveUNet
