"""One object an image without any label: LOST, and the boxes it is scored by.

Siméoni et al., "Localizing Objects with Self-Supervised Transformers and no Labels", BMVC 2021,
section 3: of the patches, the one least like the others is inside an object.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

Box = tuple[int, int, int, int]
"""Left, top, right, bottom; the last two are excluded."""

EXPANSION = 100
"""The paper's k: how many patches of lowest degree may join the seed."""


class Discovery(NamedTuple):
    """What LOST finds: the patches of the object, and how it came to them."""

    mask: Bool[np.ndarray, "rows columns"]
    seed: tuple[int, int]
    """Row and column of the first patch."""
    seeds: int
    """Patches that joined the seed, itself included."""
    degree: int
    """Patches that correlate with the seed, itself included."""


def lost(
    features: Float[np.ndarray, "rows columns width"], *, expansion: int = EXPANSION
) -> Discovery:
    """Find one object by the correlations of an image's patches (LOST, section 3.2).

    Two patches are alike where their features' inner product is not negative. The seed is the
    patch like the fewest; of the `expansion` patches with the fewest, those like the seed join it;
    the object is the 4-connected component around the seed of the patches whose inner products
    with all of these add up to no less than zero. Among equal degrees the first patch is taken
    (the paper leaves it open).
    """
    rows, columns, width = features.shape
    flat = features.reshape(-1, width).astype(np.float32)
    similarity = flat @ flat.T
    degree = (similarity >= 0).sum(axis=1)
    ranked = np.argsort(degree, kind="stable")
    seed = int(ranked[0])
    candidates = ranked[:expansion]
    joined = candidates[similarity[seed, candidates] >= 0]
    alike = similarity[joined].sum(axis=0) >= 0
    alike[seed] = True  # by definition; rounding must not lose it
    mask = component(alike.reshape(rows, columns), divmod(seed, columns))
    return Discovery(mask, divmod(seed, columns), len(joined), int(degree[seed]))


def component(
    mask: Bool[np.ndarray, "rows columns"], place: tuple[int, int]
) -> Bool[np.ndarray, "rows columns"]:
    """The 4-connected part of `mask` that holds `place`; empty where the mask does not."""
    from scipy import ndimage

    labels, _ = ndimage.label(mask)
    return (labels == labels[place]) & mask


def largest_component(
    mask: Bool[np.ndarray, "rows columns"],
) -> Bool[np.ndarray, "rows columns"]:
    """The 4-connected part of `mask` with the most patches, the first of equals."""
    from scipy import ndimage

    labels, number = ndimage.label(mask)
    if not number:
        return np.zeros_like(mask)
    return labels == 1 + int(np.bincount(labels.ravel())[1:].argmax())


def box_of(mask: Bool[np.ndarray, "height width"]) -> Box | None:
    """The smallest box around a region; None where it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def box_overlaps(box: Box, others: Int[np.ndarray, "n 4"]) -> Float[np.ndarray, "n"]:
    """Intersection over union of one box with others, in [0, 1]."""
    one, rest = np.array(box, np.float64), others.astype(np.float64)
    low, high = np.maximum(one[None, :2], rest[:, :2]), np.minimum(one[None, 2:], rest[:, 2:])
    both = np.clip(high - low, 0, None).prod(axis=1)
    sizes = np.clip(one[2:] - one[:2], 0, None).prod(), (rest[:, 2:] - rest[:, :2]).prod(axis=1)
    return both / np.maximum(sizes[0] + sizes[1] - both, 1e-12)


def localised(box: Box | None, objects: Int[np.ndarray, "n 4"]) -> bool:
    """Whether a box is correct: it overlaps some object's box by a half or more (CorLoc)."""
    return box is not None and len(objects) > 0 and bool((box_overlaps(box, objects) >= 0.5).any())
