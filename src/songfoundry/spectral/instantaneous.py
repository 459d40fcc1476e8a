"""Turn waveforms into GANSynth's images, log power and instantaneous frequency on the mel scale, and back."""

import math

import torch
from torch import Tensor, nn

from songfoundry.spectral.frames import Frames

_FLOOR = 1e-6
_BREAK, _QUALITY = 700.0, 1127.0  # the HTK mel scale, natural logarithm


class InstantaneousMel(nn.Module):
    """Turn waveforms into images (batch, 2, mels, frames) of log mel power and mel instantaneous frequency, and back.

    Parameters
    ----------
    rate, n_fft, hop : of the waveform in Hz, of the window and its steps in samples; the paper's "high frequency resolution".
    mels : rows, on the HTK scale; a triangle is at least 1.5 bins wide. The constant component of a frame is left out, and
        the first row, below the lowest bin, is empty, as in the paper's code.
    frames : columns; silence is put after the waveform to fill them. Default: as many as hops begin (the paper's 64,000 samples have
        125, its images 128).

    Unlike the paper's code, which puts the silence in front, and scales levels by the range found in its data: here -1 is the floor,
    1e-6, and a sine of full scale lies a little below 1. The mel phase is, as there, the weighted sum of unwrapped phases.

    Reference: Engel et al. 2019, "GANSynth: Adversarial neural audio synthesis", section 2.
    """

    def __init__(self, rate: int = 16000, n_fft: int = 2048, hop: int = 512, mels: int = 1024, frames: int | None = None):
        super().__init__()
        self.rate, self.hop, self.columns = rate, hop, frames
        self.frames = Frames(n_fft, hop)
        weights = _triangles(rate, n_fft, mels)
        self.register_buffer("weights", weights.float(), persistent=False)
        # As the paper's code goes back: the transpose, divided by how much each row overlaps with all.
        back = weights.T / (weights @ weights.T).sum(0).clamp(min=1e-8)
        self.register_buffer("back", back.float(), persistent=False)
        self.gain = n_fft / 4  # `Frames` has full scale at 1, the paper's transform is not scaled
        self.lowest, self.highest = math.log(_FLOOR), math.log(2 * self.gain**2)

    def forward(self, waveform: Tensor) -> Tensor:
        """Turn float (batch, samples), full scale ±1, into float32 (batch, 2, mels, frames): level and frequency, in [-1, 1].

        The frequency is the turn of the phase in half turns a frame. Its first column is the phase itself, summed over a row: up to 1.7 on
        either side at the top, where a triangle is widest; wrapped, it would not come back.

        Raises
        ------
        ValueError : the waveform has more than `frames` hops.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            if self.columns is not None:
                if self.frames.count(waveform.shape[-1]) > self.columns:
                    most = self.columns * self.hop
                    raise ValueError(f"expected at most {most} samples, found {waveform.shape[-1]}: cut it, or ask for more frames")
                waveform = nn.functional.pad(waveform, (0, self.columns * self.hop - waveform.shape[-1]))
            spectrum = self.frames(waveform.float())[:, 1:] * self.gain
            power = torch.log(self.weights @ (spectrum.real**2 + spectrum.imag**2) + _FLOOR)
            level = 2 * (power - self.lowest) / (self.highest - self.lowest) - 1
            turns = _turns(self.weights @ _turns(spectrum.angle()).cumsum(-1)) / math.pi
            return torch.stack((level, turns), 1)

    def invert(self, image: Tensor, *, samples: int | None = None) -> Tensor:
        """Turn images (batch, 2, mels, frames) into waveforms float32 (batch, samples); default: whole hops."""
        with torch.autocast(image.device.type, enabled=False):
            level, turns = image.float().unbind(1)
            power = torch.exp((level + 1) / 2 * (self.highest - self.lowest) + self.lowest) - _FLOOR
            magnitude = (self.back @ power.clamp(min=0)).sqrt() / self.gain
            phase = self.back @ (math.pi * turns).cumsum(-1)
            spectrum = nn.functional.pad(torch.polar(magnitude, phase), (0, 0, 1, 0))
            waveform = self.frames.inverse(spectrum)
            return waveform if samples is None else nn.functional.pad(waveform, (0, samples - waveform.shape[1]))


def _turns(phase: Tensor) -> Tensor:
    """Give the turn from frame to frame, within half a turn to either side; the first column stays as it is."""
    turn = phase.diff(dim=-1)
    return torch.cat((phase[..., :1], torch.remainder(turn + math.pi, 2 * math.pi) - math.pi), -1)


def _triangles(rate: int, n_fft: int, mels: int) -> Tensor:
    """Lay triangles on the HTK scale over bins 1 to n_fft / 2: float64 (mels, n_fft / 2)."""
    width = rate / n_fft
    points = torch.linspace(0, _QUALITY * math.log(1 + rate / 2 / _BREAK), mels + 2, dtype=torch.float64)
    centre = points[1:-1]

    def hertz(mel: Tensor) -> Tensor:
        return _BREAK * torch.expm1(mel / _QUALITY)

    # Half the width on the mel scale that makes 1.5 bins.
    least = _QUALITY * torch.asinh(0.75 * width / (hertz(centre) + _BREAK))
    narrow = hertz(points[2:]) - hertz(points[:-2]) < 1.5 * width
    lower = hertz(torch.where(narrow, centre - least, points[:-2]))
    upper = hertz(torch.where(narrow, centre + least, points[2:]))
    middle = hertz(centre)
    bins = width * torch.arange(1, n_fft // 2 + 1, dtype=torch.float64)
    rising = (bins - lower[:, None]) / (middle - lower)[:, None]
    falling = (upper[:, None] - bins) / (upper - middle)[:, None]
    return torch.minimum(rising, falling).clamp(min=0)
