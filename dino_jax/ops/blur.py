"""Gaussian blur as Pillow makes it: three box filters of fractional width along each axis.

Pillow's `radius` is the standard deviation in pixels. Each pass rounds to whole grey levels, and
levels outside the picture are those of its border. The box width follows Gwosdek et al. 2011
("Theoretical foundations of Gaussian convolution by extended box filtering"), weights are 24-bit
fixed point, so integer arithmetic gives Pillow's levels exactly.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

from dino_jax.ops.colour import Image, Scalar

_PASSES = 3
_ONE = 1 << 24


def gaussian_blur(image: Image, radius: Scalar, *, max_radius: float) -> Image:
    """Blur with a standard deviation of `radius` pixels, 0 <= radius <= max_radius; 0 is identity.

    `max_radius` is static: it sets the number of taps, so that the radius may be data.
    """
    weights = _box_weights(jnp.asarray(radius, jnp.float32), reach=_reach(max_radius))
    levels = image.astype(jnp.uint8)
    for axis in (2, 1):
        for _ in range(_PASSES):
            levels = _box(levels, weights, axis=axis)
    return levels.astype(image.dtype)


def _reach(radius: float) -> int:
    """How many pixels to each side the box of this standard deviation touches."""
    return math.floor((math.sqrt(12.0 * radius * radius / _PASSES + 1.0) - 1.0) / 2.0) + 1


def _box_weights(radius: Float[Array, ""], *, reach: int) -> Int[Array, "taps"]:
    """Weights of the box at distance 0, 1, ..., reach, in 24-bit fixed point."""
    # Pillow divides in float32 and truncates its weights, so one bit may show. The comparison is
    # always true; it keeps the compiler from multiplying by the rounded inverse of the constant.
    variance = radius * radius / jnp.where(radius >= 0, float(_PASSES), 1.0)
    whole = jnp.floor((jnp.sqrt(12.0 * variance + 1.0) - 1.0) / 2.0)
    part = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance)
    part = part / (6.0 * (variance - (whole + 1.0) * (whole + 1.0)))
    inner = (_ONE / ((whole + part) * 2.0 + 1.0)).astype(jnp.int32)
    whole = jnp.floor(whole + part).astype(jnp.int32)
    outer = (_ONE - (2 * whole + 1) * inner) // 2
    distance = jnp.arange(reach + 1)
    return jnp.where(distance <= whole, inner, jnp.where(distance == whole + 1, outer, 0))


def _box(
    levels: UInt8[Array, "channels height width"], weights: Int[Array, "taps"], *, axis: int
) -> UInt8[Array, "channels height width"]:
    """One pass along one axis. The sum needs all 32 bits unsigned, hence the logical shift."""
    reach, length = weights.shape[0] - 1, levels.shape[axis]
    margin = [(reach, reach) if i == axis else (0, 0) for i in range(levels.ndim)]
    # Without the barrier the compiler merges the passes and makes each of them many times over.
    padded = jax.lax.optimization_barrier(jnp.pad(levels, margin, mode="edge"))

    def shifted(offset: int) -> Int[Array, "channels height width"]:
        window = jax.lax.slice_in_dim(padded, reach + offset, reach + offset + length, axis=axis)
        return window.astype(jnp.int32)

    total = weights[0] * shifted(0) + (_ONE >> 1)
    for distance in range(1, reach + 1):
        total = total + weights[distance] * (shifted(-distance) + shifted(distance))
    return jax.lax.shift_right_logical(total, jnp.full_like(total, 24)).astype(jnp.uint8)
