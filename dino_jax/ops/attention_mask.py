"""Masks of the patches that hold most of an attention, and how well they cover given objects."""

import numpy as np
from jaxtyping import Bool, Float, Int


def mass_masks(
    attention: Float[np.ndarray, "... patches"], fraction: float
) -> Bool[np.ndarray, "... patches"]:
    """Keep of every map the patches that together hold the largest `fraction` of its mass.

    Values are not negative; they need not sum to 1. The values are added up from the smallest, and
    a patch is kept once the sum exceeds 1 - `fraction`: so the smallest patch kept may be held only
    in part (reference: visualize_attention.py, `--threshold`). Sums are rounded to float32 before
    they are compared, as the original's are. A map without mass keeps nothing. Raises ValueError
    unless 0 < `fraction` <= 1.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"the fraction of the mass is {fraction}: expected one in (0, 1]")
    order = np.argsort(attention, axis=-1, kind="stable")
    ascending = np.take_along_axis(attention, order, axis=-1).astype(np.float32)
    total = ascending.sum(axis=-1, keepdims=True, dtype=np.float64).astype(np.float32)
    shares = ascending / np.where(total > 0, total, np.float32(1))
    below = np.cumsum(shares, axis=-1, dtype=np.float64).astype(np.float32)
    kept = np.empty(attention.shape, bool)
    np.put_along_axis(kept, order, below > np.float32(1 - fraction), axis=-1)
    return kept & (total > 0)


def enlarged(
    maps: Bool[np.ndarray, "... rows columns"], patch_size: int
) -> Bool[np.ndarray, "... height width"]:
    """Repeat every patch over the pixels it stands for: nearest-neighbour enlargement."""
    return maps.repeat(patch_size, axis=-2).repeat(patch_size, axis=-1)


def overlaps(
    masks: Bool[np.ndarray, "masks height width"],
    objects: Bool[np.ndarray, "objects height width"],
    counted: Bool[np.ndarray, "height width"] | None = None,
) -> Float[np.ndarray, "objects masks"]:
    """Intersection over union, in [0, 1], of every object with every mask.

    Only pixels of `counted` count (all by default). Two empty regions overlap by 0.
    """
    if counted is not None:
        masks, objects = masks & counted, objects & counted
    # Sums of ones in float32 are exact up to 2**24 pixels; in float64, in any image.
    kind: type = np.float32 if masks[0].size < 1 << 24 else np.float64
    first: np.ndarray = objects.reshape(len(objects), -1).astype(kind)
    second: np.ndarray = masks.reshape(len(masks), -1).astype(kind)
    both = (first @ second.T).astype(np.float64)
    sizes = first.sum(axis=1, dtype=np.float64), second.sum(axis=1, dtype=np.float64)
    either = sizes[0][:, None] + sizes[1][None, :] - both
    return both / np.maximum(either, 1)


def best_overlaps(
    found: Float[np.ndarray, "objects masks"],
) -> tuple[Float[np.ndarray, "objects"], Int[np.ndarray, "objects"]]:
    """The overlap of every object with the mask that fits it best, and which mask that is.

    The first of equals is taken (the author's evaluation of Figure 4: thread 54 of the original).
    """
    return found.max(axis=1), found.argmax(axis=1)


def centred_map(rows: int, columns: int) -> Float[np.ndarray, "{rows} {columns}"]:
    """An attention that knows no image: a Gaussian about the centre, of the image's proportions.

    Its standard deviation is a quarter of each side. The patches with 60 % of its mass fill an
    ellipse of a third of the image: photographs show their object in the middle. Sums to 1.
    """
    y = (np.arange(rows) + 0.5) / rows - 0.5
    x = (np.arange(columns) + 0.5) / columns - 0.5
    fall = np.exp(-8 * (np.square(y)[:, None] + np.square(x)[None, :]))
    return (fall / fall.sum()).astype(np.float32)
