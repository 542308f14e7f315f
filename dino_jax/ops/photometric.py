"""The photometric part of the augmentation, on the device: jitter, grey, blur, solarise, normalise.

Paper §3.1 and reference.md §1.8. What happens to one crop is a function of its own key alone: the
draws are named by purpose, not by order, so neither the batch around it nor a switched-off
operation changes them.
"""

import enum
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from dino_jax.config import AugmentConfig, UserError
from dino_jax.ops import blur, colour
from dino_jax.ops.colour import Image

_CONTRAST, _SATURATION, _HUE = 1, 2, 3  # the numbers in an order; brightness is 0
_ORDERS = np.array(list(itertools.permutations(range(4))), np.int32)
_LEVELS = 256.0  # a threshold that no level reaches


class Purpose(enum.IntEnum):
    """What a draw decides; folded into the crop's key. Only append: runs depend on the numbers."""

    JITTER = 0
    BRIGHTNESS = 1
    CONTRAST = 2
    SATURATION = 3
    HUE = 4
    ORDER = 5
    GREYSCALE = 6
    BLUR = 7
    RADIUS = 8
    SOLARISE = 9


class Draw(NamedTuple):
    """What happens to one crop."""

    jitter: Bool[Array, ""]
    factors: Float[Array, "3"]  # brightness, contrast, saturation
    hue: Float[Array, ""]  # turns
    order: Int[Array, "4"]  # the operation at each place
    greyscale: Bool[Array, ""]
    radius: Float[Array, ""]  # pixels; 0 where there is no blur
    solarise: Bool[Array, ""]


def augment(
    images: UInt8[Array, "batch crops height width channels"],
    keys: Key[Array, "batch crops"],
    *,
    first_view: int,
    config: AugmentConfig,
    mean: Sequence[float],
    std: Sequence[float],
) -> Float[Array, "batch crops height width channels"]:
    """Augment and normalise crops, each by its own key.

    `first_view` is the view number of the first crop along the axis (0 and 1 are the global views,
    2 and above local crops): it chooses the probabilities. `mean` and `std` are in units of 255
    grey levels, one a channel. Pictures that are not RGB keep brightness, contrast, blur and
    solarisation; saturation, hue and greyscale pass them by. Paper §3.1, reference.md §1.8.
    Raises UserError if mean and std don't fit the channels.
    """
    views = [min(first_view + i, 2) for i in range(images.shape[1])]
    blurred = tuple(config.blur_probability[view] for view in views)
    solarised = tuple(config.solarize_probability[view] for view in views)

    def one(image: Image, key: Key[Array, ""], p_blur: Array, p_solarise: Array) -> Image:
        drawn = draw(key, p_blur, p_solarise, config=config)
        return apply(
            image, drawn, config=config, can_blur=any(blurred), can_solarise=any(solarised)
        )

    crops = jax.vmap(one)
    batch = jax.vmap(crops, in_axes=(0, 0, None, None))
    planes = jnp.moveaxis(images, -1, 2).astype(jnp.float32)
    planes = batch(planes, keys, *(jnp.array(p, jnp.float32) for p in (blurred, solarised)))
    return normalise(jnp.moveaxis(planes, 2, -1), mean, std)


def draw(
    key: Key[Array, ""],
    blur_probability: Float[Array, ""] | float,
    solarise_probability: Float[Array, ""] | float,
    *,
    config: AugmentConfig,
) -> Draw:
    """Every random decision about one crop, each from the key and its purpose alone."""

    def unit(purpose: Int[Array, ""]) -> Float[Array, ""]:
        return jax.random.uniform(jax.random.fold_in(key, purpose))

    # A loop, for the compiler would inline the generator at every use of what it gives.
    units = jax.lax.map(unit, jnp.arange(len(Purpose)))

    def between(purpose: Purpose, low: float, high: float) -> Float[Array, ""]:
        return low + (high - low) * units[purpose]

    def factor(purpose: Purpose, spread: float) -> Float[Array, ""]:
        return between(purpose, max(0.0, 1.0 - spread), 1.0 + spread)

    factors = (
        factor(Purpose.BRIGHTNESS, config.brightness),
        factor(Purpose.CONTRAST, config.contrast),
        factor(Purpose.SATURATION, config.saturation),
    )
    order = (units[Purpose.ORDER] * len(_ORDERS)).astype(jnp.int32)
    radius = between(Purpose.RADIUS, *config.blur_radius)
    return Draw(
        jitter=units[Purpose.JITTER] < config.jitter_probability,
        factors=jnp.stack(factors),
        hue=between(Purpose.HUE, -config.hue, config.hue),
        order=jnp.asarray(_ORDERS)[order],
        greyscale=units[Purpose.GREYSCALE] < config.grayscale_probability,
        radius=jnp.where(units[Purpose.BLUR] < blur_probability, radius, 0.0),
        solarise=units[Purpose.SOLARISE] < solarise_probability,
    )


def apply(
    image: Image,
    drawn: Draw,
    *,
    config: AugmentConfig,
    can_blur: bool = True,
    can_solarise: bool = True,
) -> Image:
    """Do to one picture of grey levels what was drawn; `can_` False leaves the operation out."""
    if config.jitter_probability > 0 or config.grayscale_probability > 0:
        image = _colour(image, drawn, with_hue=config.hue > 0 and config.jitter_probability > 0)
    if can_blur:
        image = blur.gaussian_blur(image, drawn.radius, max_radius=config.blur_radius[1])
    if can_solarise:
        threshold = jnp.where(drawn.solarise, float(config.solarize_threshold), _LEVELS)
        image = colour.solarise(image, threshold)
    return image


def _colour(image: Image, drawn: Draw, *, with_hue: bool) -> Image:
    """The jitter's four operations in the drawn order, then greyscale.

    Under vmap a branch is paid for on every path: four rounds of four operations. But brightness,
    contrast and saturation are one blend with three different pictures, greyscale is a saturation
    of 0, and a blend of factor 1 changes nothing. So: three blends that may come before the hue,
    the hue, the dearest, once, and four that may come after.
    """
    place = jnp.argmax(drawn.order == _HUE)
    slots = jnp.arange(3)
    operations = drawn.order[slots + (slots >= place)]
    factors = jnp.where(drawn.jitter, drawn.factors[operations], 1.0)
    if with_hue and image.shape[0] == 3:
        image = _blends(image, operations, jnp.where(slots < place, factors, 1.0))
        image = jnp.where(drawn.jitter, colour.hue(image, drawn.hue), image)
        factors = jnp.where(slots < place, 1.0, factors)
    operations = jnp.append(operations, _SATURATION)
    return _blends(image, operations, jnp.append(factors, jnp.where(drawn.greyscale, 0.0, 1.0)))


def _blends(image: Image, operations: Int[Array, "slots"], factors: Float[Array, "slots"]) -> Image:
    """Blends one after the other, by the numbers of the operations.

    A loop rather than a row of expressions: the compiler would merge these, and compute each
    picture anew for every use in the next.
    """

    def step(levels: Array, slot: tuple[Array, Array]) -> tuple[Array, None]:
        return _blend(levels.astype(jnp.float32), *slot).astype(jnp.uint8), None

    levels, _ = jax.lax.scan(step, image.astype(jnp.uint8), (operations, factors))
    return levels.astype(jnp.float32)


def _blend(image: Image, operation: Int[Array, ""], factor: Float[Array, ""]) -> Image:
    """Brightness, contrast or saturation, by the number of the operation."""
    grey = colour.luma(image)
    degenerate = jnp.where(operation == _CONTRAST, colour.mean_level(grey), 0.0)[None, None]
    if image.shape[0] == 3:
        degenerate = jnp.where(operation == _SATURATION, grey, degenerate)
    else:
        factor = jnp.where(operation == _SATURATION, 1.0, factor)
    return colour.blend(degenerate[None], image, factor)


def normalise(
    images: Float[Array, "*batch channels"] | UInt8[Array, "*batch channels"],
    mean: Sequence[float],
    std: Sequence[float],
) -> Float[Array, "*batch channels"]:
    """Grey levels 0..255 to (level / 255 - mean) / std in float32, channels last.

    Raises UserError if mean and std don't hold one number a channel.
    """
    channels = images.shape[-1]
    if not len(mean) == len(std) == channels:
        raise UserError(
            f"data.mean has {len(mean)} and data.std {len(std)} numbers, but the images have "
            f"{channels} channels; give one number a channel"
        )
    shape = (1,) * (images.ndim - 1) + (channels,)
    centred = images.astype(jnp.float32) / 255.0 - jnp.array(mean, jnp.float32).reshape(shape)
    return centred / jnp.array(std, jnp.float32).reshape(shape)
