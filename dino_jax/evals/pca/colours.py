"""From patches to colours: which are foreground, and three components of those."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from dino_jax.config import UserError
from dino_jax.evals.pca.tokens import Described
from dino_jax.ops.components import above, border, principal, stretched, two_means

COLOURS = 3
"""Red, green and blue."""
_SAME = 1e-5
"""Features that differ by less than this part of the largest differ by rounding."""


class Coloured(NamedTuple):
    """One image on its patch grid.

    `first` is the first component of all patches, the foreground's side positive, in units of its
    standard deviation, and `threshold` parts it; `scores` are the components of the foreground and
    `colours` the same from 0 to 1. `explained` are their shares of the foreground's variance.
    """

    name: str
    image: UInt8[np.ndarray, "height width c"]
    first: Float[np.ndarray, "rows columns"]
    threshold: float
    foreground: Bool[np.ndarray, "rows columns"]
    scores: Float[np.ndarray, "rows columns 3"]
    colours: Float[np.ndarray, "rows columns 3"]
    explained: tuple[float, ...]


def coloured(group: Sequence[Described], *, foreground: str, tails: float) -> list[Coloured]:
    """Colour the patches of some images by one PCA of all of them.

    The foreground is the side of the first component's threshold (`two_means`) with more of the
    class token's attention to a patch (`attention`), or, where there is none or `border` is asked
    for, with fewer patches at the images' borders. With `all` every patch is.

    Raises:
        UserError: fewer than four patches, or patches that are all the same.
    """
    features = np.concatenate([each.features for each in group])
    _check(features, group)
    first = principal(features, 1)(features)[:, 0]
    threshold = two_means(first)
    by_attention = foreground == "attention"
    if not above(first, np.concatenate([_weight(each, by_attention) for each in group])):
        first, threshold = -first, -threshold
    kept = (first > threshold) | (foreground == "all")
    components = principal(features[kept], COLOURS)
    scores = components(features)
    colours = stretched(scores, [scores[kept]], tails=tails)
    scale = first.std()
    ends = np.cumsum([len(each.features) for each in group])[:-1]
    parts = (np.split(values, ends) for values in (first / scale, kept, scores, colours))
    return [
        _on_grid(each, threshold / scale, components.explained, *of_image)
        for each, *of_image in zip(group, *parts, strict=True)
    ]


def _check(features: Float[np.ndarray, "n d"], group: Sequence[Described]) -> None:
    if len(features) <= COLOURS:
        raise UserError(
            f"{group[0].photograph.name} has {len(features)} patches, which make no picture: give "
            "a larger --size"
        )
    if np.ptp(features, axis=0).max() <= _SAME * np.abs(features).max():
        raise UserError(
            f"all patches of {group[0].photograph.name} have the same features: the network has "
            "collapsed, or the image is of one colour"
        )


def _weight(each: Described, by_attention: bool) -> Float[np.ndarray, " patches"]:
    """Attention in even shares, so that a patch of a small image counts as one of a large."""
    if by_attention and each.attention is not None:
        return each.attention * len(each.attention)
    return 1.0 - border(*each.photograph.grid).ravel()


def _on_grid(
    each: Described,
    threshold: float,
    explained: Float[np.ndarray, " 3"],
    *parts: np.ndarray,
) -> Coloured:
    first, kept, scores, colours = parts
    grid = each.photograph.grid
    return Coloured(
        name=each.photograph.name,
        image=each.photograph.pixels,
        first=first.reshape(grid),
        threshold=float(threshold),
        foreground=kept.reshape(grid),
        scores=scores.reshape(*grid, COLOURS),
        colours=colours.reshape(*grid, COLOURS),
        explained=tuple(float(share) for share in explained),
    )
