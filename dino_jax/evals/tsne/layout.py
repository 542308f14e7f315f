"""PCA, then t-SNE, of scikit-learn: the same seed makes the same map."""

import logging
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from dino_jax.config import UserError
from dino_jax.config.protocol_options import TsneOptions

FEWEST = 4
"""Points of a map; scikit-learn makes none of fewer."""
THREADED = 5000
"""Points from which on scikit-learn uses several threads; the map does not depend on them."""
_LEAST_ITERATIONS = 250  # scikit-learn's: so long the early exaggeration lasts


class Layout(NamedTuple):
    """Where the points lie, and by which settings."""

    points: Float[np.ndarray, "n 2"]
    reduced: Float[np.ndarray, "n k"]
    """What t-SNE saw: the principal components."""
    perplexity: float
    kl_divergence: float


def check_options(options: TsneOptions) -> None:
    """Raise `UserError` for values of which no map can be made."""
    for name, least in (("components", 0), ("iterations", _LEAST_ITERATIONS), ("thumbnails", 0)):
        value = getattr(options, name)
        if value < least:
            raise UserError(f"--{name}={value}: expected {least} or more")
    for name in ("perplexity", "learning_rate"):
        value = getattr(options, name)
        if not 0 < value < np.inf:
            raise UserError(f"--{name.replace('_', '-')}={value:g}: expected a number above 0")
    if options.images is not None and options.images < FEWEST:
        raise UserError(f"--images={options.images}: expected {FEWEST} or more")


def fitting_perplexity(wanted: float, points: int) -> float:
    """No more than a third of the other points: beyond, every point is every other's neighbour."""
    return min(wanted, (points - 1) / 3)


def lay_out(features: Float[np.ndarray, "n d"], options: TsneOptions, *, seed: int) -> Layout:
    """A map of the rows (paper, appendix on the t-SNE of class means).

    As many principal components as `options` says, then t-SNE begun from the first two of them.
    The perplexity is lowered where there are too few rows (`fitting_perplexity`).

    Raises:
        UserError: fewer than four rows, rows that are all the same or not finite.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    count = len(features)
    _check_rows(features)
    reduced = _principal(features, options.components)
    perplexity = fitting_perplexity(options.perplexity, count)
    settings: dict[str, Any] = {"n_components": 2, "init": "pca", "random_state": seed}
    tsne = TSNE(
        perplexity=perplexity, learning_rate=options.learning_rate,
        max_iter=options.iterations, **settings,
    )  # fmt: skip
    logging.getLogger(__name__).info(
        "t-SNE of %d points: perplexity %.3g, %d iterations", count, perplexity, options.iterations
    )
    # Threads that wait for each other at every step of a small map cost more than they bring.
    with threadpool_limits(1 if count < THREADED else None):
        points = np.asarray(tsne.fit_transform(reduced), np.float32)
    return Layout(points, reduced, perplexity, float(tsne.kl_divergence_))


def _check_rows(features: Float[np.ndarray, "n d"]) -> None:
    if len(features) < FEWEST:
        raise UserError(f"{len(features)} points make no map: give {FEWEST} or more")
    if not np.isfinite(features).all():
        raise UserError("there are features that are not finite: the weights are damaged")
    if np.ptp(features, axis=0).max() == 0:
        raise UserError("all features are the same: the network has collapsed, or all images agree")


def _principal(features: Float[np.ndarray, "n d"], components: int) -> Float[np.ndarray, "n k"]:
    from sklearn.decomposition import PCA

    kept = min(components or features.shape[1], *features.shape)
    if not components:
        return features
    return np.asarray(PCA(kept, svd_solver="full").fit_transform(features), np.float32)
