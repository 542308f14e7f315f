"""Whitening by principal components, learned on the features of other images; on the host."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

FLOOR = 1e-5
"""Eigenvalues below this part of the largest count as this part (reference: utils.py `PCA`)."""
POWER = 0.5
Form = Literal["reference", "centred"]


class Whitening(NamedTuple):
    """What is subtracted from a feature, what then multiplies it, and how it was learned.

    `energy` is the share of the eigenvalues that the kept ones have; `floored` counts directions
    that were raised to the floor: the images said nothing of them.
    """

    mean: Float[np.ndarray, " d"]
    matrix: Float[np.ndarray, "kept d"]
    energy: float
    floored: int

    def __call__(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n kept"]:
        """Centre and project; float32. The result is not normalised."""
        centred = features.astype(np.float64) - self.mean[None, :]
        return (centred @ self.matrix.T).astype(np.float32)


def learned(
    features: Float[np.ndarray, "n d"],
    *,
    dimensions: int | None = None,
    power: float = POWER,
    form: Form = "reference",
) -> Whitening:
    """Learn a whitening from features of images that are neither queries nor in the database.

    `reference` takes the second moment of the features as they are, and yet subtracts their mean
    of what it is applied to, as the original does (eval_copy_detection.py); `centred` subtracts it
    before too, which is the usual covariance.
    """
    values = features.astype(np.float64)
    mean = values.mean(axis=0)
    centred = values - mean[None, :] if form == "centred" else values
    second = centred.T @ centred / len(values)
    return of_moment(second, mean, dimensions=dimensions, power=power)


def of_moment(
    moment: Float[np.ndarray, "d d"],
    mean: Float[np.ndarray, " d"] | None = None,
    *,
    dimensions: int | None = None,
    power: float = POWER,
) -> Whitening:
    """The whitening of a covariance: its leading eigenvectors, each over its eigenvalue^power.

    `dimensions` keeps so many of them (None: all), by falling eigenvalue. Raises ValueError where
    the moment is zero, since there is no direction to keep then.
    """
    values, vectors = np.linalg.eigh(moment.astype(np.float64))
    if not values[-1] > 0:
        raise ValueError("the features do not vary, so no whitening can be learned from them")
    low = values < FLOOR * values[-1]
    values = np.where(low, FLOOR * values[-1], values)
    kept = slice(None, None if dimensions is None else dimensions)
    leading, directions = values[::-1][kept], vectors[:, ::-1][:, kept]
    return Whitening(
        np.zeros(len(moment)) if mean is None else mean.astype(np.float64),
        directions.T / (leading**power)[:, None],
        float(leading.sum() / values.sum()),
        int(low.sum()),
    )
