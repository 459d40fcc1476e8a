"""Make notes to measure spectra with."""

import math

import torch
from torch import Tensor

RATE = 16000


def note(pitch: int, samples: int = 32768, seed: int = 0, decay: float = 1.0) -> Tensor:
    """Make an additive note (1, samples), peak 1, with soft ends and harmonics at phases drawn by `seed`."""
    time = torch.arange(samples) / RATE
    base = 440 * 2 ** ((pitch - 69) / 12)
    harmonics = torch.arange(1, int(7600 / base) + 1)[:, None]
    phases = 2 * math.pi * torch.rand(len(harmonics), 1, generator=torch.Generator().manual_seed(seed))
    parts = torch.sin(2 * math.pi * base * harmonics * time + phases) * torch.exp(-decay * time * harmonics**0.5) / harmonics
    wave = parts.sum(0) * (time / 0.02).clamp(max=1) * ((time[-1] - time) / 0.1).clamp(max=1)
    return (wave / wave.abs().max())[None]


def convergence(magnitude: Tensor, found: Tensor) -> float:
    """Give the spectral convergence of magnitudes in dB: their distance by their size."""
    return float(20 * torch.log10((found - magnitude).norm() / magnitude.norm()))
