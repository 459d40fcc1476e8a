"""Separate with a sparse-compression network: squeeze the bands that say little, model the rest by dual-path LSTMs.

Reference: Tong et al. 2024, "SCNet: Sparse Compression Network for Music Source Separation" (ICASSP; arXiv 2401.13276).
The encoder cuts the spectrum into a low, a middle and a high band and shortens them by 1, 4 and 16, three times
over, so that 2049 bins become some 56 positions of which most are low; LSTMs run along frequency and along
time, and every second layer sees the Fourier transform along time instead of time (the paper's feature
conversion); the decoder adds the encoder's maps and widens the bands again. Differences: one norm of the whole
example at the entrance instead of mean and deviation, an orthonormal transform in the conversion, so that
values do not grow with the length, and the output is the spectra (as in the paper) or complex masks.
"""

from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["NET", "PRESETS", "TASK", "SparseCompression", "band_sizes"]

TASK = "separate"
# Low, middle, high: share of the bins, stride and kernel of the down-sampling, convolution modules (paper, sec. 3.2).
SHARES, STRIDES, KERNELS, DEPTHS = (0.175, 0.392, 0.433), (1, 4, 16), (3, 4, 16), (3, 2, 1)

# Millions of weights: 0.64, 2.5, 10.0 (the paper: 10.08) and 39.9 (the paper's SCNet-large: 41.2).
PRESETS = {
    "tiny": {"widths": (8, 16, 32)},
    "small": {"widths": (16, 32, 64)},
    "base": {"widths": (32, 64, 128)},
    "large": {"widths": (64, 128, 256), "shares": (0.225, 0.372, 0.403)},
}


def band_sizes(bins: int, shares=SHARES) -> list[int]:
    """Cut a number of bins, at least three, into a low, a middle and a high band of about these shares."""
    low = max(1, round(bins * shares[0]))
    middle = max(1, min(round(bins * shares[1]), bins - low - 1))
    return [low, middle, bins - low - middle]


class _TimeModule(nn.Module):
    """Refine a band along time, residually: the Conformer's convolution module, its inside a quarter as wide."""

    def __init__(self, width: int):
        super().__init__()
        hidden = max(1, width // 4)
        self.net = nn.Sequential(
            nn.GroupNorm(1, width),
            nn.Conv2d(width, 2 * hidden, (1, 3), padding=(0, 1)),
            nn.GLU(dim=1),
            nn.Conv2d(hidden, hidden, (1, 3), padding=(0, 1), groups=hidden),
            nn.GroupNorm(1, hidden),
            nn.SiLU(),
            nn.Conv2d(hidden, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, width, bins, frames) to the same shape."""
        return x + self.net(x)


class _Down(nn.Module):
    """Shorten each band by a stride of its own, refine it, and join the bands (the paper's SD block)."""

    def __init__(self, inputs: int, outputs: int, sizes: list[int]):
        super().__init__()
        self.sizes, self.pads = sizes, []
        for size, kernel, stride in zip(sizes, KERNELS, STRIDES, strict=True):
            before = (kernel - stride) // 2
            self.pads.append((0, 0, before, (-(-size // stride) - 1) * stride + kernel - size - before))
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs, outputs, (kernel, 1), (stride, 1)) for kernel, stride in zip(KERNELS, STRIDES, strict=True)
        )
        self.refine = nn.ModuleList(nn.Sequential(*(_TimeModule(outputs) for _ in range(depth))) for depth in DEPTHS)
        self.join = nn.Conv2d(outputs, outputs, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (batch, inputs, bins, frames) to (batch, outputs, fewer bins, frames), and its skip of that shape."""
        bands = []
        for band, conv, refine, pad in zip(x.split(self.sizes, 2), self.convs, self.refine, self.pads, strict=True):
            bands.append(refine(nn.functional.gelu(conv(nn.functional.pad(band, pad)))))
        skip = torch.cat(bands, 2)
        return self.join(skip), skip


class _Up(nn.Module):
    """Fuse with the encoder's map and widen each band by its stride (the paper's fusion layer and SU layer)."""

    def __init__(self, inputs: int, outputs: int, sizes: list[int]):
        super().__init__()
        self.sizes = sizes
        self.short = [-(-size // stride) for size, stride in zip(sizes, STRIDES, strict=True)]
        self.fuse = nn.Sequential(nn.Conv2d(inputs, 2 * inputs, 3, padding=1), nn.GLU(dim=1))
        self.convs = nn.ModuleList(
            nn.ConvTranspose2d(inputs, outputs, (kernel, 1), (stride, 1)) for kernel, stride in zip(KERNELS, STRIDES, strict=True)
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map two maps (batch, inputs, bins, frames) to (batch, outputs, more bins, frames)."""
        bands = self.fuse(x + skip).split(self.short, 2)
        wide = []
        for band, conv, size, kernel, stride in zip(bands, self.convs, self.sizes, KERNELS, STRIDES, strict=True):
            before = (kernel - stride) // 2
            wide.append(conv(band)[:, :, before : before + size])
        return torch.cat(wide, 2)


class _Along(nn.Module):
    """Run a bidirectional LSTM along one axis of the map, residually."""

    def __init__(self, width: int, axis: Literal["bins", "frames"]):
        super().__init__()
        # Both orders are their own inverse, which brings the result back.
        self.order = (0, 3, 2, 1) if axis == "bins" else (0, 2, 3, 1)
        self.back = (0, 3, 2, 1) if axis == "bins" else (0, 3, 1, 2)
        self.norm = nn.GroupNorm(1, width)
        self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.project = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, width, bins, frames) to the same shape."""
        y = self.norm(x).permute(self.order)
        y = self.project(self.lstm(y.flatten(0, 1))[0]).unflatten(0, (x.shape[0], -1))
        return x + y.permute(self.back)


def to_modulation(x: Tensor) -> Tensor:
    """Transform (batch, width, bins, frames) along time: (batch, 2 width, bins, frames // 2 + 1), real parts first."""
    # In float32 whatever autocast says: bfloat16 has no Fourier transform.
    x = x.float()
    if torch.onnx.is_in_onnx_export():
        cosine, sine = _fourier_matrices(x.shape[-1])
        return torch.cat((x @ cosine, -(x @ sine)), 1)
    y = torch.view_as_real(torch.fft.rfft(x, dim=-1, norm="ortho"))
    return torch.cat((y[..., 0], y[..., 1]), 1)


def from_modulation(x: Tensor, frames: int) -> Tensor:
    """Take `to_modulation` back, to a number of frames."""
    real, imag = x.float().chunk(2, 1)
    if torch.onnx.is_in_onnx_export():
        cosine, sine = _fourier_matrices(frames)
        # Bins other than the first (and the last of an even length) stand for their mirror image too.
        at = torch.arange(real.shape[-1])
        twice = 2.0 - (2 * at % frames == 0).float()
        return (real * twice) @ cosine.T - (imag * twice) @ sine.T
    return torch.fft.irfft(torch.complex(real.contiguous(), imag.contiguous()), n=frames, dim=-1, norm="ortho")


def _fourier_matrices(frames: int) -> tuple[Tensor, Tensor]:
    """Write the orthonormal real Fourier transform as two matrices (frames, frames // 2 + 1), for formats without one."""
    # Whole turns go before the cosine sees them: exact at any length.
    phase = torch.arange(frames)[:, None] * torch.arange(frames // 2 + 1) % frames
    angle = phase.float() * (2 * torch.pi / frames)
    return angle.cos() * frames**-0.5, angle.sin() * frames**-0.5


class SparseCompression(nn.Module):
    """Estimate the complex spectra of all stems from the mixture's.

    Parameters
    ----------
    stems, channels : how many stems come out; how many channels go in.
    sample_rate : accepted as every net's; the bands are shares of the bins.
    n_fft : transform length; the spectra have n_fft // 2 + 1 bins.
    widths : feature maps after each of the encoder's blocks (the paper writes the 2 channels x 2 parts of the
        input before them: 4, 32, 64, 128).
    layers : dual-path layers.
    shares : how much of the bins is the low, the middle and the high band.
    output : "map" gives the spectra themselves (the paper), "mask" complex masks on the mixture's.
    """

    def __init__(
        self, *, stems: int = 4, channels: int = 2, sample_rate: int = 44100, n_fft: int = 4096,
        widths: tuple[int, ...] = (16, 32, 64), layers: int = 6, shares: tuple[float, float, float] = SHARES,
        output: Literal["map", "mask"] = "map",
    ):  # fmt: skip
        super().__init__()
        if output not in ("map", "mask"):
            raise TypeError(f"output should be 'map' or 'mask', not {output!r}")
        self.stems, self.channels, self.output = stems, channels, output
        sizes, bins = [], n_fft // 2 + 1
        for _ in widths:
            sizes.append(band_sizes(bins, shares))
            bins = sum(-(-size // stride) for size, stride in zip(sizes[-1], STRIDES, strict=True))
        inputs = (2 * channels, *widths[:-1])
        self.down = nn.ModuleList(_Down(a, b, size) for a, b, size in zip(inputs, widths, sizes, strict=True))
        outputs = (2 * channels * stems, *widths[:-1])
        self.up = nn.ModuleList(_Up(b, a, size) for a, b, size in zip(outputs, widths, sizes, strict=True))
        wide = [widths[-1] * (1 + layer % 2) for layer in range(layers)]
        self.along_bins = nn.ModuleList(_Along(width, "bins") for width in wide)
        self.along_frames = nn.ModuleList(_Along(width, "frames") for width in wide)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Map a mixture (batch, channels, 2, bins, frames) to stems (batch, stems, channels, 2, bins, frames)."""
        batch, channels, _, bins, frames = spectrum.shape
        x = spectrum.flatten(1, 2)
        level = (x.square().mean((1, 2, 3), keepdim=True) + 1e-10).sqrt()
        x, skips = x / level, []
        for block in self.down:
            x, skip = block(x)
            skips.append(skip)
        for layer, (bins_lstm, frames_lstm) in enumerate(zip(self.along_bins, self.along_frames, strict=True)):
            if layer:
                x = to_modulation(x) if layer % 2 else from_modulation(x, frames)
            x = frames_lstm(bins_lstm(x))
        if len(self.along_bins) % 2 == 0:
            x = from_modulation(x, frames)
        for block, skip in zip(reversed(self.up), reversed(skips), strict=True):
            x = block(x, skip)
        if self.output == "map":
            return (x.float() * level).to(spectrum.dtype).reshape(batch, self.stems, channels, 2, bins, frames)
        mask = x.to(spectrum.dtype).reshape(batch, self.stems, channels, 2, bins, frames)
        real, imag = spectrum[:, None, :, 0], spectrum[:, None, :, 1]
        mask_real, mask_imag = mask.select(3, 0), mask.select(3, 1)
        return torch.stack((real * mask_real - imag * mask_imag, real * mask_imag + imag * mask_real), dim=3)


NET = SparseCompression
