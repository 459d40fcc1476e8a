"""Cut waveforms into overlapping frames and transform them; put the frames back together by least squares."""

import torch
from torch import Tensor, nn


class Frames(nn.Module):
    """Take the short-time Fourier transform with one frame for each hop begun, Hann window, and its least-squares inverse.

    Parameters
    ----------
    n_fft : window and transform length in samples.
    hop : samples from one frame to the next; `n_fft` must be a multiple of it, at least 2.

    Frame t is centred on sample `(t + 0.5) * hop`, so L samples have `ceil(L / hop)` frames and the inverse gives whole hops; beyond
    both ends lies silence. A sine of amplitude a has magnitude a in its bin: full scale is 1.

    Raises
    ------
    ValueError : the hop does not divide the window, or no sample is there.
    """

    def __init__(self, n_fft: int = 1024, hop: int = 256):
        super().__init__()
        if n_fft % 2 or n_fft % hop or n_fft // hop < 2 or (n_fft - hop) % 2:
            raise ValueError(f"n_fft ({n_fft}) must be even and an even or whole multiple of hop ({hop}), at least twice it")
        self.n_fft, self.hop = n_fft, hop
        self.margin = (n_fft - hop) // 2
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.scale = 4.0 / n_fft  # two halves of the spectrum by the window's sum, n_fft / 2

    @property
    def bins(self) -> int:
        """Count the frequency bins of one frame."""
        return self.n_fft // 2 + 1

    def count(self, samples: int) -> int:
        """Count the frames of so many samples."""
        return -(-samples // self.hop)

    def forward(self, waveform: Tensor) -> Tensor:
        """Transform float (batch, samples) to complex (batch, bins, frames)."""
        samples = waveform.shape[-1]
        if not samples:
            raise ValueError("expected at least one sample, found an empty waveform: leave it out")
        whole = self.count(samples) * self.hop
        padded = nn.functional.pad(waveform, (self.margin, whole - samples + self.margin))
        windowed = padded.unfold(-1, self.n_fft, self.hop) * (self.window * self.scale)
        return torch.fft.rfft(windowed).transpose(-1, -2)

    def inverse(self, spectrum: Tensor) -> Tensor:
        """Find the waveform (batch, frames * hop) whose transform is nearest to complex (batch, bins, frames).

        Reference: Griffin and Lim 1984, equation 6.
        """
        frames = spectrum.shape[-1]
        # What overlaps is added hop by hop: as many additions as hops in a window, and no scatter.
        pieces = (torch.fft.irfft(spectrum.transpose(-1, -2), n=self.n_fft) * self.window).unflatten(-1, (-1, self.hop))
        square = (self.window**2 * self.scale).unflatten(-1, (-1, self.hop))
        overlap = self.n_fft // self.hop
        waveform = pieces.new_zeros(len(pieces), frames + overlap - 1, self.hop)
        weight = pieces.new_zeros(frames + overlap - 1, self.hop)
        for shift in range(overlap):
            waveform[:, shift : shift + frames] += pieces[:, :, shift]
            weight[shift : shift + frames] += square[shift]
        inner = slice(self.margin, self.margin + frames * self.hop)
        return waveform.flatten(1)[:, inner] / weight.flatten()[inner]
