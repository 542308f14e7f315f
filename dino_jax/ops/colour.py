"""Colour operations on float32 pictures that hold grey levels, equal to Pillow's on uint8.

A picture is `(channels, height, width)`: with the three channels last, the innermost loop would be
three long, which no vector unit likes. Each operation takes integers 0..255 and gives integers
0..255, because the original works on uint8 pictures and thus rounds after every operation
(reference.md §1.8). The formulas are those of Pillow's ImageEnhance and of its HSV mode, which
torchvision's jitter calls; the tests hold them against Pillow itself.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

Image = Float[Array, "channels height width"]
Scalar = Float[Array, ""] | float

# ITU-R 601-2 luma in 16-bit fixed point: Pillow's numbers. The sum stays below 2^24, so float32
# holds it exactly.
_LUMA = (19595.0, 38470.0, 7471.0)


def luma(image: Image) -> Float[Array, "height width"]:
    """Grey levels of an RGB picture as Pillow's mode L has them.

    With any other number of channels there is no luma: the first channel of one, else their mean,
    rounded.
    """
    channels = image.shape[0]
    if channels == 3:
        red, green, blue = (weight * plane for weight, plane in zip(_LUMA, image, strict=True))
        return jnp.floor((red + green + blue + 32768.0) / 65536.0)
    return image[0] if channels == 1 else _mean(image.astype(jnp.int32).sum(0), channels)


def mean_level(grey: Float[Array, "height width"]) -> Float[Array, ""]:
    """Mean of a grey picture, rounded half up to a whole level.

    The sum is taken in int32, which is exact up to 4 million pixels and on every device.
    """
    return _mean(grey.astype(jnp.int32).sum(), grey.size)


def _mean(total: Array, count: int) -> Array:
    """total / count in whole levels, half up, by integers: no device may round it otherwise."""
    return ((2 * total + count) // (2 * count)).astype(jnp.float32)


def blend(
    degenerate: Float[Array, "#channels #height #width"], image: Image, factor: Scalar
) -> Image:
    """Go from the degenerate picture (factor 0) to the picture (1) and beyond; cut, then truncate.

    A factor of 1 gives the picture back exactly.
    """
    # The maximum, never taken, keeps the compiler from fusing product and sum into one rounding:
    # Pillow's two roundings decide which level is left after truncation.
    change = jnp.maximum(factor * (image - degenerate), -1e9)
    mixed = degenerate + change
    return jnp.floor(jnp.clip(mixed, 0.0, 255.0))


def brightness(image: Image, factor: Scalar) -> Image:
    """Blend with black: factor in [0, inf), 1 leaves the picture."""
    return blend(jnp.zeros((1, 1, 1), image.dtype), image, factor)


def contrast(image: Image, factor: Scalar) -> Image:
    """Blend with the mean grey level of the picture: factor in [0, inf), 1 leaves the picture."""
    return blend(mean_level(luma(image))[None, None, None], image, factor)


def saturation(image: Image, factor: Scalar) -> Image:
    """Blend with the grey picture: factor in [0, inf), 1 leaves it; pictures not RGB unchanged."""
    return blend(luma(image)[None], image, factor) if image.shape[0] == 3 else image


def greyscale(image: Image) -> Image:
    """Grey levels repeated in the three channels; a picture that is not RGB is left as it is."""
    return jnp.broadcast_to(luma(image)[None], image.shape) if image.shape[0] == 3 else image


def solarise(image: Image, threshold: Scalar = 128.0) -> Image:
    """Invert every level at or above the threshold; 256 leaves the picture."""
    return jnp.where(image >= threshold, 255.0 - image, image)


def hue(image: Image, shift: Scalar) -> Image:
    """Turn the hue by `shift` of the full circle, in [-0.5, 0.5], through 8-bit HSV and back.

    The way through HSV loses levels even at shift 0. The shift is cut to whole 255ths towards
    zero. A picture that is not RGB is left as it is, as torchvision leaves grey ones.
    """
    if image.shape[0] != 3:
        return image
    angle, purity, value = _to_hsv(image)
    turned = angle + jnp.trunc(shift * 255.0)
    return _to_rgb(turned - 256.0 * jnp.floor(turned / 256.0), purity, value)


def _to_hsv(image: Image) -> tuple[Array, Array, Array]:
    """Hue, saturation and value 0..255, each truncated as Pillow does."""
    red, green, blue = image
    high = jnp.maximum(jnp.maximum(red, green), blue)
    low = jnp.minimum(jnp.minimum(red, green), blue)
    spread = high - low
    middle = red + green + blue - high - low
    inverted = (high - middle) / jnp.maximum(spread, 1.0)
    # The hue in sixths: around 0 where red is highest, 2 green, 4 blue. Of the two other channels
    # one is the lowest, a whole step away from the highest, so a single rounding remains.
    is_red, is_green = red == high, green == high
    sector = jnp.where(is_red, 0.0, jnp.where(is_green, 2.0, 4.0))
    rising = jnp.where(is_red, blue <= green, jnp.where(is_green, red <= blue, green <= red))
    sixths = jnp.where(rising, sector + 1.0 - inverted, sector - 1.0 + inverted)
    # The comparison is always true. It hides the six from XLA, which turns division by a constant
    # into multiplication by its rounded inverse: the last bit differs, and truncation shows it.
    turn = sixths / jnp.where(spread >= 0, 6.0, 1.0)
    turn = jnp.where(turn < 0, turn + 1.0, turn)
    angle = jnp.where(spread > 0, jnp.floor(turn * 255.0), 0.0)
    return angle, jnp.floor(spread / jnp.maximum(high, 1.0) * 255.0), high


def _to_rgb(angle: Array, purity: Array, value: Array) -> Image:
    """RGB of 8-bit HSV: in every sixth one channel is the value, one the least, one between."""
    sector = jnp.floor((6.0 * angle + 0.5) * (1 / 255))
    along = (6.0 * angle - 255.0 * sector) / 255.0
    pure = purity / 255.0
    falling = sector - 2.0 * jnp.floor(sector * 0.5) == 1
    depth = pure * jnp.where(falling, along, 1.0 - along)
    between = jnp.floor(value - value * depth + 0.5)
    least = jnp.floor(value - value * pure + 0.5)
    # The three channels take the same turns, two sixths apart; the twelve keeps it positive.
    place = sector[None] + 12.0 - jnp.array([0.0, 2.0, 4.0])[:, None, None]
    place = place - 6.0 * jnp.floor((place + 0.5) * (1 / 6))
    is_value, is_least = (place == 0) | (place == 5), (place == 2) | (place == 3)
    return jnp.where(is_value, value[None], jnp.where(is_least, least[None], between[None]))
