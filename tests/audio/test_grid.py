"""Exact sums."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import music

from songfoundry.audio import io
from songfoundry.audio.grid import STEP, cost_db, exact_sum


def units(x):
    steps = x.astype(np.float64) / STEP
    assert np.array_equal(steps, np.rint(steps))
    return steps.astype(np.int64)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 6), st.integers(1, 2), st.integers(1, 40), st.floats(0, 1.5), st.floats(0, 1.5), st.integers(0, 10**6))
def test_the_sum_is_exact_and_in_range(count, channels, samples, level, loud, seed):
    rng = np.random.default_rng(seed)
    mixture = rng.uniform(-loud, loud, (channels, samples)).astype(np.float32)
    stems = rng.uniform(-level, level, (count, channels, samples)).astype(np.float32)
    mix, placed, added, power = exact_sum(mixture, stems)
    goal, steps = units(mix), units(placed)
    assert np.array_equal(steps.sum(axis=0), goal)
    assert np.array_equal(goal, np.rint(mixture.astype(np.float64) / STEP).clip(-(2**23), 2**23 - 1))
    assert steps.min() >= -(2**23) and steps.max() <= 2**23 - 1
    assert added >= 0 and power == pytest.approx(np.square(stems.astype(np.float64)).sum())
    # within full scale every stem gets the same share of the difference, to a step
    if count * level + loud < 1:
        share = (goal * STEP - stems.astype(np.float64).sum(axis=0)) / count
        assert np.abs(placed - (stems + share)).max() <= STEP


def test_what_already_adds_up_costs_next_to_nothing():
    stems = np.stack([music(0.2, seed=i) * 0.25 for i in range(4)])
    _, _, added, power = exact_sum(stems.sum(axis=0), stems)
    assert cost_db(added, power) < -110
    on_grid = np.rint(stems / STEP) * STEP
    assert exact_sum(on_grid.sum(axis=0), on_grid.astype(np.float32))[2] == 0
    assert cost_db(0, 1) == -math.inf and cost_db(1, 0) == math.inf and cost_db(1, 100) == pytest.approx(-20)


@pytest.mark.parametrize("depth", ["int24", "float32"])
def test_the_sum_is_exact_in_the_files(tmp_path, depth):
    mixture = music(0.3)
    stems = np.stack([music(0.3, seed=i) * 0.3 for i in range(4)])
    mix, placed, *_ = exact_sum(mixture, stems)
    io.write(tmp_path / "mix.wav", mix, 44100, depth=depth)
    total = 0
    for i, stem in enumerate(placed):
        io.write(tmp_path / f"{i}.wav", stem, 44100, depth=depth)
        total = total + units(io.read(tmp_path / f"{i}.wav").samples)
    assert np.array_equal(total, units(io.read(tmp_path / "mix.wav").samples))
    assert np.abs(io.read(tmp_path / "mix.wav").samples - mixture).max() <= STEP / 2
