"""Semantic segmentation from patches: their targets, predictions by pixel, and the scores."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8


def patch_shares(
    labels: UInt8[np.ndarray, "height width"], rows: int, columns: int, classes: int
) -> Float[np.ndarray, "{rows}*{columns} {classes}"]:
    """The share of every patch's pixels that each class has; what void takes is missing.

    A pixel belongs to the patch its centre lies in when the image is laid over `rows` x `columns`
    patches, whatever its own size. Labels of `classes` or more are void. A patch without any pixel
    (masks smaller than the grid) is all void.
    """
    height, width = labels.shape
    row = ((2 * np.arange(height) + 1) * rows) // (2 * height)
    column = ((2 * np.arange(width) + 1) * columns) // (2 * width)
    patch = row[:, None] * columns + column[None, :]
    codes = patch * (classes + 1) + np.minimum(labels, classes)
    counts = np.bincount(codes.ravel(), minlength=rows * columns * (classes + 1))
    counts = counts.reshape(rows * columns, classes + 1)
    return (counts[:, :classes] / np.maximum(counts.sum(axis=1), 1)[:, None]).astype(np.float32)


@functools.partial(jax.jit, static_argnames=("height", "width"))
def pixel_classes(
    logits: Float[Array, "rows columns classes"], *, height: int, width: int
) -> UInt8[Array, "{height} {width}"]:
    """The class of every pixel: logits enlarged bilinearly (pixel centres aligned), then the best.

    The first of equals wins. At most 256 classes.
    """
    shape = (height, width, logits.shape[2])
    large = jax.image.resize(logits, shape, "bilinear", antialias=False)
    return large.argmax(axis=-1).astype(jnp.uint8)


def confusion(
    labels: UInt8[np.ndarray, "height width"],
    predicted: UInt8[np.ndarray, "height width"],
    classes: int,
) -> Int[np.ndarray, "{classes} {classes}"]:
    """How many pixels of each class (rows) were taken for each (columns); void is left out."""
    known = labels < classes
    codes = labels[known].astype(np.int64) * classes + predicted[known]
    return np.bincount(codes, minlength=classes * classes).reshape(classes, classes)


def class_overlaps(counts: Int[np.ndarray, "classes classes"]) -> Float[np.ndarray, "classes"]:
    """Intersection over union of each class; nan of one neither there nor predicted."""
    right = np.diagonal(counts).astype(np.float64)
    either = counts.sum(axis=0) + counts.sum(axis=1) - right
    return np.where(either > 0, right / np.maximum(either, 1), np.nan)


def mean_overlap(counts: Int[np.ndarray, "n classes classes"]) -> float:
    """Mean IoU in percent of confusions that are added up first, over the classes with any pixel.

    As in PASCAL VOC's evaluation pixels of all images count together. 0 without any pixel.
    """
    found = class_overlaps(counts.sum(axis=0))
    return 100 * float(np.nanmean(found)) if np.isfinite(found).any() else 0.0


def pixel_accuracy(counts: Int[np.ndarray, "n classes classes"]) -> float:
    """The percentage of pixels, void left out, whose class is right."""
    total = counts.sum(axis=0)
    return 100 * float(np.trace(total)) / max(int(total.sum()), 1)
