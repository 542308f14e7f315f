"""Descriptions of images without learned weights: what a trained network has to beat.

Each comes in the settings that did best on the embedded photographs, and a figure is that of the
better of its variants, so the comparison leans towards them.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

Images = UInt8[np.ndarray, "n h w c"]
Described = Float[np.ndarray, "n d"]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601, as Pillow's greyscale
_PIXELS_SIDE = 32
_SIDE = 64
_GREY_BINS = 32
_COLOUR_LEVELS = 6


class Descriptor(NamedTuple):
    """A row of the table: title, prefix of its names, and functions images -> vectors."""

    title: str
    prefix: str
    variants: tuple[Callable[[Images], Described], ...]
    said: str = ""
    """What the variants are, where there are several, as a reader of the table is told."""


def pixels(images: Images) -> Described:
    """Every value of the image (0 to 1) at no more than 32 pixels a side."""
    small = _at_most(images, _PIXELS_SIDE)
    return small.reshape(len(small), -1)


def centred_pixels(images: Images) -> Described:
    """Raw pixels less their mean over the image, so that cosine ignores brightness and contrast."""
    values = pixels(images)
    return values - values.mean(axis=1, keepdims=True)


def equalised_histogram(images: Images) -> Described:
    """Histogram of grey levels after local (contrast-limited) equalisation, 32 bins.

    Global equalisation would make every histogram flat and was far worse.
    """
    from skimage import exposure

    levels = [exposure.equalize_adapthist(each) for each in _grey(images)]
    return _histograms(np.stack(levels), _GREY_BINS)


def stretched_histogram(images: Images) -> Described:
    """Histogram of grey levels from the darkest to the brightest of the image, 32 bins.

    Brightness and contrast cancel, but for what they clip.
    """
    grey = _grey(images)
    low, high = grey.min(axis=(1, 2), keepdims=True), grey.max(axis=(1, 2), keepdims=True)
    return _histograms((grey - low) / np.maximum(high - low, 1e-6), _GREY_BINS)


def colour_histogram(images: Images) -> Described:
    """Joint histogram of all channels, six levels each."""
    levels = images.astype(np.int64) * _COLOUR_LEVELS // 256
    channels = min(images.shape[-1], 3)
    weights = _COLOUR_LEVELS ** np.arange(channels)
    codes = (levels[..., :channels] * weights).sum(axis=-1).reshape(len(images), -1)
    size = _COLOUR_LEVELS**channels
    return np.sqrt([np.bincount(each, minlength=size) for each in codes]).astype(np.float32)


def gradients(images: Images) -> Described:
    """Histogram of oriented gradients: nine orientations, cells of 8 pixels, blocks of 2 x 2."""
    return _gradients(images, block=2)


def gradients_whole(images: Images) -> Described:
    """Oriented gradients as above, normalised over blocks of 4 x 4 cells."""
    return _gradients(images, block=4)


DESCRIPTORS = (
    Descriptor(
        "raw pixels", "pixels_", (pixels, centred_pixels), "as they are or less each image's mean"
    ),
    Descriptor("grey histogram, equalised", "equalised_histogram_", (equalised_histogram,)),
    Descriptor("grey histogram, stretched", "stretched_histogram_", (stretched_histogram,)),
    Descriptor("colour histogram", "colour_histogram_", (colour_histogram,)),
    Descriptor("HOG", "hog_", (gradients, gradients_whole), "in blocks of 2 x 2 or 4 x 4 cells"),
)
RAW_PIXELS = DESCRIPTORS[:1]


def _gradients(images: Images, *, block: int) -> Described:
    from skimage.feature import hog

    small = _at_most(images, _SIDE)
    cell = min(8, min(small.shape[1:3]) // 4)
    found = [
        hog(each, 9, (cell, cell), (block, block), block_norm="L2-Hys", channel_axis=-1)
        for each in small
    ]
    return np.stack(found).astype(np.float32)


def _grey(images: Images) -> Float[np.ndarray, "n height width"]:
    small = _at_most(images, _SIDE)
    return small[..., :3] @ LUMA if small.shape[-1] >= 3 else small[..., 0]


def _histograms(levels: Float[np.ndarray, "n h w"], bins: int) -> Described:
    """Square roots of the counts: their cosine is the Bhattacharyya coefficient."""
    codes = np.clip((levels * bins).astype(np.int64), 0, bins - 1).reshape(len(levels), -1)
    return np.sqrt([np.bincount(each, minlength=bins) for each in codes]).astype(np.float32)


def _at_most(images: Images, side: int) -> Float[np.ndarray, "n height width c"]:
    """Values 0 to 1, the longer side no longer than `side` pixels."""
    values = images.astype(np.float32) / 255
    longest = max(images.shape[1:3])
    if longest <= side:
        return values
    from skimage.transform import resize

    shape = [max(1, round(side * length / longest)) for length in images.shape[1:3]]
    small = [resize(each, shape, order=3, anti_aliasing=True) for each in values]
    return np.clip(np.stack(small), 0, 1).astype(np.float32)
