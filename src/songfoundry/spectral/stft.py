"""Turn waveforms into spectra and back: the one front end, as `nn.Module`s.

Spectra are real-valued at every boundary: the real and the imaginary part are an axis of their own
of size 2, so that nets see plain tensors and can be exported without complex numbers.
"""

import torch
from torch import Tensor, nn

__all__ = ["Stft", "as_complex", "as_real"]


def as_complex(spectrum: Tensor) -> Tensor:
    """View (..., 2, frequencies, frames) as complex (..., frequencies, frames)."""
    return torch.complex(spectrum.select(-3, 0).contiguous(), spectrum.select(-3, 1).contiguous())


def as_real(spectrum: Tensor) -> Tensor:
    """Lay complex (..., frequencies, frames) out as (..., 2, frequencies, frames)."""
    return torch.stack((spectrum.real, spectrum.imag), dim=-3)


class Stft(nn.Module):
    """Take the short-time Fourier transform and its inverse, Hann window, centred, orthonormal.

    Parameters
    ----------
    n_fft : window and transform length in samples.
    hop_length : samples from one frame to the next; `n_fft` must be a multiple of it, at least 2.

    The transform of a signal of L samples has `n_fft // 2 + 1` frequencies and `1 + ceil(L / hop_length)`
    frames; the inverse gives back exactly L samples.
    """

    def __init__(self, n_fft: int = 4096, hop_length: int = 1024):
        super().__init__()
        if n_fft % hop_length or n_fft // hop_length < 2:
            raise ValueError(f"n_fft ({n_fft}) must be a multiple of hop_length ({hop_length}), at least twice it")
        self.n_fft, self.hop_length = n_fft, hop_length
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    @property
    def frequencies(self) -> int:
        """Count the frequency bins of one frame."""
        return self.n_fft // 2 + 1

    def forward(self, waveform: Tensor) -> Tensor:
        """Transform float (..., samples) to float (..., 2, frequencies, frames)."""
        shape, length = waveform.shape[:-1], waveform.shape[-1]
        flat = waveform.reshape(-1, length)
        # Zeros to a whole number of hops, so that the inverse covers every sample with full windows.
        flat = nn.functional.pad(flat, (0, -length % self.hop_length))
        spectrum = torch.stft(
            flat, self.n_fft, self.hop_length, window=self.window, center=True, pad_mode="constant",
            normalized=True, return_complex=True,
        )  # fmt: skip
        return as_real(spectrum).reshape(*shape, 2, *spectrum.shape[-2:])

    def inverse(self, spectrum: Tensor, length: int) -> Tensor:
        """Transform float (..., 2, frequencies, frames) back to float (..., length) samples."""
        shape = spectrum.shape[:-3]
        flat = as_complex(spectrum).reshape(-1, *spectrum.shape[-2:])
        waveform = torch.istft(
            flat, self.n_fft, self.hop_length, window=self.window, center=True, normalized=True, length=length
        )
        return waveform.reshape(*shape, length)
