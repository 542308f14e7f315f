"""Principal components of features, and what makes colours of them; on the host, in float64."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

Rows = Float[np.ndarray, "n d"]


class Components(NamedTuple):
    """The directions in which rows vary most, and how much.

    Directions are orthonormal and their order is that of the `variances`, which fall; where rows
    vary in fewer directions than were asked for, the others are zero. `explained` are the shares,
    0 to 1, of the variance of all directions.
    """

    mean: Float[np.ndarray, " d"]
    directions: Float[np.ndarray, "k d"]
    variances: Float[np.ndarray, " k"]
    explained: Float[np.ndarray, " k"]

    def __call__(self, rows: Rows) -> Float[np.ndarray, "n k"]:
        """The scores: each row less the mean, along every direction."""
        return (rows.astype(np.float64) - self.mean[None, :]) @ self.directions.T


def principal(rows: Rows, number: int) -> Components:
    """The `number` leading principal components; of one row, or of equal rows, all are zero.

    A direction has no sign of its own. It is given the one by which the row that lies furthest out
    along it has a positive score, so that the scores of rotated rows are the same.
    """
    mean = rows.mean(axis=0, dtype=np.float64)
    centred = rows.astype(np.float64) - mean[None, :]
    values, vectors = np.linalg.eigh(centred.T @ centred / max(len(rows) - 1, 1))
    values, directions = values[::-1].clip(0), vectors.T[::-1]
    total = float(values.sum())
    # Rounding alone leaves some variance in every direction.
    real = values > values[:1] * max(rows.shape) * np.finfo(np.float64).eps
    kept = min(number, int(real.sum()))
    found = np.zeros((number, rows.shape[1]))
    found[:kept] = directions[:kept]
    scores = centred @ found.T
    furthest = np.take_along_axis(scores, np.abs(scores).argmax(axis=0)[None, :], axis=0)[0]
    found *= np.where(furthest < 0, -1.0, 1.0)[:, None]
    variances = np.zeros(number)
    variances[:kept] = values[:kept]
    return Components(mean, found, variances, variances / total if total > 0 else variances)


def two_means(values: Float[np.ndarray, " n"]) -> float:
    """The threshold that parts values into two groups of the least variance within (Otsu 1979).

    It lies midway between the nearest values of both groups. Raises ValueError where all values
    are the same.
    """
    ordered = np.sort(values.astype(np.float64))
    if not len(ordered) or ordered[0] == ordered[-1]:
        raise ValueError("values that are all the same have no two groups")
    count = len(ordered)
    below = np.arange(1, count)
    sums = np.cumsum(ordered - ordered.mean())[:-1]
    # It is never largest between equal values: at one end of theirs it is larger.
    between = np.square(sums) / (below * (count - below))
    place = int(between.argmax())
    return float((ordered[place] + ordered[place + 1]) / 2)


def above(values: Float[np.ndarray, " n"], weight: Float[np.ndarray, " n"]) -> bool:
    """Whether the values above `two_means` are those with the larger mean weight; so of equals."""
    high = values > two_means(values)
    return bool(weight[high].mean() >= weight[~high].mean())


def border(rows: int, columns: int) -> Bool[np.ndarray, "{rows} {columns}"]:
    """The patches at the edges of an image."""
    edge = np.zeros((rows, columns), bool)
    edge[[0, -1]] = True
    edge[:, [0, -1]] = True
    return edge


def stretched(
    scores: Float[np.ndarray, "n k"], within: Sequence[Float[np.ndarray, "_ k"]], *, tails: float
) -> Float[np.ndarray, "n k"]:
    """Scores as values from 0 to 1, each component on its own, by the range of those `within`.

    `tails` percent of `within` lie below 0, and as many above 1, where they are cut off. A
    component that does not vary is one half. Raises ValueError unless 0 <= `tails` < 50.
    """
    if not 0 <= tails < 50:
        raise ValueError(f"tails of {tails} % leave nothing between them: expected 0 to 50")
    low, high = np.percentile(np.concatenate(within), (tails, 100 - tails), axis=0)
    width = high - low
    varies = width > 0
    placed = (scores - low[None, :]) / np.where(varies, width, 1.0)[None, :]
    return np.where(varies[None, :], np.clip(placed, 0, 1), 0.5)
