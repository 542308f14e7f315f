"""Position embeddings at any resolution, interpolated exactly as the reference does.

PyTorch's bicubic kernel has a = −0.75 and clamps at the border; `jax.image.resize` has a = −0.5,
renormalises there and antialiases by default. The reference further passes scale factors of
(n + 0.1) / grid, so its 0.1 enters the coordinates and not only the output size.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dino_jax.config import UserError

CUBIC_A = -0.75
SIZE_OFFSET = 0.1


def _cubic(distance: np.ndarray) -> np.ndarray:
    """The cubic convolution kernel of Keys (1981) with a = −0.75, zero beyond a distance of 2."""
    a, d = CUBIC_A, np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def interpolation_matrix(source: int, target: int) -> Float[np.ndarray, "target source"]:
    """Weights (float64) that take `source` grid points to `target` ones along one axis."""
    scale = (target + SIZE_OFFSET) / source
    position = (np.arange(target) + 0.5) / scale - 0.5
    first = np.floor(position).astype(int)
    matrix = np.zeros((target, source))
    for tap in range(-1, 3):
        index = first + tap
        weight = _cubic(position - index)
        np.add.at(matrix, (np.arange(target), np.clip(index, 0, source - 1)), weight)
    return matrix


def interpolate(
    pos_embed: Float[Array, "1 tokens width"],
    height: int,
    width: int,
    patch_size: int,
    *,
    baked: tuple[int, int] | None = None,
) -> Float[Array, "1 new_tokens width"]:
    """The position embedding for an image of `height` × `width` pixels, float32, differentiable.

    The class token's embedding is kept. As in the reference (`interpolate_pos_encoding`), it is
    left untouched only where the image is square **and** has the native number of patches.
    `baked` says that the table is that of images of these (height, width) pixels, not square: it
    is returned for them, and there is no other size it could be taken to.

    Raises:
        UserError: another size than that of a table that is not square.
    """
    rows, columns = height // patch_size, width // patch_size
    if baked is not None:
        if (rows, columns) != (baked[0] // patch_size, baked[1] // patch_size):
            raise UserError(
                f"an image of {height}x{width} pixels: the positions of this network are those of "
                f"{baked[0]}x{baked[1]} alone, since only a square table can be interpolated; "
                "give images of that size, or the weights that it was exported from"
            )
        return pos_embed
    native = pos_embed.shape[1] - 1
    if rows * columns == native and height == width:
        return pos_embed
    grid = math.isqrt(native)
    down = jnp.asarray(interpolation_matrix(grid, rows), jnp.float32)
    across = jnp.asarray(interpolation_matrix(grid, columns), jnp.float32)
    patches = pos_embed[0, 1:].astype(jnp.float32).reshape(grid, grid, -1)
    resized = jnp.einsum(  # r rows, c columns of the new grid; i, j of the old; d width
        "ri,cj,ijd->rcd", down, across, patches, precision=jax.lax.Precision.HIGHEST
    )
    return jnp.concatenate([pos_embed[:, :1], resized.reshape(1, rows * columns, -1)], axis=1)
