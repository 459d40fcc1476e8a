"""Find the phase that belongs to magnitudes."""

import math

import torch
from torch import Tensor

from songfoundry.spectral.frames import Frames


def griffin_lim(
    magnitude: Tensor, hop: int, *, iterations: int = 32, momentum: float = 0.0, start: Tensor | None = None
) -> Tensor:
    """Find a waveform (batch, frames * hop) whose spectrum has nearly these magnitudes, by projecting to and fro.

    Parameters
    ----------
    magnitude : float (batch, bins, frames), as `Frames` gives them; n_fft is `2 * (bins - 1)`.
    hop : samples from one frame to the next.
    momentum : 0 is Griffin and Lim's own algorithm, whose distance never grows; 0.99 is fast Griffin-Lim, which gets further.
    start : the phase to begin from in radians, as magnitude; default: noise, the same in every call.

    Reference: Griffin and Lim 1984; Perraudin, Balazs and Søndergaard 2013, algorithm 2.
    """
    frames = Frames(2 * (magnitude.shape[1] - 1), hop).to(magnitude.device)
    phase = noise_phase(magnitude) if start is None else start.to(magnitude)
    estimate, before = torch.polar(magnitude, phase.expand_as(magnitude)), None
    for _ in range(iterations):
        found = frames(frames.inverse(estimate))
        ahead = found if before is None or not momentum else found + momentum * (found - before)
        before = found
        estimate = ahead * (magnitude / ahead.abs().clamp(min=1e-20))
    return frames.inverse(estimate)


def noise_phase(magnitude: Tensor) -> Tensor:
    """Draw phases (bins, frames) in radians: the same for every item of a batch, in every call and on every device."""
    noise = torch.rand(magnitude.shape[1:], generator=torch.Generator().manual_seed(0))
    return (2 * math.pi * noise).to(magnitude)
