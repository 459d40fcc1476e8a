"""Judge series by frozen random kernels: how much of the time does each answer above a threshold?

MiniRocket asks that of 84 kernels of nine taps, -1 six times and 2 three times, at several dilations and with thresholds that are quantiles
of what the kernels answer to a real series. The share of time above a threshold (the proportion of positive values) has no gradient;
here it is a mean of sigmoids, sharp or soft by a temperature, so that whoever made the series learns from the judgement. What is trained
is the perceptron that reads the shares alone.

References: Dempster, Schmidt & Webb 2021 ("MiniRocket", KDD, arXiv 2012.08791), sections 3.1 to 3.2, and the authors' variant for several
channels, in which each kernel sees the sum of a random few of them; Miyato et al. 2018 (arXiv 1802.05957) for spectral norm.
"""

from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import register_parametrization

__all__ = ["NET", "PRESETS", "TASK", "MiniRocket"]

TASK = "judge"
PRESETS = {
    "tiny": {"dilations": 2, "thresholds": 1, "hidden": [16], "parts": 2},
    "small": {"dilations": 6, "thresholds": 4, "hidden": [256, 64], "parts": 4},
    "large": {"dilations": 6, "thresholds": 16, "hidden": [512, 128], "parts": 4},
}
_TAPS = 9
_KERNELS = 84
_BOUND = 1.6
"""The spectral norm of a hidden layer, 1 being that of the last: with 1 random layers lose half of a signal in each."""


class _Scale(nn.Module):
    """Multiply a weight by a constant."""

    def __init__(self, scale: float):
        super().__init__()
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.scale


def _normalised(layer: nn.Linear, bound: float) -> nn.Linear:
    """Hold a layer to a spectral norm."""
    spectral_norm(layer)
    register_parametrization(layer, "weight", _Scale(bound))
    return layer


def _scattered(count: int) -> Tensor:
    """Spread numbers evenly over [0, 1) without order: float64 (count,), the fractions of squares times the golden ratio (Weyl 1916)."""
    return (torch.arange(1, count + 1, dtype=torch.float64).square() * ((5**0.5 - 1) / 2)).frac()


class MiniRocket(nn.Module):
    """Score series, higher is more real, in each of several parts of their time.

    Parameters
    ----------
    channels : of a series.
    steps : the length that dilations are laid out for; a series may have any other.
    dilations : how many, from 1 to where nine taps span `steps`.
    thresholds : of each kernel at each dilation: quantiles of what it answers to real series.
    temperature : how soft a threshold is, in standard deviations of what the kernel answers; 0.1 is nearly a step.
    hidden : neurons of the perceptron's layers.
    parts : into how many a series is cut for its shares: each is judged by itself.
    most : a kernel sees the sum of 1 to so many channels.

    Raises
    ------
    ValueError : a temperature that is not above 0, or no kernels at all.
    """

    def __init__(
        self, *, channels: int = 128, steps: int = 256, dilations: int = 6, thresholds: int = 4, temperature: float = 0.3,
        hidden: list[int] | None = None, parts: int = 4, most: int = 9,
    ):  # fmt: skip
        super().__init__()
        if temperature <= 0 or min(channels, dilations, thresholds, parts, most) < 1 or steps < _TAPS:
            raise ValueError(f"expected a temperature above 0, {_TAPS} steps or more, one of each count, found {temperature:g}, {steps}")
        self.channels, self.parts, self.temperature, self.thresholds = channels, parts, temperature, thresholds
        longest = (steps - 1) / (_TAPS - 1)
        self.dilations = sorted({int(round(longest ** (n / max(1, dilations - 1)))) for n in range(dilations)})
        taps = torch.full((_KERNELS, 1, _TAPS), -1.0)
        for kernel, places in zip(taps, combinations(range(_TAPS), 3), strict=True):
            kernel[0, list(places)] = 2.0
        answers = _KERNELS * len(self.dilations)
        # Channels are scattered by a sequence, not by chance: the same groups wherever the net is built.
        scattered = _scattered(answers * (channels + 1)).view(answers, channels + 1)
        chosen = torch.zeros(answers, channels)
        for row, places in zip(chosen, scattered, strict=True):
            # As many small groups as large ones, on a scale of ratios.
            count = int(min(most, channels) ** float(places[0]) + 0.5)
            row[places[1:].argsort()[: max(1, count)]] = 1.0
        self.register_buffer("taps", taps, persistent=False)
        self.register_buffer("chosen", chosen[..., None], persistent=False)
        # What real series are like, found once by `fit`: part of the weights.
        self.register_buffer("bias", torch.zeros(answers, thresholds))
        self.register_buffer("width", torch.ones(answers))
        self.register_buffer("mean", torch.full((answers * thresholds,), 0.5))
        self.register_buffer("deviation", torch.full((answers * thresholds,), 0.25))
        self.register_buffer("fitted", torch.tensor(False))
        sizes = [answers * thresholds, *(hidden or PRESETS["small"]["hidden"]), 1]
        self.layers = nn.ModuleList(_normalised(nn.Linear(a, b), _BOUND if b > 1 else 1.0) for a, b in zip(sizes, sizes[1:], strict=False))

    def _answers(self, series: Tensor) -> Tensor:
        """Let all kernels answer: (batch, channels, steps) -> (batch, kernels times dilations, steps)."""
        # A sum of channels goes through a kernel as the channels would: one product of matrices, then nine taps.
        sums = functional.conv1d(series.float(), self.chosen)
        parts = [
            functional.conv1d(part, self.taps, padding=4 * dilation, dilation=dilation, groups=_KERNELS)
            for part, dilation in zip(sums.split(_KERNELS, 1), self.dilations, strict=True)
        ]
        return torch.cat(parts, 1)

    def shares(self, series: Tensor) -> Tensor:
        """Measure in each part which share of the time each kernel is above each threshold: float32 (batch, parts, features), 0..1."""
        answers = self._answers(series)
        soft = self.width[:, None] * self.temperature
        above = [
            functional.adaptive_avg_pool1d(torch.sigmoid((answers - self.bias[:, n : n + 1]) / soft), self.parts)
            for n in range(self.thresholds)
        ]
        return torch.stack(above, 2).flatten(1, 2).transpose(1, 2)

    @torch.no_grad()
    def fit(self, series: Tensor) -> None:
        """Lay the thresholds at quantiles of what kernels answer to real series, float (batch, channels, steps), and scale by them."""
        with torch.autocast(series.device.type, enabled=False):
            answers = self._answers(series.float()).transpose(0, 1).flatten(1)
            # Quantiles of evenly spread numbers, another set for each kernel (Dempster et al. 2021, section 3.1.2).
            golden = (5**0.5 + 1) / 2
            wanted = (torch.arange(1, self.bias.numel() + 1, dtype=torch.float64) * golden % 1).view_as(self.bias).to(answers)
            ordered = answers.sort(1).values
            self.bias.copy_(ordered.gather(1, (wanted * (answers.shape[1] - 1)).round().long()))
            self.width.copy_(answers.std(1).clamp(min=1e-3))
            shares = self.shares(series.float()).flatten(0, 1)
            self.mean.copy_(shares.mean(0))
            self.deviation.copy_(shares.std(0).clamp(min=0.02))
            self.fitted.fill_(True)

    def forward(self, series: Tensor) -> Tensor:
        """Score float (batch, channels, steps): float32 (batch, parts)."""
        # In whole precision throughout: half of the work is in sums that lose their differences otherwise.
        with torch.autocast(series.device.type, enabled=False):
            values = (self.shares(series.float()) - self.mean) / self.deviation
            for layer in self.layers[:-1]:
                values = functional.leaky_relu(layer(values), 0.2)
            return self.layers[-1](values)[..., 0]


NET = MiniRocket
