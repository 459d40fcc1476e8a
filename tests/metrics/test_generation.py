"""Hold the measures of generated sets to closed forms, to other implementations, and to loops that anyone can read."""

import numpy as np
import pytest
from scipy import linalg, stats

from songfoundry.metrics.generation import entropy, frechet, kid, ndb, nearest, precision_recall


def cloud(n: int, d: int, seed: int, mean: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, scale, (n, d))


def exactly(rows: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Move a cloud so that its sample mean and covariance are those asked for."""
    rows = rows - rows.mean(axis=0)
    white = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows, rowvar=False))).T
    return mean + white @ np.linalg.cholesky(covariance).T


def test_frechet_is_the_closed_form_of_gaussians():
    one, two = np.diag([1.0, 4.0, 9.0]), np.diag([4.0, 4.0, 1.0])
    a = exactly(cloud(50, 3, 0), np.zeros(3), one)
    b = exactly(cloud(60, 3, 1), np.array([3.0, 0, 4]), two)
    # Diagonal covariances: |m|² and the squared differences of the standard deviations.
    assert frechet(a, b) == pytest.approx(25 + (1 - 2) ** 2 + 0 + (3 - 1) ** 2, abs=1e-9)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9) and frechet(b, a) == pytest.approx(frechet(a, b))
    assert frechet(a[:, :1], a[:, :1] + 2) == pytest.approx(4)


def test_frechet_is_that_of_a_general_matrix_root_even_with_fewer_samples_than_features():
    a, b = cloud(400, 12, 0) @ cloud(12, 12, 2), 0.5 + cloud(300, 12, 1) @ cloud(12, 12, 3)
    one, two = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    gap = a.mean(0) - b.mean(0)
    expected = gap @ gap + np.trace(one + two) - 2 * linalg.sqrtm(one @ two).real.trace()
    assert frechet(a, b) == pytest.approx(expected, rel=1e-6)
    few = cloud(8, 40, 4)
    assert frechet(few, few) == pytest.approx(0, abs=1e-6) and frechet(few, few + 1) == pytest.approx(40, rel=1e-6)


def test_kid_is_the_unbiased_sum_over_pairs():
    a, b = cloud(13, 5, 0), cloud(9, 5, 1, mean=0.4)

    def kernel(x, y):
        return (x @ y / 5 + 1) ** 3

    pairs = [kernel(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j]
    others = [kernel(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j]
    across = [kernel(x, y) for x in a for y in b]
    assert kid(a, b) == pytest.approx(np.mean(pairs) + np.mean(others) - 2 * np.mean(across))
    # Unbiased: over many draws of one distribution it is zero on average, and below it half of the time.
    values = [kid(cloud(40, 4, 2 * n), cloud(40, 4, 2 * n + 1)) for n in range(200)]
    assert abs(np.mean(values)) < 3 * np.std(values) / 200**0.5 and min(values) < 0
    assert kid(cloud(40, 4, 0), cloud(40, 4, 1, mean=1)) > 10 * np.std(values)


def test_kid_takes_sets_of_any_size_in_blocks():
    a, b = cloud(1100, 3, 0), cloud(700, 3, 1, mean=0.2)
    one, two, cross = (((x @ y.T / 3 + 1) ** 3) for x, y in ((a, a), (b, b), (a, b)))
    expected = (one.sum() - one.trace()) / (1100 * 1099) + (two.sum() - two.trace()) / (700 * 699) - 2 * cross.mean()
    assert kid(a, b) == pytest.approx(expected)


def test_precision_and_recall_are_those_of_plain_loops():
    real, made = cloud(60, 3, 0), cloud(45, 3, 1, mean=0.7, scale=0.8)

    def among(things, members, k):
        radii = [sorted(np.linalg.norm(member - other) for other in members)[k] for member in members]
        inside = [any(np.linalg.norm(t - m) <= radius for m, radius in zip(members, radii, strict=True)) for t in things]
        return sum(inside) / len(things)

    for k in (1, 3):
        found = precision_recall(real, made, k)
        assert (found.precision, found.recall) == (among(made, real, k), among(real, made, k))
        assert 0 < found.precision < 1 and 0 < found.recall < 1


def test_few_modes_cost_recall_and_strange_things_cost_precision():
    modes = np.repeat(np.array([[0.0, 0], [20, 0], [0, 20], [20, 20]]), 200, axis=0)
    real = modes + cloud(800, 2, 0)
    half = modes[:400] + cloud(400, 2, 1)
    assert precision_recall(real, half).precision > 0.95 and 0.4 < precision_recall(real, half).recall < 0.55
    strange = np.concatenate([modes + cloud(800, 2, 2), 50 + cloud(800, 2, 3)])
    assert 0.45 < precision_recall(real, strange).precision < 0.55 and precision_recall(real, strange).recall > 0.9
    # More members than one block of distances holds.
    assert precision_recall(real, real).precision == precision_recall(real, real).recall == 1


def test_ndb_counts_few_bins_of_another_draw_and_many_of_a_set_that_lacks_modes():
    train = np.concatenate([cloud(400, 4, n, mean=3.0 * n) for n in range(5)])
    again = np.concatenate([cloud(200, 4, 50 + n, mean=3.0 * n) for n in range(5)])
    fair, poor = ndb(train, again, 40), ndb(train, again[:400], 40)
    assert fair.share < 0.2 and poor.share > 0.6 and poor.jensen_shannon > 5 * fair.jensen_shannon
    assert fair.train.sum() == pytest.approx(1) and fair.made.sum() == pytest.approx(1) and fair.bins == 40
    assert ndb(train, again, 40).different == fair.different == round(40 * fair.share)
    assert ndb(train, train, 40).different == 0 and ndb(train, train, 40).jensen_shannon == 0
    # Units do not matter.
    assert ndb(train * [1, 10, 100, 1000], again * [1, 10, 100, 1000], 40).different == fair.different


def test_ndb_tests_each_bin_as_a_two_by_two_table():
    train, made = cloud(600, 3, 0), cloud(300, 3, 1, mean=0.25)
    found = ndb(train, made, 12, significance=0.05)
    different = 0
    for one, two in zip(found.train * 600, found.made * 300, strict=True):
        table = [[one, 600 - one], [two, 300 - two]]
        # The square of the z of two proportions, pooled, is chi-squared without Yates's correction.
        different += stats.chi2_contingency(table, correction=False).pvalue < 0.05
    assert found.different == different > 0


def test_nearest_tells_copies_from_what_is_new():
    train, held, new = cloud(700, 6, 0), cloud(300, 6, 1), cloud(300, 6, 2)
    copies = train[:300] + 0.01 * cloud(300, 6, 3)
    found = nearest(copies, train, held)
    assert (found.index == np.arange(300)).all() and found.ratio < 0.05
    assert found.distance == pytest.approx(np.linalg.norm(copies - train[:300], axis=1))
    assert 0.9 < nearest(new, train, held).ratio < 1.1
    # Without held-out things the training set itself says what is usual: no thing is its own neighbour.
    assert 0.9 < nearest(new, train).ratio < 1.1 and nearest(train, train).ratio == 0


def test_entropy_counts_what_is_made():
    assert entropy(np.eye(8)) == pytest.approx(np.log(8)) and entropy(np.eye(8)[[2, 2, 2]]) == 0
    assert entropy(np.full((5, 4), 0.25)) == pytest.approx(np.log(4))


def test_what_is_no_set_of_features_is_refused():
    good = cloud(20, 3, 0)
    with pytest.raises(ValueError, match="n of 4 or more, found"):
        precision_recall(good, good[:3])
    with pytest.raises(ValueError, match="found NaN"):
        frechet(good, np.full((5, 3), np.nan))
    with pytest.raises(ValueError, match="one width, found 3 and 2"):
        kid(good, good[:, :2])
    with pytest.raises(ValueError, match="found \\(20,\\)"):
        ndb(good, good[:, 0], 5)
