"""Turn waveforms into images of their magnitude on the mel scale, and images into waveforms."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from songfoundry.spectral.frames import Frames
from songfoundry.spectral.phase import griffin_lim, pghi

Scale = Literal["slaney", "htk"]
Norm = Literal["mean", "slaney", None]
Phase = Literal["pghi", "griffinlim", "fast_griffinlim"]
ITERATIONS = {"pghi": 16, "griffinlim": 32, "fast_griffinlim": 32}
"""Griffin-Lim steps of each way to find the phase."""


def mel_filterbank(
    rate: int, n_fft: int, mels: int, low: float = 0.0, high: float | None = None, *, scale: Scale = "slaney", norm: Norm = "mean"
) -> Tensor:
    """Lay triangles evenly on the mel scale: float32 (mels, bins), from `low` to `high` Hz (default: half the rate).

    scale : "slaney" is linear below 1 kHz and logarithmic above, "htk" is O'Shaughnessy's single logarithm. At 256 mels, 16 kHz and
        n_fft 1024 every triangle of the first catches a bin; the lowest of the second fall between bins.
    norm : "mean" makes the weights of a triangle sum to 1, so that it gives a weighted mean of magnitudes and narrow triangles do
        not ripple with where they fall between bins; "slaney" makes areas equal (librosa's default), None peaks 1.
    """
    edges = mel_centres(rate, mels, low, high, scale=scale, edges=True)
    bins = torch.linspace(0, rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    weights = torch.minimum(rising, falling).clamp(min=0)
    if norm == "slaney":
        weights = weights * (2 / (edges[2:] - edges[:-2]))[:, None]
    elif norm == "mean":
        weights = weights / weights.sum(1, keepdim=True).clamp(min=1e-12)
    return weights.float()


def mel_centres(
    rate: int, mels: int, low: float = 0.0, high: float | None = None, *, scale: Scale = "slaney", edges: bool = False
) -> Tensor:
    """Give the centres of the triangles in Hz: float64 (mels,); with `edges` the outer feet too (mels + 2,)."""
    ends = [float(_mel(hertz, scale)) for hertz in (low, rate / 2 if high is None else high)]
    points = _hertz(torch.linspace(*ends, mels + 2, dtype=torch.float64), scale)
    return points if edges else points[1:-1]


# Slaney's scale: 200/3 Hz a mel up to 1 kHz (15 mel), from there 27 mel for each factor of 6.4.
_LINEAR, _KNEE, _STEP = 200 / 3, 15.0, math.log(6.4) / 27


def _mel(hertz: float, scale: Scale) -> float:
    if scale == "htk":
        return 2595 * math.log10(1 + hertz / 700)
    return hertz / _LINEAR if hertz < 1000 else _KNEE + math.log(hertz / 1000) / _STEP


def _hertz(mel: Tensor, scale: Scale) -> Tensor:
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    return torch.where(mel < _KNEE, mel * _LINEAR, 1000 * torch.exp((mel - _KNEE) * _STEP))


class LogMel(nn.Module):
    """Turn waveforms into log-magnitude mel images in [-1, 1], and images into waveforms.

    Parameters
    ----------
    rate, n_fft, hop : of the waveform in Hz, of the window and its steps in samples (see `Frames`).
    mels, low, high : rows of the image, from `low` to `high` Hz (default: half the rate), evenly on Slaney's mel scale.
    floor : the amplitude below 0 dB that becomes -1, 1e-3 is -60 dB. It is approached smoothly, as if noise of that level were
        added in power: gradients vanish nowhere, and what lies just above it comes back as it was.
    reference : the amplitude that is 0 dB and becomes 1, what is louder is cut; 1 is a sine of full scale. None: each item's own
        peak in the image, so that levels are lost, and `invert` gives waveforms of peak 1.
    """

    def __init__(
        self, rate: int = 16000, n_fft: int = 1024, hop: int = 256, mels: int = 256, low: float = 0.0, high: float | None = None,
        floor: float = 1e-3, reference: float | None = None,
    ):  # fmt: skip
        super().__init__()
        self.rate, self.hop, self.floor, self.reference = rate, hop, floor, reference
        self.frames = Frames(n_fft, hop)
        weights = mel_filterbank(rate, n_fft, mels, low, high)
        self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("centres", mel_centres(rate, mels, low, high).float(), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Turn float (batch, samples), full scale ±1, into float32 (batch, 1, mels, ceil(samples / hop)) in [-1, 1]."""
        with torch.autocast(waveform.device.type, enabled=False):  # bfloat16 has 8 bits, 48 dB: less than the image shows
            mel = self.weights @ self.frames(waveform.float()).abs()
            reference = mel.amax((1, 2), keepdim=True) if self.reference is None else self.reference
            relative = mel / reference.clamp(min=1e-9) if self.reference is None else (mel / reference).clamp(max=1)
            level = torch.log(relative**2 + self.floor**2) - math.log(1 + self.floor**2)
            return (1 - level / math.log(self._lowest))[:, None] * 2 - 1

    @property
    def _lowest(self) -> float:
        """Give the power of silence beside that of 0 dB."""
        return self.floor**2 / (1 + self.floor**2)

    def amplitude(self, image: Tensor) -> Tensor:
        """Turn an image (batch, 1, mels, frames) back into mel amplitudes (batch, mels, frames), relative to `reference` or the peak."""
        level = (0.5 - image[:, 0].float().clamp(-1, 1) / 2) * math.log(self._lowest) + math.log(1 + self.floor**2)
        return (torch.exp(level) - self.floor**2).clamp(min=0).sqrt() * (self.reference or 1.0)

    def magnitude(self, image: Tensor, iterations: int = 12) -> Tensor:
        """Find magnitudes (batch, bins, frames) that give an image (batch, 1, mels, frames), by non-negative least squares.

        Multiplicative steps (Lee and Seung 2001) keep what is positive positive and treat all frames at once. They begin with every mel
        spread over its triangle; where triangles are wider than bins many magnitudes fit, and these stay near that. An error counts by
        its ratio to the mel, as one hears it and as the image shows it.
        """
        with torch.autocast(image.device.type, enabled=False):
            mel = self.amplitude(image)
            # Of what is silent the size does not matter, only that 1 / mel^2 stays finite.
            weigh = 1 / mel.clamp(min=min(1e-4, self.floor) * (self.reference or 1.0)) ** 2
            found = (self.weights.T / self.weights.sum(0)[:, None].clamp(min=1e-9)) @ mel
            wanted = self.weights.T @ (weigh * mel)
            for _ in range(iterations):
                found = found * (wanted / (self.weights.T @ (weigh * (self.weights @ found))).clamp(min=1e-20))
            return found

    def invert(
        self, image: Tensor, *, phase: Phase = "pghi", iterations: int | None = None, samples: int | None = None, compiled: bool = False
    ) -> Tensor:
        """Turn images (batch, 1, mels, frames) into waveforms float32 (batch, samples), at `rate`.

        Parameters
        ----------
        phase : "pghi" begins fast Griffin-Lim with integrated phase gradients; "griffinlim" and "fast_griffinlim" begin with noise.
        iterations : Griffin-Lim steps; default: 16 after "pghi", else 32.
        samples : length; default: whole hops.
        compiled : integrate with numba (see `pghi`).

        Raises
        ------
        ValueError : a name of `phase` that is none.
        """
        if phase not in ITERATIONS:
            raise ValueError(f"expected a phase among {', '.join(ITERATIONS)}, found {phase!r}: choose one of them")
        steps = ITERATIONS[phase] if iterations is None else iterations
        magnitude = self.magnitude(image)
        start = pghi(magnitude, self.hop, tolerance=self.floor, compiled=compiled) if phase == "pghi" else None
        momentum = 0.0 if phase == "griffinlim" else 0.99
        waveform = griffin_lim(magnitude, self.hop, iterations=steps, momentum=momentum, start=start)
        if self.reference is None:
            waveform = waveform / waveform.abs().amax(1, keepdim=True).clamp(min=1e-9)
        return waveform if samples is None else nn.functional.pad(waveform, (0, samples - waveform.shape[1]))
