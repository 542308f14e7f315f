"""The objects of images laid out as VOC, and how regions overlap with them."""

import pathlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from dino_jax.config import UserError
from dino_jax.data.masked import MaskedImages
from dino_jax.data.voc import BY_CLASS, BY_OBJECT, annotated_boxes, open_voc
from dino_jax.ops.attention_mask import best_overlaps, enlarged, mass_masks, overlaps
from dino_jax.ops.discovery import box_of


class Truth(NamedTuple):
    """What a person marked in one image."""

    labels: UInt8[np.ndarray, "height width"]
    objects: tuple[int, ...]
    """Their labels."""
    boxes: Int[np.ndarray, "n 4"]


def open_objects(root: pathlib.Path, subset: str, *, channels: int) -> MaskedImages:
    """The images of one list with masks of their objects, or of their classes where those lack."""
    return open_voc(root, subset, masks=(BY_OBJECT, BY_CLASS), channels=channels)


def by_class(source: MaskedImages) -> int:
    """How many images have no masks of objects, so that each class in them is taken for one."""
    return sum(path.parent.name == BY_CLASS for path in source.masks)


def truth_of(
    source: MaskedImages, root: pathlib.Path, index: int
) -> tuple[UInt8[np.ndarray, "h w c"], Truth]:
    """An image and its objects; boxes are those of `Annotations`, or lie around the masks.

    Raises:
        UserError: image and mask differ in size, or the mask marks nothing.
    """
    image, labels = source.pair(index)
    objects = tuple(int(each) for each in np.unique(labels) if each not in (0, source.void))
    if not objects:
        raise UserError(
            f"the mask {source.masks[index]} marks no object, which leaves nothing to overlap "
            "with: take the image out of the list"
        )
    boxes = annotated_boxes(root, source.name(index))
    if boxes is None:
        boxes = np.array([box_of(labels == each) for each in objects], np.int64)
    return image, Truth(labels, objects, boxes)


def best_of_heads(
    attention: Float[np.ndarray, "heads rows columns"],
    truth: Truth,
    *,
    fraction: float,
    size: int,
    patch: int,
    void: int | None,
) -> tuple[Float[np.ndarray, "objects"], Int[np.ndarray, "objects"]]:
    """Each object's overlap with the head that fits it best, and which that is.

    The mask of objects is brought to `size` x `size` pixels (nearest) as the image was, and what
    no patch covers is cut off. Pixels of `void` do not count; None: they count as background.
    """
    heads, rows, columns = attention.shape
    masks = mass_masks(attention.reshape(heads, -1), fraction).reshape(heads, rows, columns)
    stretched = Image.fromarray(truth.labels).resize((size, size), Image.Resampling.NEAREST)
    labels = np.asarray(stretched)[: rows * patch, : columns * patch]
    marked: np.ndarray = labels[None] == np.array(truth.objects)[:, None, None]
    counted = None if void is None else labels != void
    return best_overlaps(overlaps(enlarged(masks, patch), marked, counted))
