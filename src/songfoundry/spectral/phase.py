"""Find the phase that belongs to magnitudes: by integrating its gradients, by projecting to and fro."""

import importlib.util
import math

import numpy as np
import torch
from torch import Tensor

from songfoundry.errors import MissingExtraError
from songfoundry.spectral.frames import Frames

HANN = 0.25645
"""The Gaussian nearest to a Hann window of L samples is exp(-pi t^2 / (HANN L^2)) (Průša et al. 2017, table 1)."""


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
    estimate, before = torch.polar(magnitude, phase.expand_as(magnitude).contiguous()), None
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


def pghi(magnitude: Tensor, hop: int, *, tolerance: float = 1e-3, compiled: bool = False) -> Tensor:
    """Find phases in radians for magnitudes (batch, bins, frames), both as `Frames` gives them, from the magnitudes' slopes alone.

    With a Gaussian window the gradients of the phase are those of the log magnitude, turned by a right angle; a Hann window is nearly
    Gaussian. They are integrated from each item's loudest bin along the loudest paths. What a heap does in the paper, bin by bin, is
    here the maximum spanning tree of the plane, where a step is as good as the softer of its two bins, then as the louder: a
    tree that whole arrays find in a few rounds.

    Parameters
    ----------
    tolerance : bins below this part of the item's peak get noise; a region that such bins surround begins at phase 0.
    compiled : use numba (extra `fast`): the same tree in less time, after some seconds to compile.

    Raises
    ------
    MissingExtraError : `compiled`, and numba is not installed.

    Reference: Průša, Balazs and Søndergaard 2017, "A noniterative method for reconstruction of phase from STFT magnitude", algorithm 1.
    """
    integrate = _compiled_flood() if compiled else span
    phase = noise_phase(magnitude).cpu().numpy().astype(np.float64)
    found = np.repeat(phase[None], len(magnitude), 0)
    for item, plane in zip(found, magnitude.detach().cpu().numpy().astype(np.float64), strict=True):
        lowest = plane.max(initial=0) * tolerance
        there = np.flatnonzero(plane > lowest)
        if len(there):
            order = there[np.argsort(-plane.ravel()[there], kind="stable")]
            item.ravel()[order] = integrate(order, *_gradients(np.maximum(plane, lowest), hop))
    # Whole turns mean nothing, and float32 has no digits to spare for them.
    return torch.from_numpy(np.remainder(found, 2 * np.pi)).to(magnitude)


def _compiled_flood():
    if importlib.util.find_spec("numba") is None:
        raise MissingExtraError("compiled phase integration needs numba, which is not installed: pip install 'songfoundry[fast]'")
    from songfoundry.spectral.compiled import flood

    return flood


def _gradients(magnitude: np.ndarray, hop: int) -> tuple[np.ndarray, np.ndarray]:
    """Estimate how the phase turns along time (radians a frame) and across frequency (radians a bin) of positive (bins, frames)."""
    n_fft = 2 * (len(magnitude) - 1)
    level = np.log(magnitude)
    ratio = hop * n_fft / (HANN * n_fft**2)
    along, across = np.empty_like(level), np.zeros_like(level)
    along[1:-1] = (level[2:] - level[:-2]) * (ratio / 2)
    along[[0, -1]] = 0  # spectra of real signals are even about both ends
    along += (2 * np.pi * hop / n_fft * np.arange(len(level)))[:, None]
    if level.shape[1] > 1:
        across = np.gradient(level, axis=1) / -ratio
    return along, across - np.pi  # frames are told from their first sample, half a window before their centre


def span(order: np.ndarray, along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Integrate gradients along the maximum spanning tree, by Borůvka's algorithm on whole arrays.

    order : int64 (n,), flat positions of the bins in float64 (bins, frames), loudest first. along, across : radians a frame and a bin.
    Returns float64 (n,): the phase of each, 0 at the loudest of its connected region.
    """
    low, high, turn = _edges(order, along, across)
    count = len(order)
    everyone = np.arange(count)
    root, phase = everyone.copy(), np.zeros(count)
    # In each round every region joins the neighbour that its best edge leads to; `turn` is from the root of `high` to that of `low`.
    while len(low):
        best = np.full(count, -1)
        ends = np.stack((low, high), 1)[::-1].ravel()
        best[ends] = np.repeat(np.arange(len(low))[::-1], 2)  # the last one written stays: the first, best edge
        joining = np.flatnonzero(best >= 0)
        edge = best[joining]
        parent, offset = everyone.copy(), np.zeros(count)
        parent[joining] = low[edge] + high[edge] - joining
        offset[joining] = np.where(joining == low[edge], turn[edge], -turn[edge])
        kept = joining[(parent[parent[joining]] == joining) & (joining < parent[joining])]  # two that chose each other
        parent[kept], offset[kept] = kept, 0
        while not np.array_equal(above := parent[parent], parent):
            offset, parent = offset + offset[parent], above
        phase, root = phase + offset[root], parent[root]
        turn = turn + offset[high] - offset[low]
        low, high = parent[low], parent[high]
        between = low != high
        low, high, turn = low[between], high[between], turn[between]
    loudest = np.empty(count, np.int64)
    loudest[root[::-1]] = everyone[::-1]
    return phase - phase[loudest[root]]


def _edges(order: np.ndarray, along: np.ndarray, across: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """List steps between neighbours, best first: rank of the softer bin, of the louder, and how far the phase turns to the softer."""
    rank = np.full(along.size, -1)
    rank[order] = np.arange(len(order))
    rank = rank.reshape(along.shape)
    low, high, turn = [], [], []
    for before, after, slope in ((np.s_[:, :-1], np.s_[:, 1:], along), (np.s_[:-1], np.s_[1:], across)):
        there = (rank[before] >= 0) & (rank[after] >= 0)
        one, two = rank[before][there], rank[after][there]
        low.append(np.maximum(one, two))
        high.append(np.minimum(one, two))
        trapezoid = (slope[before][there] + slope[after][there]) / 2
        turn.append(np.where(two > one, trapezoid, -trapezoid))
    low, high, turn = (np.concatenate(parts) for parts in (low, high, turn))
    sorting = np.argsort(low * len(order) + high)
    return low[sorting], high[sorting], turn[sorting]
