"""Flood a plane of magnitudes from its peaks down in compiled code; needs numba (extra `fast`)."""

import numba
import numpy as np


@numba.njit
def flood(order: np.ndarray, along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Integrate gradients along the maximum spanning tree, as `phase.span` does, by Kruskal's algorithm on bins from loud to soft.

    order : int64 (n,), flat positions of the bins in float64 (bins, frames), loudest first. along, across : radians a frame and a bin.
    Returns float64 (n,): the phase of each, 0 at the loudest of its connected region.
    """
    bins, frames = along.shape
    time, frequency = along.ravel(), across.ravel()
    rank = np.full(bins * frames, -1, np.int64)
    parent, offset = np.arange(len(order)), np.zeros(len(order))
    near, step = np.empty(4, np.int64), np.empty(4)
    for here in range(len(order)):
        place = order[here]
        rank[place] = here
        row, column = place // frames, place % frames
        count = 0
        for side in range(4):
            # Each neighbour that is louder, loudest first, and how far the phase turns from it to here.
            if side == 0 and column > 0:
                other = place - 1
                turn = (time[place] + time[other]) / 2
            elif side == 1 and column < frames - 1:
                other = place + 1
                turn = -(time[place] + time[other]) / 2
            elif side == 2 and row > 0:
                other = place - frames
                turn = (frequency[place] + frequency[other]) / 2
            elif side == 3 and row < bins - 1:
                other = place + frames
                turn = -(frequency[place] + frequency[other]) / 2
            else:
                continue
            if rank[other] < 0:
                continue
            slot = count
            while slot > 0 and near[slot - 1] > rank[other]:
                near[slot], step[slot] = near[slot - 1], step[slot - 1]
                slot -= 1
            near[slot], step[slot] = rank[other], turn
            count += 1
        for slot in range(count):
            first, from_first = _root(here, parent, offset)
            second, from_second = _root(near[slot], parent, offset)
            # The louder root stays the root.
            if first < second:
                parent[second], offset[second] = first, from_first - step[slot] - from_second
            elif second < first:
                parent[first], offset[first] = second, step[slot] + from_second - from_first
    for here in range(len(order)):
        if parent[here] != here:
            offset[here] += offset[parent[here]]  # a parent is louder, so it is done
    return offset


@numba.njit
def _root(node: int, parent: np.ndarray, offset: np.ndarray) -> tuple[int, float]:
    """Find the root of a node and the node's phase from it; halve the way there."""
    total = 0.0
    while parent[node] != node:
        above = parent[node]
        if parent[above] != above:
            offset[node] += offset[above]
            parent[node] = parent[above]
        total += offset[node]
        node = parent[node]
    return node, total
