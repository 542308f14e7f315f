"""What a map says of the features, point by point: whose neighbours are its neighbours."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

NEIGHBOURS = 10
_ROWS = 256  # of the distances held at once


def neighbours_of(points: int) -> int:
    """How many neighbours are looked at: 10, or fewer where that were half of all points."""
    return max(1, min(NEIGHBOURS, (points - 1) // 2))


def trust(
    features: Float[np.ndarray, "n d"], points: Float[np.ndarray, "n 2"], neighbours: int
) -> Float[np.ndarray, " n"]:
    """Each point's share of trustworthiness (Venna and Kaski, 2001); their mean is the map's.

    1 where the nearest points on the map are the nearest by features; less by how far down the
    order of features those come that are not. `neighbours` is less than half of n.
    """
    count = len(points)
    worst = neighbours * (2 * count - 3 * neighbours - 1) / 2
    found = np.zeros(count)
    for rows, near in _nearest(points, neighbours):
        order = _order(features, rows)
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(count)[None, :], axis=1)
        # A point's own rank is 0, its nearest neighbour's 1.
        excess = np.take_along_axis(rank, near, axis=1) - neighbours
        found[rows] = 1 - np.maximum(excess, 0).sum(axis=1) / worst
    return found


def agreement(
    points: Float[np.ndarray, "n 2"], labels: Int[np.ndarray, " n"], neighbours: int
) -> Float[np.ndarray, " n"]:
    """Of each point's nearest on the map, the share that is of its class."""
    found = np.zeros(len(points))
    for rows, near in _nearest(points, neighbours):
        found[rows] = (labels[near] == labels[rows][:, None]).mean(axis=1)
    return found


def _nearest(
    points: Float[np.ndarray, "n 2"], neighbours: int
) -> Iterator[tuple[slice, Int[np.ndarray, "rows neighbours"]]]:
    for start in range(0, len(points), _ROWS):
        rows = slice(start, min(start + _ROWS, len(points)))
        yield rows, _order(points, rows)[:, 1 : neighbours + 1]


def _order(values: Float[np.ndarray, "n d"], rows: slice) -> Int[np.ndarray, "rows n"]:
    """All points from the nearest of some; each of those is first of its own."""
    exact = values.astype(np.float64)
    squares = (exact**2).sum(axis=1)
    distance = squares[rows][:, None] + squares[None, :] - 2 * exact[rows] @ exact.T
    distance[np.arange(len(distance)), np.arange(rows.start, rows.stop)] = -np.inf
    return np.argsort(distance, axis=1, kind="stable")
