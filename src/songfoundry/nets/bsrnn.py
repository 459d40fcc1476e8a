"""Separate with a band-split RNN: bands of the spectrum as tokens, LSTMs along time and across bands.

Reference: Luo & Yu 2023, "Music Source Separation with Band-split RNN" (IEEE/ACM TASLP; arXiv 2209.15174).
Differences, all for small compute: one net gives the masks of all stems; the bands are laid out in equal
widths per octave-like region, so that the projections of a region run as one batched product; the two
channels of a stereo signal share a band's token; the hidden size of the LSTMs is free (the paper: twice
the feature size).
"""

import torch
from torch import Tensor, nn

__all__ = ["NET", "PRESETS", "TASK", "BandSplitRNN", "band_regions"]

TASK = "separate"
# (upper edge in Hz, width in Hz, bins that share a mask value): fine where voices and bass lie, coarse where
# only cymbals and air are. Shared mask values above 4 kHz save most of the heads' weights.
LAYOUT = ((1000, 100, 1), (4000, 250, 1), (8000, 500, 2), (16000, 1000, 4), (24000, 2000, 4))

PRESETS = {
    "tiny": {"features": 48, "hidden": 48, "layers": 2, "mask_hidden": 32},
    "small": {"features": 96, "hidden": 96, "layers": 4, "mask_hidden": 80},
    "medium": {"features": 96, "hidden": 96, "layers": 6, "mask_hidden": 80},
    "base": {"features": 128, "hidden": 160, "layers": 6, "mask_hidden": 96},
}


def band_regions(n_fft: int, sample_rate: int, layout=LAYOUT) -> list[tuple[int, int, int, int]]:
    """Lay bands of equal width out per region, as (first bin, bands, bins a band, bins a mask value).

    The regions cover bins 0 to n_fft // 2 without a gap; what overhangs the last bin is padding. A band's bins
    are a multiple of the bins that share a mask value.
    """
    bins, hertz = n_fft // 2 + 1, sample_rate / n_fft
    regions, first = [], 0
    for edge, width, share in layout:
        if first >= bins:
            break
        size = share * max(1, round(width / hertz / share))
        count = max(1, round((min(edge, sample_rate / 2) / hertz - first) / size))
        regions.append((first, count, size, share))
        first += count * size
    if first < bins:
        last_first, count, size, share = regions[-1]
        regions[-1] = (last_first, count + -(-(bins - first) // size), size, share)
    return regions


class _BandProjection(nn.Module):
    """Normalise and project each band of one region by weights of its own, as one batched product."""

    def __init__(self, bands: int, inputs: int, outputs: int):
        super().__init__()
        self.norm = nn.LayerNorm(inputs, elementwise_affine=False)
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(bands, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(bands, 1, outputs))

    def forward(self, bands: Tensor) -> Tensor:
        """Map (bands, tokens, inputs) to (bands, tokens, outputs)."""
        return torch.baddbmm(self.bias, self.norm(bands), self.weight)


class _MaskHead(nn.Module):
    """Estimate the complex masks of one region: two batched layers, the second gated (paper, fig. 1c)."""

    def __init__(self, bands: int, features: int, hidden: int, outputs: int):
        super().__init__()
        self.first = _BandProjection(bands, features, hidden)
        bound = hidden**-0.5
        self.weight = nn.Parameter(torch.empty(bands, hidden, 2 * outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(bands, 1, 2 * outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Map (bands, tokens, features) to (bands, tokens, outputs)."""
        return nn.functional.glu(torch.baddbmm(self.bias, torch.tanh(self.first(features)), self.weight), dim=-1)


class _Residual(nn.Module):
    """Run a bidirectional LSTM along one axis, residually."""

    def __init__(self, features: int, hidden: int):
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.lstm = nn.LSTM(features, hidden, batch_first=True, bidirectional=True)
        self.project = nn.Linear(2 * hidden, features)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (batch, steps, features) to the same shape."""
        return tokens + self.project(self.lstm(self.norm(tokens))[0])


class BandSplitRNN(nn.Module):
    """Estimate the complex spectra of all stems by masks on the mixture's.

    Parameters
    ----------
    stems, channels : how many stems come out; how many channels go in.
    sample_rate : samples a second of the waveform behind the spectra, Hz.
    n_fft : transform length; the spectra have n_fft // 2 + 1 bins.
    features, hidden, layers : size of a band's token; of an LSTM direction; pairs of time and band LSTMs.
    mask_hidden : hidden size of the mask heads.
    """

    def __init__(
        self, *, stems: int = 4, channels: int = 2, sample_rate: int = 44100, n_fft: int = 4096,
        features: int = 96, hidden: int = 96, layers: int = 4, mask_hidden: int = 80,
    ):  # fmt: skip
        super().__init__()
        self.stems, self.channels, self.bins = stems, channels, n_fft // 2 + 1
        self.regions = band_regions(n_fft, sample_rate)
        self.padded = sum(count * size for _, count, size, _ in self.regions)
        self.split = nn.ModuleList(_BandProjection(n, 2 * channels * size + 1, features) for _, n, size, _ in self.regions)
        self.time = nn.ModuleList(_Residual(features, hidden) for _ in range(layers))
        self.band = nn.ModuleList(_Residual(features, hidden) for _ in range(layers))
        self.heads = nn.ModuleList(
            _MaskHead(n, features, mask_hidden, 2 * stems * channels * (size // share))
            for _, n, size, share in self.regions
        )

    def forward(self, spectrum: Tensor) -> Tensor:
        """Map a mixture (batch, channels, 2, bins, frames) to stems (batch, stems, channels, 2, bins, frames)."""
        batch, channels, _, bins, frames = spectrum.shape
        x = nn.functional.pad(spectrum, (0, 0, 0, self.padded - bins))
        tokens = []
        for (first, count, size, _), project in zip(self.regions, self.split, strict=True):
            region = x[:, :, :, first : first + count * size].reshape(batch, channels * 2, count, size, frames)
            region = region.permute(2, 0, 4, 1, 3).reshape(count, batch * frames, channels * 2 * size)
            # The norm takes a band's level away; its logarithm goes beside, so that loud and soft stay apart.
            level = (region.square().mean(-1, keepdim=True) + 1e-8).log() / 4
            region = region * (region.square().mean(-1, keepdim=True) + 1e-8).rsqrt()
            tokens.append(project(torch.cat((region, level), -1)))
        z = torch.cat(tokens)  # (bands, batch * frames, features)
        bands, features = z.shape[0], z.shape[2]
        for along_time, along_bands in zip(self.time, self.band, strict=True):
            z = along_time(z.reshape(bands * batch, frames, features))
            z = z.reshape(bands, batch * frames, features).transpose(0, 1)
            z = along_bands(z).transpose(0, 1)
        out, at = [], 0
        for (_, count, size, share), head in zip(self.regions, self.heads, strict=True):
            values = size // share
            mask = head(z[at : at + count]).reshape(count, batch, frames, self.stems, channels, 2, values)
            mask = mask.permute(1, 3, 4, 5, 0, 6, 2).reshape(batch, self.stems, channels, 2, count * values, frames)
            out.append(mask.repeat_interleave(share, dim=-2) if share > 1 else mask)
            at += count
        mask = torch.cat(out, dim=-2)[..., :bins, :].to(spectrum.dtype)
        real, imag = spectrum[:, None, :, 0], spectrum[:, None, :, 1]
        mask_real, mask_imag = mask.select(3, 0), mask.select(3, 1)
        return torch.stack((real * mask_real - imag * mask_imag, real * mask_imag + imag * mask_real), dim=3)


NET = BandSplitRNN
