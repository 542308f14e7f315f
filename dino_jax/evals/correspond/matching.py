"""Nearest patches of two images by the cosine of their features."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from dino_jax.ops.neighbours import unit

_ROWS = 1024  # of the similarities held at once


class Matches(NamedTuple):
    """Pairs of patches, the most similar first."""

    first: Int[np.ndarray, " n"]
    second: Int[np.ndarray, " n"]
    similarity: Float[np.ndarray, " n"]


def match(
    first: Float[np.ndarray, "n d"],
    second: Float[np.ndarray, "m d"],
    *,
    mutual: bool = True,
    within: tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " m"]] | None = None,
    top: int | None = None,
) -> Matches:
    """The nearest patch of the second image to every patch of the first, by cosine.

    `mutual` keeps those that are each other's nearest; `within` says which patches take part;
    `top` keeps so many of the highest similarity. Of equals the first in order is taken.
    """
    chosen = [
        np.arange(len(rows)) if within is None else np.flatnonzero(within[number])
        for number, rows in enumerate((first, second))
    ]
    if not len(chosen[0]) or not len(chosen[1]):
        empty = np.zeros(0, np.int64)
        return Matches(empty, empty, np.zeros(0, np.float32))
    units = (
        np.asarray(unit(rows[kept])) for rows, kept in zip((first, second), chosen, strict=True)
    )
    forth, similarity, back = _nearest(*units)
    kept = np.arange(len(forth))
    if mutual:
        kept = kept[back[forth] == kept]
    kept = kept[np.argsort(-similarity[kept], kind="stable")][:top]
    return Matches(chosen[0][kept], chosen[1][forth[kept]], similarity[kept])


def _nearest(
    first: Float[np.ndarray, "n d"], second: Float[np.ndarray, "m d"]
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"], Int[np.ndarray, " m"]]:
    """Of each first the nearest second and how near, and of each second the nearest first."""
    forth, near = np.zeros(len(first), np.int64), np.zeros(len(first), np.float32)
    back = np.zeros(len(second), np.int64)
    best = np.full(len(second), -np.inf, np.float32)
    for start in range(0, len(first), _ROWS):
        cosine = first[start : start + _ROWS] @ second.T
        rows = slice(start, start + len(cosine))
        forth[rows], near[rows] = cosine.argmax(axis=1), cosine.max(axis=1)
        found = cosine.max(axis=0)
        closer = found > best
        back[closer] = start + cosine.argmax(axis=0)[closer]
        best[closer] = found[closer]
    return forth, near, back
