"""Compare a set of generated things with a set of real ones, by features (n, d) of each: fidelity, diversity, memorisation.

The features may be a classifier's, pixels or mel bands; every figure depends on them, so a score names them. All are computed in
float64 and use no random numbers but those of the clusters' start, which are seeded.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import linalg, special
from scipy.cluster.vq import kmeans2
from scipy.spatial.distance import cdist

__all__ = ["Memorised", "Ndb", "PrecisionRecall", "entropy", "frechet", "kid", "ndb", "nearest", "precision_recall"]

_ROWS_AT_ONCE = 512
"""Bounds the memory of distances between large sets."""


def frechet(real: np.ndarray, made: np.ndarray) -> float:
    """Give the Fréchet distance (squared) of two sets, each taken as a Gaussian: 0 where mean and covariance agree.

    It falls with the number of samples even between two halves of one set, so print real against real beside it.

    Parameters
    ----------
    real, made : float (n, d) and (m, d), with n and m at least 2.

    Reference
    ---------
    Heusel et al. 2017, arXiv 1706.08500, equation 6: |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½).
    """
    real, made = _features(real, 2), _features(made, 2)
    _same_width(real, made)
    one, two = np.cov(real, rowvar=False), np.cov(made, rowvar=False)
    one, two = np.atleast_2d(one), np.atleast_2d(two)
    # tr (C1 C2)^½ is the sum of the roots of C1^½ C2 C1^½, which is symmetric: no root of a general matrix, no complex parts.
    values, vectors = linalg.eigh(one)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    shared = np.sqrt(np.maximum(linalg.eigvalsh(root @ two @ root), 0)).sum()
    gap = real.mean(axis=0) - made.mean(axis=0)
    return float(max(0.0, gap @ gap + np.trace(one) + np.trace(two) - 2 * shared))


def kid(real: np.ndarray, made: np.ndarray) -> float:
    """Give the kernel distance (squared maximum mean discrepancy, unbiased): 0 on average where both are one distribution.

    It may be a little below 0. The kernel is (x·y / d + 1)³; all pairs are taken, no subsets.

    Parameters
    ----------
    real, made : float (n, d) and (m, d), with n and m at least 2.

    Reference
    ---------
    Bińkowski et al. 2018, arXiv 1801.01401, section 3.1 (the kernel) and equation 4 (the estimator).
    """
    real, made = _features(real, 2), _features(made, 2)
    _same_width(real, made)
    within = sum((_kernel_sum(x, x) - _kernel_own(x)) / (len(x) * (len(x) - 1)) for x in (real, made))
    return float(within - 2 * _kernel_sum(real, made) / (len(real) * len(made)))


def _kernel_sum(one: np.ndarray, other: np.ndarray) -> float:
    """Sum the kernel over all pairs."""
    parts = (one[n : n + _ROWS_AT_ONCE] for n in range(0, len(one), _ROWS_AT_ONCE))
    return sum(float(((part @ other.T / one.shape[1] + 1) ** 3).sum()) for part in parts)


def _kernel_own(rows: np.ndarray) -> float:
    """Sum the kernel of each row with itself."""
    return float(((np.square(rows).sum(axis=1) / rows.shape[1] + 1) ** 3).sum())


@dataclass(frozen=True)
class PrecisionRecall:
    """Hold the share of made things that could be real (precision) and of real things that could be made (recall)."""

    precision: float
    recall: float


def precision_recall(real: np.ndarray, made: np.ndarray, k: int = 3) -> PrecisionRecall:
    """Ask of each made thing whether it lies among the real ones, and the other way round.

    A thing lies among a set where it is no further from one of its members than that member's k-th nearest neighbour in the set.

    Parameters
    ----------
    real, made : float (n, d) and (m, d), with n and m above k. Sets of other sizes give other values: compare equal ones.

    Reference
    ---------
    Kynkäänniemi et al. 2019, arXiv 1904.06991, equations 1 and 2.
    """
    real, made = _features(real, k + 1), _features(made, k + 1)
    _same_width(real, made)
    return PrecisionRecall(_among(made, real, k), _among(real, made, k))


def _among(things: np.ndarray, members: np.ndarray, k: int) -> float:
    """Give the share of things that lie among the members."""
    inside = np.zeros(len(things), bool)
    for part in (members[n : n + _ROWS_AT_ONCE] for n in range(0, len(members), _ROWS_AT_ONCE)):
        # Each member is its own nearest neighbour, at place 0.
        radius = np.partition(cdist(part, members), k, axis=1)[:, k]
        inside |= (cdist(things, part) <= radius).any(axis=1)
    return float(inside.mean())


@dataclass(frozen=True)
class Ndb:
    """Hold how many bins differ, of how many, and the shares of both sets in each.

    `different`: number of bins whose shares differ significantly; `bins`: k; `share`: different / bins; `jensen_shannon`: divergence
    of the two histograms in nats; `train`, `made`: float64 (bins,), the shares.
    """

    different: int
    bins: int
    share: float
    jensen_shannon: float
    train: np.ndarray
    made: np.ndarray


def ndb(train: np.ndarray, made: np.ndarray, k: int = 50, *, significance: float = 0.05, seed: int = 0) -> Ndb:
    """Count the statistically different bins: k-means cells of the training set that hold another share of the made things.

    Another draw from the same distribution differs in about `significance` of the bins; a set that lacks modes differs in more.

    Parameters
    ----------
    train, made : float (n, d) and (m, d), n at least k.
    k : cells; of few samples take fewer, so that a cell holds ten or more.
    significance : of the two-proportion z-test (two-sided) in each bin.
    seed : of the clusters' start.

    Reference
    ---------
    Richardson and Weiss 2018, arXiv 1805.12462, section 3. Here the features are scaled by their standard deviations, as there; the
    start is k-means++ (Arthur and Vassilvitskii 2007).
    """
    train, made = _features(train, k), _features(made, 1)
    _same_width(train, made)
    spread = train.std(axis=0)
    # A feature that never moves in training must not blow up whatever moves in what was made.
    scale = np.where(spread > 1e-9 * max(spread.max(), 1e-300), spread, 1.0)
    train, made = train / scale, made / scale
    centres, _ = kmeans2(train, k, iter=30, minit="++", missing="warn", rng=np.random.default_rng(seed))
    first, second = (np.bincount(_nearest_of(x, centres)[0], minlength=k) for x in (train, made))
    one, two = first / len(train), second / len(made)
    pooled = (first + second) / (len(train) + len(made))
    error = np.sqrt(pooled * (1 - pooled) * (1 / len(train) + 1 / len(made)))
    z = np.divide(np.abs(one - two), error, out=np.zeros(k), where=error > 0)
    different = int((z > -special.ndtri(significance / 2)).sum())
    middle = (one + two) / 2
    divergence = 0.5 * (special.rel_entr(one, middle).sum() + special.rel_entr(two, middle).sum())
    return Ndb(different, k, different / k, float(divergence), one, two)


@dataclass(frozen=True)
class Memorised:
    """Hold how near made things lie to training things, against how near held-out ones do.

    `index`: int64 (m,), the nearest training thing of each made one, at `distance` float64 (m,); `ratio`: median distance over that
    of the held-out things: near 1 is as new as real ones are, far below 1 is copied.
    """

    index: np.ndarray
    distance: np.ndarray
    ratio: float


def nearest(made: np.ndarray, train: np.ndarray, held_out: np.ndarray | None = None) -> Memorised:
    """Find the training thing that is nearest to each made one, and how near that is beside real things that were not trained on.

    Parameters
    ----------
    made, train, held_out : float (m, d), (n, d), (h, d); without held-out things they are the training things themselves, each
        against all others.
    """
    made, train = _features(made, 1), _features(train, 2 if held_out is None else 1)
    _same_width(made, train)
    index, distance = _nearest_of(made, train)
    if held_out is None:
        usual = _nearest_of(train, train, skip_own=True)[1]
    else:
        held_out = _features(held_out, 1)
        _same_width(held_out, train)
        usual = _nearest_of(held_out, train)[1]
    middle = float(np.median(usual))
    return Memorised(index, distance, float(np.median(distance)) / middle if middle > 0 else math.nan)


def _nearest_of(rows: np.ndarray, others: np.ndarray, skip_own: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Find for each row the nearest of the others: places int64 (n,), Euclidean distances float64 (n,)."""
    places, distances = np.zeros(len(rows), np.int64), np.zeros(len(rows))
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        far = cdist(rows[first : first + _ROWS_AT_ONCE], others)
        here = np.arange(len(far))
        if skip_own:
            far[here, first + here] = np.inf
        places[first : first + len(far)] = far.argmin(axis=1)
        distances[first : first + len(far)] = far.min(axis=1)
    return places, distances


def entropy(probabilities: np.ndarray) -> float:
    """Give the entropy, in nats, of the mean of class probabilities, float (n, classes): the logarithm of how many are made.

    For n things of one wanted class it says how sure the classifier is; over all that is made, how many classes there are.
    """
    mean = _features(probabilities, 1).mean(axis=0)
    return float(special.entr(mean / mean.sum()).sum())


def _features(rows: np.ndarray, least: int) -> np.ndarray:
    """Check features: float64 (n, d), finite, enough of them."""
    rows = np.asarray(rows, np.float64)
    if rows.ndim != 2 or len(rows) < least or not rows.shape[1]:
        raise ValueError(f"expected features (n, d) with n of {least} or more, found {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("expected finite features, found NaN or infinity")
    return rows


def _same_width(one: np.ndarray, other: np.ndarray) -> None:
    if one.shape[1] != other.shape[1]:
        raise ValueError(f"expected features of one width, found {one.shape[1]} and {other.shape[1]}")
