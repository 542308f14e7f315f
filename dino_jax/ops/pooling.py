"""One descriptor of many: generalised means of patch tokens, and means over scales of an image."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

SCALES = (1.0, 1 / math.sqrt(2), 0.5)
"""The scales of multi-scale descriptors (reference: utils.py `multi_scale`)."""
GEM_POWER = 4.0
GEM_LEAST = 1e-6


def gem(
    patches: Float[Array, "batch patches width"],
    *,
    power: float = GEM_POWER,
    least: float = GEM_LEAST,
) -> Float[Array, "batch width"]:
    """The generalised mean of the patch tokens: (mean of x^power)^(1/power), per dimension.

    What is below `least` counts as `least`: the power is one of positive numbers only (reference:
    eval_copy_detection.py; Radenović et al. 2018, section 3.2).
    """
    kept = jnp.maximum(patches.astype(jnp.float32), least)
    return jnp.mean(kept**power, axis=1) ** (1 / power)


def shrunk(
    images: Float[Array, "batch height width channels"], scale: float
) -> Float[Array, "batch h w channels"]:
    """Images at `scale` times their size, rounded down, by bilinear weights, not antialiased.

    The coordinates are those of the scale itself and not of the rounded size, as torch's
    `interpolate` has them where it is given a scale factor.
    """
    if scale == 1:
        return images
    down, across = (_weights(side, scale) for side in images.shape[1:3])
    return jnp.einsum(  # h, w of the new size; i, j of the old; c channels
        "hi,wj,bijc->bhwc", down, across, images, precision=jax.lax.Precision.HIGHEST
    )


def multi_scale(
    features: Callable[[Array], Array],
    images: Float[Array, "batch height width channels"],
    *,
    scales: Sequence[float] = SCALES,
) -> Float[Array, "batch features"]:
    """The mean of the `features` (batch, D) of an image at each scale, over its norm."""
    total = sum(features(shrunk(images, scale)) for scale in scales) / len(scales)
    return total / jnp.linalg.norm(total, axis=1, keepdims=True)


def _weights(source: int, scale: float) -> Float[np.ndarray, "target source"]:
    target = max(1, math.floor(source * scale))
    position = np.maximum((np.arange(target) + 0.5) / scale - 0.5, 0)
    first = np.minimum(position.astype(np.int64), source - 1)
    matrix = np.zeros((target, source))
    np.add.at(matrix, (np.arange(target), first), 1 - (position - first))
    np.add.at(matrix, (np.arange(target), np.minimum(first + 1, source - 1)), position - first)
    return matrix.astype(np.float32)
