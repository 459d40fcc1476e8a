"""Compare two sets of pieces by how far apart their pieces lie, as Yang and Lerch do.

Within the real set each piece has distances to the others (intra-set), and each generated piece to the real ones (inter-set).
Where generated pieces are like real ones both distances are distributed alike: the overlap of the two densities is near 1 and
their Kullback-Leibler divergence near 0.

Reference: Yang and Lerch, "On the evaluation of generative models in music", Neural Computing and Applications 32, 2020 (online
2018): relative measurement by pairwise cross-validation, kernel densities, KLD and overlapping area. One thing differs from the
authors' mgeval: it samples the two densities of the divergence on two grids, each set's own range, and so compares values at
different distances; here both are taken at the same ones.
"""

import numpy as np

_POINTS = 1000
_MOST = 20_000
"""Of more distances than this a draw (always the same) is taken: the density hardly changes, its cost does."""
_FLOOR = 1e-12


def intra_distances(values: np.ndarray) -> np.ndarray:
    """Give the distance of each pair within a set, float64 (n (n - 1) / 2,); ``values``: float (n,) or (n, features)."""
    values = _rows(values)
    first, second = np.triu_indices(len(values), 1)
    first, second = _thinned(first), _thinned(second)  # the same draw of both
    return np.linalg.norm(values[first] - values[second], axis=1)


def inter_distances(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Give the distance of each value to each of the others, float64 (n * m,); float (n,) and (m,), or with features behind."""
    values, others = _rows(values), _rows(others)
    pairs = _thinned(np.arange(len(values) * len(others)))
    return np.linalg.norm(values[pairs // max(1, len(others))] - others[pairs % max(1, len(others))], axis=1)


def overlap_and_divergence(real: np.ndarray, generated: np.ndarray) -> tuple[float, float]:
    """Compare a measure of generated pieces with that of real ones.

    Args:
        real: float (n,) or (n, features), one value a piece; pieces whose value is NaN are left out.
        generated: likewise (m,) or (m, features).

    Returns:
        overlap: area under both the intra-set density of ``real`` and the inter-set density, 0 to 1.
        divergence: Kullback-Leibler divergence of the second from the first in nats.
        Both are NaN for fewer than three pieces in a set.
    """
    real, generated = _finite(real), _finite(generated)
    if len(real) < 3 or len(generated) < 3:
        return np.nan, np.nan
    intra, inter = intra_distances(real), inter_distances(generated, real)
    # A measure that is the same for all pieces has no density: a hundredth of the largest distance is the least width.
    largest = max(intra.max(), inter.max())
    if largest == 0:
        return 1.0, 0.0
    grid = np.linspace(min(intra.min(), inter.min()) - 0.1 * largest, 1.1 * largest, _POINTS)
    step = grid[1] - grid[0]
    within, across = (_density(distances, grid, 0.01 * largest) for distances in (intra, inter))
    within, across = within / (within.sum() * step), across / (across.sum() * step)
    overlap = np.minimum(within, across).sum() * step
    ratio = np.log((within + _FLOOR) / (across + _FLOOR))
    return float(overlap), float(max(0.0, (within * ratio).sum() * step))


def _density(distances: np.ndarray, grid: np.ndarray, least: float) -> np.ndarray:
    """Estimate the density of distances on a grid with Gaussian kernels of Scott's width, but at least ``least`` wide."""
    from scipy.stats import gaussian_kde

    spread = distances.std(ddof=1)
    if spread * len(distances) ** -0.2 < least:
        width = least
        return np.exp(-0.5 * ((grid[:, None] - distances) / width) ** 2).mean(1)
    return gaussian_kde(distances)(grid)


def _rows(values: np.ndarray) -> np.ndarray:
    """Give values as float64 (n, features)."""
    values = np.asarray(values, np.float64)
    return values[:, None] if values.ndim == 1 else values


def _finite(values: np.ndarray) -> np.ndarray:
    """Leave out the pieces with a value that is not a number."""
    values = _rows(values)
    return values[np.isfinite(values).all(1)]


def _thinned(pairs: np.ndarray) -> np.ndarray:
    """Draw `_MOST` of the pairs where there are more."""
    # Drawn, not every k-th: a stride that divides the length of a row would meet the same few pieces in each.
    return pairs if len(pairs) <= _MOST else pairs[np.random.default_rng(0).choice(len(pairs), _MOST, replace=False)]
