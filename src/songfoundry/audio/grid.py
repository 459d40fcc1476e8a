"""Put stems on a 24-bit grid so that they add up to their mixture exactly.

Reference: the largest-remainder method of apportionment (Hamilton), applied to each sample.
"""

import math

import numpy as np

STEP = 2.0**-23
"""The grid's step: that of a 24-bit file, full scale ±1."""
_LOW, _HIGH = -(2**23), 2**23 - 1


def exact_sum(mixture: np.ndarray, stems: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Move stems to the grid, and by as little more as makes them add up to the mixture, sample by sample.

    What the mixture has and the stems have not is spread equally over the stems; of the single steps that remain, the stems
    with the largest remainders get one each. A stem that would leave full scale stops there and the next ones take the rest.

    Args:
        mixture: float32 (channels, samples), full scale ±1; what lies beyond is clipped.
        stems: float32 (stems, channels, samples), full scale ±1.

    Returns:
        (mixture, stems, added, power): both on the grid as float32, so that ``stems.sum(axis=0) == mixture`` in integers of
        `STEP` and, written as int24 or float32, in the files; the sum of squares of what was added to the stems, and the
        stems' own sum of squares, to be gathered over blocks for `cost_db`.
    """
    count = stems.shape[0]
    goal = np.rint(mixture.astype(np.float64) / STEP).clip(_LOW, _HIGH).astype(np.int64)
    wanted = stems.astype(np.float64) / STEP
    shares = wanted + (goal - wanted.sum(axis=0)) / count
    floors = np.floor(shares)
    units = floors.astype(np.int64)
    # the shares add up to the goal, so 0 .. count - 1 steps are missing; a rounding of the division may make it one more or less
    every, left = np.divmod(goal - units.sum(axis=0), count)
    units += every
    order = np.argsort(-(shares - floors), axis=0, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(count).reshape(-1, *[1] * goal.ndim), axis=0)
    units += rank < left
    units.clip(_LOW, _HIGH, out=units)
    rest = goal - units.sum(axis=0)
    if rest.any():
        for stem in units:
            taken = rest.clip(_LOW - stem, _HIGH - stem)
            stem += taken
            rest -= taken
    placed = units * STEP
    added = float(np.square(placed - stems).sum())
    power = float(np.square(stems, dtype=np.float64).sum())
    return (goal * STEP).astype(np.float32), placed.astype(np.float32), added, power


def cost_db(added: float, power: float) -> float:
    """Return the power of what was added relative to the stems in dB: -inf where nothing was, inf on silent stems."""
    if added == 0:
        return -math.inf
    return 10 * math.log10(added / power) if power > 0 else math.inf
