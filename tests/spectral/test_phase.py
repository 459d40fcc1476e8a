import heapq
import importlib.util
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from spectral_notes import convergence, note

from songfoundry.errors import MissingExtraError
from songfoundry.spectral import Frames, griffin_lim, pghi
from songfoundry.spectral import phase as phase_module

FRAMES = Frames()


def after(magnitude, start=None, iterations=0, momentum=0.0):
    wave = griffin_lim(magnitude, 256, iterations=iterations, momentum=momentum, start=start)
    return convergence(magnitude, FRAMES(wave).abs())


@pytest.fixture(scope="module")
def magnitude():
    return FRAMES(torch.cat([note(48), note(69, seed=1), note(76, seed=2, decay=4.0)])).abs()


def test_griffin_lim_never_gets_worse(magnitude):
    found = [after(magnitude, iterations=steps) for steps in (0, 1, 2, 4, 8, 16)]
    assert all(later <= earlier for earlier, later in pairwise(found)) and found[-1] < -10


def test_momentum_gets_further(magnitude):
    assert after(magnitude, iterations=24, momentum=0.99) < after(magnitude, iterations=24) - 3


def test_integrated_gradients_beat_griffin_lim_and_begin_it_well(magnitude):
    start = pghi(magnitude, 256)
    assert after(magnitude, start) < -28
    assert after(magnitude, start, 16, 0.99) < -38 < -18 < after(magnitude, iterations=32)


def test_the_gradients_are_those_of_the_true_phase():
    spectrum = FRAMES(note(60))[0]
    along, across = phase_module._gradients(spectrum.abs().double().clamp(min=1e-6).numpy(), 256)
    true = np.angle(spectrum.numpy())
    loud = spectrum.abs().numpy() > 0.05
    both = loud[:, 1:] & loud[:, :-1]
    turn = np.diff(true, axis=1) - (along[:, 1:] + along[:, :-1]) / 2
    assert np.abs(np.angle(np.exp(1j * turn)))[both].mean() < 0.1
    both = loud[1:] & loud[:-1]
    turn = np.diff(true, axis=0) - (across[1:] + across[:-1]) / 2
    assert np.abs(np.angle(np.exp(1j * turn)))[both].mean() < 0.15


def by_heap(plane, along, across, lowest):
    """Integrate as the paper's algorithm 1 says, on one plane."""
    bins, frames = plane.shape
    phase, left = np.zeros_like(plane), plane > lowest
    while left.any():
        first = np.unravel_index(np.argmax(np.where(left, plane, -1)), plane.shape)
        left[first] = False
        heap = [(-plane[first], *map(int, first))]
        while heap:
            _, row, column = heapq.heappop(heap)
            for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
                y, x = row + down, column + right
                if 0 <= y < bins and 0 <= x < frames and left[y, x]:
                    slope = along if right else across
                    phase[y, x] = phase[row, column] + (down + right) * (slope[row, column] + slope[y, x]) / 2
                    left[y, x] = False
                    heapq.heappush(heap, (-plane[y, x], y, x))
    return phase


def test_the_tree_is_as_good_as_the_heap_of_the_paper(magnitude):
    planes = magnitude[:, :, :40].double().numpy()
    short = magnitude[:, :, :40]
    heaps = np.stack([by_heap(plane, *phase_module._gradients(np.maximum(plane, top := plane.max() * 1e-3), 256), top) for plane in planes])
    noise = phase_module.noise_phase(short).double().numpy()
    heaps = np.where(planes > planes.max((1, 2), keepdims=True) * 1e-3, heaps, noise)
    assert after(short, pghi(short, 256)) < after(short, torch.from_numpy(heaps).float()) + 0.5


@pytest.mark.parametrize("tolerance", [1e-3, 1e-2, 0.3])
def test_the_compiled_path_gives_the_same(tolerance):
    pytest.importorskip("numba")
    generator = torch.Generator().manual_seed(3)
    noise = FRAMES(torch.randn(2, 5000, generator=generator)).abs()
    flat = torch.ones(1, 33, 7)  # nothing but ties
    for magnitude, hop in ((FRAMES(note(50)).abs(), 256), (noise, 256), (flat, 16)):
        plain, fast = (pghi(magnitude, hop, tolerance=tolerance, compiled=compiled) for compiled in (False, True))
        assert (torch.polar(torch.ones_like(plain), plain - fast) - 1).abs().max() < 1e-5


def test_the_compiled_path_without_numba_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"songfoundry\[fast\]"):
        pghi(torch.ones(1, 9, 4), 4, compiled=True)


def test_a_region_of_its_own_begins_at_zero():
    magnitude = torch.zeros(1, 33, 20)
    magnitude[0, 5:8, 2:5] = torch.rand(3, 3) + 0.5
    magnitude[0, 20:23, 12:15] = torch.rand(3, 3) + 0.5
    found = pghi(magnitude, 16)
    for region in (np.s_[5:8, 2:5], np.s_[20:23, 12:15]):
        assert found[0][region].flatten()[magnitude[0][region].argmax()] == 0


def test_an_item_does_not_depend_on_its_batch(magnitude):
    assert torch.equal(pghi(magnitude, 256)[1:2], pghi(magnitude[1:2], 256))
    alone, together = (griffin_lim(part, 256, iterations=3, momentum=0.99) for part in (magnitude[1:2], magnitude))
    assert torch.allclose(together[1:2], alone, atol=1e-6)
    assert torch.equal(griffin_lim(magnitude, 256, iterations=3), griffin_lim(magnitude, 256, iterations=3))


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_silence_and_single_frames_pass(columns):
    silent = torch.zeros(2, 513, columns)
    found = pghi(silent, 256)
    assert found.shape == silent.shape and found.isfinite().all() and (found <= 2 * math.pi).all()
    assert griffin_lim(silent, 256, iterations=2, momentum=0.99, start=found).abs().max() == 0
    assert pghi(FRAMES(note(60, columns * 256)).abs(), 256).isfinite().all()
