import numpy as np
import pytest

from songfoundry.voice import warping


def slow(cost):
    """The textbook's recursion, cell by cell: the cost of the best path."""
    n, m = cost.shape
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0
    for i in range(n):
        for j in range(m):
            total[i + 1, j + 1] = cost[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    return total[n, m]


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 1), (13, 20), (40, 17)])
def test_the_path_is_the_cheapest(shape):
    cost = np.random.default_rng(sum(shape)).random(shape)
    path = warping.dtw(cost)
    assert tuple(path[0]) == (0, 0) and tuple(path[-1]) == (shape[0] - 1, shape[1] - 1)
    steps = {tuple(step) for step in np.diff(path, axis=0)}
    assert steps <= {(0, 1), (1, 0), (1, 1)}
    assert cost[tuple(path.T)].sum() == pytest.approx(slow(cost))


def test_what_is_no_matrix_of_costs_is_refused():
    for wrong in (np.zeros((0, 3)), np.zeros(4), np.array([[np.nan]])):
        with pytest.raises(ValueError, match="finite costs"):
            warping.dtw(wrong)


def test_a_stretched_sequence_is_found_in_its_original(monkeypatch):
    rng = np.random.default_rng(0)
    original = np.cumsum(rng.standard_normal((900, 4)), 0)
    clock = 899 * (np.arange(1500) / 1499) ** 1.3
    stretched = np.stack([np.interp(clock, np.arange(900), column) for column in original.T], 1)
    monkeypatch.setattr(warping, "_MOST_CELLS", 20_000)
    coarse = warping.place_along(warping.align(stretched, original), 1500)
    assert np.abs(coarse - clock).max() < 6
    monkeypatch.setattr(warping, "_MOST_CELLS", 10_000_000)
    assert np.abs(warping.place_along(warping.align(stretched, original), 1500) - clock).max() < 4
