"""Align two sequences by dynamic time warping: rows at once in numpy, of long sequences only a band around a coarser path.

Reference: Sakoe and Chiba, "Dynamic programming algorithm optimization for spoken word recognition", IEEE Trans. ASSP 26(1), 1978, with the
symmetric steps (1, 0), (0, 1), (1, 1); the band from a coarser path is that of Salvador and Chan, "FastDTW", 2007.
"""

from collections.abc import Callable

import numpy as np

__all__ = ["align", "dtw", "place_along"]

_MOST_CELLS = 4_000_000
"""Cells that are computed at once; longer sequences are first aligned at half their rate."""
_RADIUS = 60
"""Frames on either side of the coarser path, at least."""
_DIAGONAL, _UP, _LEFT = 0, 1, 2


def dtw(cost: np.ndarray) -> np.ndarray:
    """Find the cheapest way through a matrix, from its first to its last cell.

    Parameters
    ----------
    cost : float (n, m), finite, n and m at least 1: what it costs that frame i of the first meets frame j of the second.

    Returns
    -------
    int64 (k, 2): the pairs (i, j) in order; both never go back, and at least one goes on by one.

    Raises
    ------
    ValueError : an empty matrix, or costs that are not finite.
    """
    cost = np.asarray(cost)
    if cost.ndim != 2 or not cost.size or not np.isfinite(cost).all():
        raise ValueError(f"expected finite costs (n, m), found shape {cost.shape}")
    n, m = cost.shape
    return _way(lambda row, low, high: cost[row, low:high], np.zeros(n, np.int64), np.full(n, m, np.int64))


def align(first: np.ndarray, second: np.ndarray, *, slant: float = 0.0) -> np.ndarray:
    """Align two sequences of features by their Euclidean distances, in memory that does not grow with n times m.

    Parameters
    ----------
    first, second : float (n, features), (m, features), finite.
    slant : what a step costs more for each frame that lies off the straight line from end to end, as a share of the longer one.

    Returns
    -------
    int64 (k, 2), as of `dtw`.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    n, m = len(first), len(second)
    if not n or not m or not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError(f"expected finite features of at least one frame each, found {first.shape} and {second.shape}")
    if n * m > _MOST_CELLS and min(n, m) >= 4:
        coarse = align(_halved(first), _halved(second), slant=slant)
        low, high = _band(coarse, n, m)
    else:
        low, high = np.zeros(n, np.int64), np.full(n, m, np.int64)
    squares = np.square(second).sum(1)

    def costs(row: int, begin: int, end: int) -> np.ndarray:
        frame = first[row]
        away = np.sqrt(np.maximum(squares[begin:end] + frame @ frame - 2 * second[begin:end] @ frame, 0))
        if slant:
            away = away + slant * np.abs(np.arange(begin, end) / max(m - 1, 1) - row / max(n - 1, 1))
        return away

    return _way(costs, low, high)


def place_along(path: np.ndarray, count: int) -> np.ndarray:
    """Say where each frame of the first sequence lies in the second: float64 (count,), never going back; the mean of those it meets."""
    meets = np.bincount(path[:, 0], minlength=count)
    return np.bincount(path[:, 0], weights=path[:, 1], minlength=count) / np.maximum(meets, 1)


def _way(costs: Callable[[int, int, int], np.ndarray], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Find the cheapest way through the cells low[i] <= j < high[i] of each row; neither bound goes back, and bands of neighbours touch."""
    turns = []
    before, begin_before = np.zeros(0), 0
    for row in range(len(low)):
        begin, end = int(low[row]), int(high[row])
        here = np.asarray(costs(row, begin, end), np.float64)
        if row == 0:
            above = np.full(end - begin, np.inf)
            above[0] = 0.0
            turn = np.full(end - begin, _UP, np.int8)
        else:
            up, diagonal = _taken(before, begin_before, begin, end), _taken(before, begin_before, begin - 1, end - 1)
            above = np.minimum(diagonal, up)
            turn = np.where(diagonal <= up, _DIAGONAL, _UP).astype(np.int8)
        # total[j] = here[j] + min(above[j], total[j - 1]): with running sums of the costs this is a running minimum.
        sums = np.cumsum(here)
        entered = above - (sums - here)
        best = np.minimum.accumulate(entered)
        turn[1:][best[:-1] <= entered[1:]] = _LEFT
        before, begin_before = sums + best, begin
        turns.append(turn)
    row, column = len(low) - 1, int(high[-1]) - 1
    path = [(row, column)]
    while row or column > low[0]:
        turn = turns[row][column - int(low[row])]
        row, column = row - (turn != _LEFT), column - (turn != _UP)
        path.append((row, column))
    return np.array(path[::-1], np.int64)


def _taken(values: np.ndarray, offset: int, begin: int, end: int) -> np.ndarray:
    """Take the places begin to end of values that begin at an offset; infinite beyond them."""
    out = np.full(end - begin, np.inf)
    first, last = max(begin, offset), min(end, offset + len(values))
    if first < last:
        out[first - begin : last - begin] = values[first - offset : last - offset]
    return out


def _halved(features: np.ndarray) -> np.ndarray:
    """Give the means of neighbours; an odd last one stands alone."""
    even = features[: len(features) // 2 * 2].reshape(-1, 2, features.shape[1]).mean(1)
    return np.concatenate((even, features[len(even) * 2 :]))


def _band(coarse: np.ndarray, n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Widen the path of halved sequences to bounds for each row of the full ones."""
    rows = np.arange(n) // 2
    least = np.full(-(-n // 2), m)
    most = np.zeros(-(-n // 2), np.int64)
    np.minimum.at(least, coarse[:, 0], coarse[:, 1])
    np.maximum.at(most, coarse[:, 0], coarse[:, 1])
    low = np.maximum(2 * least[rows] - _RADIUS, 0)
    high = np.minimum(2 * most[rows] + 2 + _RADIUS, m)
    high[-1], low[0] = m, 0
    return low.astype(np.int64), high.astype(np.int64)
