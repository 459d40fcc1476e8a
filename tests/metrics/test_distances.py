"""Compare distances between sets with what can be worked out on paper."""

import numpy as np
import pytest

from songfoundry.metrics.distances import inter_distances, intra_distances, overlap_and_divergence


def test_distances_are_those_of_every_pair():
    assert sorted(intra_distances([0.0, 1.0, 4.0])) == [1.0, 3.0, 4.0]
    assert sorted(inter_distances([0.0, 2.0], [1.0, 5.0])) == [1.0, 1.0, 3.0, 5.0]
    assert inter_distances([[0.0, 0.0]], [[3.0, 4.0]]).tolist() == [5.0]


def test_a_set_overlaps_with_another_draw_of_itself():
    draw = np.random.default_rng(0)
    overlap, divergence = overlap_and_divergence(draw.normal(size=200), draw.normal(size=200))
    assert overlap > 0.95
    assert divergence < 0.02


def test_the_overlap_of_two_shifted_sets_is_that_of_their_distances():
    # |x - y| for x, y ~ N(0, 1) is half-normal with deviation sqrt 2; with y ~ N(5, 1) it is folded around 5: integrate both.
    draw = np.random.default_rng(1)
    overlap, divergence = overlap_and_divergence(draw.normal(size=400), draw.normal(5, 1, size=400))
    x = np.linspace(0, 15, 30_000)
    normal = lambda x, mean: np.exp(-((x - mean) ** 2) / 4) / np.sqrt(4 * np.pi)  # noqa: E731
    intra, inter = 2 * normal(x, 0), normal(x, 5) + normal(x, -5)
    step = x[1] - x[0]
    assert overlap == pytest.approx(np.minimum(intra, inter).sum() * step, abs=0.04)
    assert divergence == pytest.approx((intra * np.log(intra / inter)).sum() * step, rel=0.3)


def test_further_off_is_worse():
    draw = np.random.default_rng(2)
    real = draw.normal(size=(100, 12))
    scores = [overlap_and_divergence(real, draw.normal(shift, 1, size=(100, 12))) for shift in (0.0, 0.5, 1.0, 2.0)]
    assert sorted((overlap for overlap, _ in scores), reverse=True) == [overlap for overlap, _ in scores]
    assert sorted(divergence for _, divergence in scores) == [divergence for _, divergence in scores]


def test_equal_values_and_missing_ones():
    assert overlap_and_divergence([3.0] * 5, [3.0] * 7) == (1.0, 0.0)
    overlap, _ = overlap_and_divergence([3.0] * 5, [9.0] * 5)
    assert overlap < 0.01
    assert np.isnan(overlap_and_divergence([1.0, 2.0], [1.0, 2.0, 3.0])).all()
    with_gaps = overlap_and_divergence([1.0, np.nan, 2.0, 4.0], [1.0, 2.0, 5.0])
    assert with_gaps == overlap_and_divergence([1.0, 2.0, 4.0], [1.0, 2.0, 5.0])


def test_many_pieces_cost_no_more_than_a_sample_of_their_pairs():
    draw = np.random.default_rng(3)
    assert len(intra_distances(draw.normal(size=2000))) == len(inter_distances(draw.normal(size=900), draw.normal(size=900))) == 20_000
