"""Regions of one image that a network singles out, at any size of the image."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from dino_jax.evals.objects.encoding import Encoded
from dino_jax.ops.attention_mask import mass_masks, overlaps
from dino_jax.ops.discovery import Box, Discovery, box_of, largest_component, lost


class Head(NamedTuple):
    """The region of one head, on the patch grid."""

    mask: Bool[np.ndarray, "rows columns"]
    threshold: float
    """The least share of the attention to patches that a kept patch has."""
    part: Bool[np.ndarray, "rows columns"]
    """The largest connected part of the mask."""
    score: float
    """The share of the attention to patches that lies in this part."""
    agreement: float
    """Intersection over union of the mask with what LOST found."""


class Regions(NamedTuple):
    """What one image's attention and patches single out."""

    heads: tuple[Head, ...]
    chosen: int
    """The head that agrees best with LOST: a choice that needs no label."""
    found: Discovery


def regions_of(encoded: Encoded, *, fraction: float, expansion: int) -> Regions:
    """The regions of every head that hold `fraction` of its attention, and LOST's object."""
    found = lost(encoded.features, expansion=expansion)
    heads = tuple(_head(each, fraction, found.mask) for each in encoded.attention)
    return Regions(heads, int(np.argmax([head.agreement for head in heads])), found)


def _head(
    attention: Float[np.ndarray, "rows columns"],
    fraction: float,
    found: Bool[np.ndarray, "rows columns"],
) -> Head:
    mask = mass_masks(attention.reshape(1, -1), fraction).reshape(attention.shape)
    shares = attention.astype(np.float64) / max(float(attention.sum(dtype=np.float64)), 1e-30)
    part = largest_component(mask)
    return Head(
        mask,
        float(shares[mask].min()) if mask.any() else 0.0,
        part,
        float(shares[part].sum()),
        float(overlaps(mask[None], found[None])[0, 0]),
    )


class Frame(NamedTuple):
    """An image of `height` x `width` pixels, stretched to `size` x `size` and cut into patches.

    What a remainder of `size` by `patch` leaves at the right and the bottom belongs to no patch.
    """

    height: int
    width: int
    size: int
    patch: int

    def pixels(self, mask: Bool[np.ndarray, "rows columns"]) -> Bool[np.ndarray, "height width"]:
        """A region of patches at the size of the image: by the patch each pixel's centre is in."""
        rows, columns = (self._patches(length) for length in (self.height, self.width))
        padded = np.pad(mask, ((0, 1), (0, 1)))  # the remainder is in no region
        rows, columns = (
            np.minimum(each, limit) for each, limit in zip((rows, columns), mask.shape, strict=True)
        )
        return padded[rows[:, None], columns[None, :]]

    def box(self, mask: Bool[np.ndarray, "rows columns"]) -> Box | None:
        """The box around a region of patches, in pixels of the image; None around nothing."""
        found = box_of(mask)
        if found is None:
            return None
        sides = (self.width, self.height) * 2
        left, top, right, bottom = (
            round(each * self.patch * side / self.size)
            for each, side in zip(found, sides, strict=True)
        )
        return left, top, max(right, left + 1), max(bottom, top + 1)

    def _patches(self, length: int) -> np.ndarray:
        return (2 * np.arange(length) + 1) * self.size // (2 * length) // self.patch
