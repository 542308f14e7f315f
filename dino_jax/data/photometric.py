"""The photometric part of the augmentation, on the host by Pillow: uint8 in, uint8 out.

The same chain with the same probabilities as `dino_jax.ops.photometric`, for
`augment.where = host`; normalisation stays on the device. Paper §3.1, reference.md §1.8.
"""

import dataclasses
import itertools

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from dino_jax.config import AugmentConfig

Crop = UInt8[np.ndarray, "height width channels"]

_ORDERS = tuple(itertools.permutations(("brightness", "contrast", "saturation", "hue")))


@dataclasses.dataclass(frozen=True)
class Draw:
    """What happens to one crop."""

    jitter: bool
    brightness: float
    contrast: float
    saturation: float
    hue: float  # turns
    order: tuple[str, ...]
    greyscale: bool
    radius: float  # pixels; 0 where there is no blur
    solarise: bool


def augment(crop: Crop, random: np.random.Generator, *, view: int, config: AugmentConfig) -> Crop:
    """Augment one crop by the draws of `random`, which belongs to this crop alone.

    `view` is 0 or 1 for the global views and 2, 3, ... for local crops: it chooses the
    probabilities. Crops that are not RGB keep brightness, contrast, blur and solarisation;
    saturation, hue and greyscale pass them by.
    """
    return apply(crop, draw(random, view=view, config=config), config=config)


def draw(random: np.random.Generator, *, view: int, config: AugmentConfig) -> Draw:
    """Every random decision about one crop; always ten uniforms, whatever the config."""
    kind = min(view, 2)
    u = [float(value) for value in random.random(10)]

    low, high = config.blur_radius
    return Draw(
        jitter=u[0] < config.jitter_probability,
        brightness=_factor(u[1], config.brightness),
        contrast=_factor(u[2], config.contrast),
        saturation=_factor(u[3], config.saturation),
        hue=config.hue * (2.0 * u[4] - 1.0),
        order=_ORDERS[int(u[5] * len(_ORDERS))],
        greyscale=u[6] < config.grayscale_probability,
        radius=low + (high - low) * u[7] if u[8] < config.blur_probability[kind] else 0.0,
        solarise=u[9] < config.solarize_probability[kind],
    )


def _factor(uniform: float, spread: float) -> float:
    low = max(0.0, 1.0 - spread)
    return low + (1.0 + spread - low) * uniform


def apply(crop: Crop, drawn: Draw, *, config: AugmentConfig) -> Crop:
    """Do to one crop what was drawn."""
    if drawn.jitter:
        for name in drawn.order:
            crop = _jitter(crop, name, drawn, config=config)
    if drawn.greyscale:
        crop = greyscale(crop)
    if drawn.radius > 0:
        crop = gaussian_blur(crop, drawn.radius)
    return solarise(crop, config.solarize_threshold) if drawn.solarise else crop


def _jitter(crop: Crop, name: str, drawn: Draw, *, config: AugmentConfig) -> Crop:
    if name == "brightness":
        return brightness(crop, drawn.brightness)
    if name == "contrast":
        return contrast(crop, drawn.contrast)
    if name == "saturation":
        return saturation(crop, drawn.saturation)
    # The way through HSV loses levels even without a shift: a hue of 0 means not to take it.
    return hue(crop, drawn.hue) if config.hue > 0 else crop


def brightness(crop: Crop, factor: float) -> Crop:
    """Blend with black: factor in [0, inf), 1 leaves the crop."""
    return _blend_with_level(crop, 0, factor)


def contrast(crop: Crop, factor: float) -> Crop:
    """Blend with the mean grey level of the crop: factor in [0, inf), 1 leaves the crop."""
    channels = crop.shape[2]
    if channels == 3:
        grey = np.asarray(Image.fromarray(crop).convert("L"))
    else:
        grey = crop[..., 0] if channels == 1 else np.floor(crop.mean(2) + 0.5)
    return _blend_with_level(crop, int(grey.mean(dtype=np.float64) + 0.5), factor)


def saturation(crop: Crop, factor: float) -> Crop:
    """Blend with the grey crop: factor in [0, inf), 1 leaves it; crops not RGB are unchanged."""
    if crop.shape[2] != 3:
        return crop
    return np.asarray(ImageEnhance.Color(Image.fromarray(crop)).enhance(factor))


def hue(crop: Crop, shift: float) -> Crop:
    """Turn the hue by `shift` of the full circle through 8-bit HSV; crops not RGB are unchanged."""
    if crop.shape[2] != 3:
        return crop
    angle, purity, value = Image.fromarray(crop).convert("HSV").split()
    turned = (np.asarray(angle).astype(np.int32) + int(shift * 255)) % 256
    angle = Image.fromarray(turned.astype(np.uint8))
    return np.asarray(Image.merge("HSV", (angle, purity, value)).convert("RGB"))


def greyscale(crop: Crop) -> Crop:
    """Grey levels repeated in the three channels; crops that are not RGB are unchanged."""
    if crop.shape[2] != 3:
        return crop
    return np.asarray(Image.fromarray(crop).convert("L").convert("RGB"))


def gaussian_blur(crop: Crop, radius: float) -> Crop:
    """Pillow's blur with a standard deviation of `radius` pixels, channel by channel."""
    kernel = ImageFilter.GaussianBlur(radius)
    if crop.shape[2] == 3:
        return np.asarray(Image.fromarray(crop).filter(kernel))
    planes = [np.asarray(plane.filter(kernel)) for plane in _planes(crop)]
    return np.stack(planes, axis=-1)


def solarise(crop: Crop, threshold: int = 128) -> Crop:
    """Invert every level at or above the threshold."""
    if crop.shape[2] == 3:
        return np.asarray(ImageOps.solarize(Image.fromarray(crop), threshold))
    return np.where(crop >= threshold, 255 - crop, crop)


def _blend_with_level(crop: Crop, level: int, factor: float) -> Crop:
    """Pillow's blend of one even level (factor 0) with the crop (1) and beyond."""
    if crop.shape[2] == 3:
        image = Image.fromarray(crop)
        even = Image.new("RGB", image.size, (level, level, level))
        return np.asarray(Image.blend(even, image, factor))
    even = Image.new("L", (crop.shape[1], crop.shape[0]), level)
    planes = [np.asarray(Image.blend(even, plane, factor)) for plane in _planes(crop)]
    return np.stack(planes, axis=-1)


def _planes(crop: Crop) -> list[Image.Image]:
    return [Image.fromarray(np.ascontiguousarray(crop[..., i])) for i in range(crop.shape[2])]
