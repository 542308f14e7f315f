"""Crop geometry: where the crops of one image lie, and cutting them out.

The distribution is the reference's (torchvision's RandomResizedCrop, then a horizontal flip): the
area's share is uniform, the logarithm of the aspect ratio is uniform, ten tries, and after these
the largest centred box whose aspect lies in the range. Crops are cut first and resized then, by
Pillow's bicubic filter with antialiasing, so that no pixel outside a box has any influence on it.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dino_jax.config import CropsConfig
from dino_jax.data.randomness import Purpose, generators

GLOBAL_VIEWS = 2
_TRIES = 10
_BICUBIC = Image.Resampling.BICUBIC

Cut = Callable[..., None]
"""What fills an array with crops: (image, boxes, array, height and width before decoding)."""

Photometric = Callable[[np.ndarray, int], np.ndarray]
"""What happens to a uint8 crop after it was cut: (crop, view number) to crop."""


class Box(NamedTuple):
    """A crop in pixels of the source image; `flip` mirrors it left to right afterwards."""

    top: int
    left: int
    height: int
    width: int
    flip: bool = False


class Crops(NamedTuple):
    """The crops of one image: (2, H, W, C) and (L, h, w, C), uint8."""

    views: UInt8[np.ndarray, "2 H W C"]
    locals: UInt8[np.ndarray, "L h w C"]


def draw_box(
    rng: np.random.Generator,
    height: int,
    width: int,
    *,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    flip_probability: float = 0.0,
) -> Box:
    """Draw one crop of an image of `height` by `width` pixels.

    `scale` is the range of the crop's share of the area, in (0, 1]; `ratio` that of width over
    height. Always takes the same number of draws (reference: `RandomResizedCrop.get_params`).
    """
    flip, *draws = rng.random(1 + 4 * _TRIES).tolist()
    mirrored = flip < flip_probability
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for k in range(0, 4 * _TRIES, 4):
        area = height * width * (scale[0] + (scale[1] - scale[0]) * draws[k])
        aspect = math.exp(low + (high - low) * draws[k + 1])
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top, left = int((height - h + 1) * draws[k + 2]), int((width - w + 1) * draws[k + 3])
            return Box(top, left, h, w, mirrored)
    return _centre_box(height, width, ratio)._replace(flip=mirrored)


def _centre_box(height: int, width: int, ratio: tuple[float, float]) -> Box:
    h, w = height, width
    if width / height < ratio[0]:
        h = max(1, round(width / ratio[0]))
    elif width / height > ratio[1]:
        w = max(1, round(height * ratio[1]))
    return Box((height - h) // 2, (width - w) // 2, h, w)


def cut(
    image: UInt8[np.ndarray, "h w c"],
    boxes: list[Box],
    size: int,
    resampling: Image.Resampling = _BICUBIC,
) -> UInt8[np.ndarray, "n size size c"]:
    """Cut boxes out of one decoded image and resize each to `size` pixels square."""
    cuts = np.empty((len(boxes), size, size, image.shape[2]), np.uint8)
    for channels, plane in _planes(image):
        for number, box in enumerate(boxes):
            corners = (box.left, box.top, box.left + box.width, box.top + box.height)
            crop = np.asarray(plane.crop(corners).resize((size, size), resampling))
            cuts[number, :, :, channels] = crop[:, ::-1] if box.flip else crop
    return cuts


def resize_image(
    image: UInt8[np.ndarray, "h w c"],
    height: int,
    width: int,
    resampling: Image.Resampling = _BICUBIC,
) -> UInt8[np.ndarray, "height width c"]:
    """Resize a whole image by Pillow's bicubic filter, or another, with antialiasing."""
    resized = np.empty((height, width, image.shape[2]), np.uint8)
    for channels, plane in _planes(image):
        resized[:, :, channels] = np.asarray(plane.resize((width, height), resampling))
    return resized


def _planes(image: UInt8[np.ndarray, "h w c"]) -> list[tuple[int | slice, Image.Image]]:
    """Pillow images of an array, each with the channels it holds.

    Other than three channels go one by one: Pillow would take a fourth for transparency and weigh
    the colours by it.
    """
    if image.shape[2] == 3:
        return [(slice(None), Image.fromarray(image))]
    planes = np.moveaxis(image, 2, 0)
    return [(c, Image.fromarray(np.ascontiguousarray(plane))) for c, plane in enumerate(planes)]


def draw_boxes(
    height: int, width: int, crops: CropsConfig, *, seed: int, epoch: int, example: int
) -> list[Box]:
    """The boxes of all crops of one example: the two views, then the local crops."""
    scales = [crops.global_scale] * GLOBAL_VIEWS + [crops.local_scale] * crops.local_number
    streams = generators(seed, epoch, example, len(scales), Purpose.GEOMETRY)
    return [
        draw_box(
            random,
            height,
            width,
            scale=scale,
            ratio=crops.ratio,
            flip_probability=crops.flip_probability,
        )
        for random, scale in zip(streams, scales, strict=True)
    ]


def empty_crops(crops: CropsConfig, channels: int) -> Crops:
    """Arrays for the crops of one image; what they hold is undefined."""
    views = np.empty((GLOBAL_VIEWS, *[crops.global_size] * 2, channels), np.uint8)
    return Crops(views, np.empty((crops.local_number, *[crops.local_size] * 2, channels), np.uint8))


def cut_crops(
    image: UInt8[np.ndarray, "h w c"],
    crops: CropsConfig,
    *,
    seed: int,
    epoch: int,
    example: int,
    photometric: Photometric | None = None,
    full: tuple[int, int] | None = None,
    cutter: Cut | None = None,
    into: Crops | None = None,
) -> Crops:
    """Two views and the local crops of one decoded image, uint8.

    The draws depend on (seed, epoch, example, view) alone. `photometric`, where given, is applied
    to every crop with the number of its view (0, 1, then 2, 3, ... for the local ones).

    Pillow cuts; or `cutter`, into the arrays of `into` or into new ones, and from an image that may
    have been decoded smaller than the height and width `full`, of which the boxes are.
    """
    height, width = full or image.shape[:2]
    boxes = draw_boxes(height, width, crops, seed=seed, epoch=epoch, example=example)
    parts = boxes[:GLOBAL_VIEWS], boxes[GLOBAL_VIEWS:]
    if cutter is None:
        views, locals_ = map(cut, (image, image), parts, (crops.global_size, crops.local_size))
    else:
        views, locals_ = into or empty_crops(crops, image.shape[2])
        cutter(image, parts[0], views, full)
        cutter(image, parts[1], locals_, full)
    if photometric is not None:
        for number, crop in enumerate([*views, *locals_]):
            crop[...] = photometric(crop, number)
    return Crops(views, locals_)
