"""Scores of features and of predictions: accuracy, view retrieval, effective rank."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from dino_jax.ops import neighbours
from dino_jax.ops.neighbours import AnyArray


@functools.partial(jax.jit, static_argnames=("k",))
def correct(
    scores: Float[AnyArray, "n classes"], labels: Int[AnyArray, " n"], *, k: int = 1
) -> Bool[Array, " n"]:
    """Say of every example whether its label is among its k highest scores.

    Equal scores go to the smaller class. Fewer than k classes count as all of them. A score that
    is not a number makes the example wrong.
    """
    _, classes = jax.lax.top_k(scores, min(k, np.shape(scores)[1]))
    known = ~jnp.any(jnp.isnan(scores), axis=1)
    return known & jnp.any(classes == jnp.asarray(labels)[:, None], axis=1)


def hits(
    scores: Float[AnyArray, "n classes"], labels: Int[AnyArray, " n"], *, few: bool = False
) -> dict[str, Bool[np.ndarray, " n"]]:
    """Of every example, whether its label is the first by its scores (`top1`), or of five (`top5`).

    Of five classes or fewer the second says nothing, and is left out unless `few`.
    """
    shown = (1, 5) if few or np.shape(scores)[1] > 5 else (1,)
    return {f"top{k}": np.asarray(correct(scores, labels, k=k)) for k in shown}


def accuracy(
    scores: Float[AnyArray, "n classes"], labels: Int[AnyArray, " n"], *, k: int = 1
) -> float:
    """Percentage (0 to 100) of examples whose label is among their k highest scores."""
    return 100 * int(jnp.sum(correct(scores, labels, k=k))) / np.shape(scores)[0]


def balanced_accuracy(scores: Float[AnyArray, "n classes"], labels: Int[AnyArray, " n"]) -> float:
    """Top-1 percentage averaged over the classes present, so that each class counts the same."""
    hits = np.asarray(correct(scores, labels))
    labels = np.asarray(labels)
    return 100 * float(np.mean([hits[labels == each].mean() for each in np.unique(labels)]))


def retrieval_top1(first: Float[AnyArray, "n d"], second: Float[AnyArray, "n d"]) -> float:
    """Percentage of views whose nearest neighbour (cosine) is the other view of their image.

    Row i of `first` and of `second` are features of two views of image i. Every first view is
    looked for among all second views and the other way round, so that chance is 100 / n; the
    figure is the mean of both directions. Equal similarities count as the smaller index, so
    features that are all the same score chance.
    """
    first, second = neighbours.unit(first), neighbours.unit(second)
    own = jnp.arange(len(first))
    hits = 0
    for queries, bank in ((first, second), (second, first)):
        _, found = neighbours.nearest(queries, bank, k=1)
        hits += int(jnp.sum(found[:, 0] == own))
    return 100 * hits / (2 * len(first))


def effective_rank(features: Float[AnyArray, "n d"], *, centred: bool = False) -> float:
    """RankMe: the exponential of the entropy of the singular values, scaled to sum 1.

    It lies between 1 and min(n, d); `centred` subtracts the mean feature first. Singular values
    within rounding of zero (relative to the largest of the raw features) are zero, so features
    that are all the same have centred rank 0 (Garrido et al. 2023, section 3).
    """
    return float(_effective_rank(jnp.asarray(features, jnp.float32), centred=centred))


@functools.partial(jax.jit, static_argnames=("centred",))
def _effective_rank(features: Float[AnyArray, "n d"], *, centred: bool) -> Float[Array, ""]:
    # The Frobenius norm bounds the largest singular value of the raw features; the factor is that
    # of numpy's matrix_rank.
    noise = max(features.shape) * jnp.finfo(jnp.float32).eps * jnp.linalg.norm(features)
    if centred:
        features = features - jnp.mean(features, axis=0, keepdims=True)
    values = jnp.linalg.svd(features, compute_uv=False)
    values = jnp.where(values > noise, values, 0.0)
    shares = values / jnp.maximum(jnp.sum(values), jnp.finfo(jnp.float32).tiny)
    rank = jnp.exp(jnp.sum(jax.scipy.special.entr(shares)))
    return jnp.where(jnp.any(values > 0), rank, 0.0)
