"""Descriptions of images without weights, in the form of a network: what has to be beaten.

`pixels`: the image at no more than 32 pixels a side, less its mean; a patch at 4 x 4 pixels.
`colour`: joint histograms of the channels in six levels, of the image and of every patch.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dino_jax.config import UserError
from dino_jax.models.vit import Features
from dino_jax.types import Params

PATCH = 8
_SIDE = 32
_WITHIN = 4
_LEVELS = 6

Images = Float[Array, "batch height width channels"]


def pixels(
    params: Params,
    images: Images,
    *,
    blocks: int = 0,
    attention: bool = False,
    attention_block: int = -1,
) -> Features:
    """Raw pixels (values 0 to 1, sides multiples of 8): `cls` cosine ignores brightness."""
    _refuse(blocks, attention)
    del params, attention_block
    longest = max(images.shape[1:3])
    sides = [max(1, round(min(1, _SIDE / longest) * side)) for side in images.shape[1:3]]
    shape = (len(images), *sides, images.shape[3])
    small = jax.image.resize(images, shape, "cubic").reshape(len(images), -1)
    cut = _patches(images)
    cut = cut.reshape(*cut.shape[:2], _WITHIN, PATCH // _WITHIN, _WITHIN, PATCH // _WITHIN, -1)
    cut = cut.mean(axis=(3, 5)).reshape(*cut.shape[:2], -1)
    return Features(small - small.mean(axis=1, keepdims=True), cut)


def colour(
    params: Params,
    images: Images,
    *,
    blocks: int = 0,
    attention: bool = False,
    attention_block: int = -1,
) -> Features:
    """Square roots of joint colour histograms: their cosine is the Bhattacharyya coefficient."""
    _refuse(blocks, attention)
    del params, attention_block
    channels = min(images.shape[-1], 3)
    values = jnp.round(255 * images[..., :channels]).astype(jnp.int32)
    levels = values * _LEVELS // 256
    codes = (levels * (_LEVELS ** jnp.arange(channels))[None, None, None, :]).sum(axis=-1)
    cut = _patches(codes[..., None])[..., 0].reshape(len(images), -1, PATCH * PATCH)
    bins = _LEVELS**channels
    count = jax.vmap(jax.vmap(lambda each: jnp.bincount(each, length=bins)))(cut)
    shares = count / (PATCH * PATCH)
    return Features(jnp.sqrt(shares.mean(axis=1)), jnp.sqrt(shares))


TRIVIAL: dict[str, tuple[str, Callable[..., Features]]] = {
    "pixels": ("raw pixels", pixels),
    "colour": ("colour histogram", colour),
}
"""By spec: the title of the row, and the function."""


def _patches(images: Array) -> Array:
    """(batch, h w, PATCH, PATCH, channels), row by row; a remainder at the edges is left out."""
    height, width = (side // PATCH for side in images.shape[1:3])
    if not height or not width:
        raise UserError(f"images of {math.prod(images.shape[1:3])} pixels are smaller than a patch")
    cut = images[:, : height * PATCH, : width * PATCH]
    cut = cut.reshape(len(images), height, PATCH, width, PATCH, -1).swapaxes(2, 3)
    return cut.reshape(len(images), height * width, PATCH, PATCH, -1)


def _refuse(blocks: int, attention: bool) -> None:
    if blocks or attention:
        raise UserError("pixels and colour have no blocks and no attention: name a network")
