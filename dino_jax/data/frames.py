"""Frames of video at the sizes that label propagation reads them at (reference, section 1.10)."""

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from dino_jax.config import UserError

STEP = 64
"""The longer side is cut down to a multiple of so many pixels."""

_BITS = 11  # of a weight, in OpenCV's arithmetic for bytes


def frame_size(height: int, width: int, *, side: int, patch: int) -> tuple[int, int]:
    """Height and width to read a frame at: short side `side`, the longer a multiple of 64 below.

    Where the patch does not divide 64, the longer side is a multiple of the patch instead. Raises
    `UserError` if `side` is no multiple of the patch, or too small for the shape of the frame.
    """
    if side % patch:
        near = max(patch, round(side / patch) * patch)
        raise UserError(f"--size={side} is no multiple of the patch, {patch}: {near} is, say")
    step = patch if STEP % patch else STEP
    longer = side * max(height, width) / min(height, width)
    longer = int(longer // step) * step
    if not longer:
        raise UserError(f"--size={side} is too small: expected at least {step}")
    return (longer, side) if height > width else (side, longer)


def resized(image: UInt8[np.ndarray, "h w c"], height: int, width: int) -> np.ndarray:
    """Resize bilinearly to the very bytes of OpenCV's INTER_LINEAR; (height, width, c), uint8.

    Between half-pixel centres, without smoothing where it shrinks. The weights have 11 bits, and
    what lies between the two passes is cut off as OpenCV cuts it (its results since 2.x).
    """
    before, after, near, far = _weights(image.shape[1], width)
    inside = (before >= 0) & (before < image.shape[1] - 1)
    # Beyond the outermost centres a row counts the outermost pixel alone, a column adds it up
    # from two weighted halves: the rounding differs.
    near, far = np.where(inside, near, 1 << _BITS), np.where(inside, far, 0)
    before, after = (np.clip(each, 0, image.shape[1] - 1) for each in (before, after))
    values = image.astype(np.int64)
    rows = values[:, before] * near[None, :, None] + values[:, after] * far[None, :, None]
    before, after, near, far = _weights(image.shape[0], height)
    before, after = (np.clip(each, 0, image.shape[0] - 1) for each in (before, after))
    rows >>= 4
    upper = (rows[before] * near[:, None, None]) >> 16
    lower = (rows[after] * far[:, None, None]) >> 16
    return ((upper + lower + 2) >> 2).astype(np.uint8)


def _weights(
    count: int, wanted: int
) -> tuple[
    Int[np.ndarray, " {wanted}"],
    Int[np.ndarray, " {wanted}"],
    Int[np.ndarray, " {wanted}"],
    Int[np.ndarray, " {wanted}"],
]:
    """The two neighbours of each new place, which may lie outside, and their weights."""
    scale = 1.0 / (wanted / count)  # in this order, for the last bit
    places = ((np.arange(wanted) + 0.5) * scale - 0.5).astype(np.float32)
    before = np.floor(places).astype(np.int64)
    share = places - before.astype(np.float32)
    near, far = (np.rint(each * (1 << _BITS)).astype(np.int64) for each in (1 - share, share))
    return before, before + 1, near, far


def nearest(labels: UInt8[np.ndarray, "h w"], height: int, width: int) -> UInt8[np.ndarray, "y x"]:
    """Labels at another size, each from the nearest pixel as Pillow finds it."""
    return np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))
