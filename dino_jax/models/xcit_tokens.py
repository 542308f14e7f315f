"""From an image to XCiT's first tokens: the convolutional stem and the positions."""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from dino_jax.models.gradients import affine, gelu, matmul_precision
from dino_jax.models.initial import DECLARED
from dino_jax.models.layers import BatchNorm
from dino_jax.models.xcit_blocks import Grid

STEM_DIVISORS = {8: (4, 2, 1), 16: (8, 4, 2, 1)}
"""By patch size, what the width is divided by to give that of each convolution of the stem."""

FREQUENCIES = 32
"""Numbers of each coordinate in the positional encoding (reference: `hidden_dim`)."""


def fourier_table(rows: int, columns: int) -> Float[np.ndarray, "positions 64"]:
    """Sines and cosines of the position of every token, row by row; float32, as the original.

    Positions count from 1 and are divided by their number, so the table spans (0, 2π] each way
    whatever the size; y comes before x (reference: `PositionalEncodingFourier`).
    """
    number = np.arange(FREQUENCIES, dtype=np.float32)
    periods = np.float32(10000) ** (2 * (number // 2) / np.float32(FREQUENCIES))

    def encoded(count: int) -> np.ndarray:
        position = np.arange(1, count + 1, dtype=np.float32)
        position = position / (position[-1] + np.float32(1e-6)) * np.float32(2 * math.pi)
        angles = position[:, None] / periods
        return np.where(number % 2 == 0, np.sin(angles), np.cos(angles))

    table = np.empty((rows, columns, 2 * FREQUENCIES), np.float32)
    table[..., :FREQUENCIES] = encoded(rows)[:, None]
    table[..., FREQUENCIES:] = encoded(columns)[None]
    return table.reshape(rows * columns, -1)


class TokenProjection(nn.Module):
    """A 1×1 convolution with bias, weight (width, inputs, 1, 1), float32."""

    width: int

    @nn.compact
    def __call__(self, x: Float[Array, "tokens inputs"]) -> Float[Array, "tokens width"]:
        """Map every position on its own."""
        shape = (self.width, x.shape[-1], 1, 1)
        weight = self.param("weight", DECLARED, shape, jnp.float32)
        bias = self.param("bias", DECLARED, (self.width,), jnp.float32)
        return affine(x, weight[:, :, 0, 0], bias)


class PositionalEncoding(nn.Module):
    """What is added to the patches: their Fourier table, projected."""

    width: int

    @nn.compact
    def __call__(self, grid: Grid) -> Float[Array, "tokens width"]:
        """The encoding of every position of `grid`, row by row."""
        table = jnp.asarray(fourier_table(*grid))
        return TokenProjection(self.width, name="token_projection")(table)


def _convolve(x: Array, weight: Array, kind: DTypeLike) -> Array:
    return jax.lax.conv_general_dilated(
        x,
        weight,
        (2, 2),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "OIHW", "NHWC"),
        precision=matmul_precision(x.dtype),
        preferred_element_type=kind,
    )


@jax.custom_vjp
def halving(
    x: Float[Array, "batch height width inputs"], weight: Float[Array, "outputs inputs 3 3"]
) -> Float[Array, "batch rows columns outputs"]:
    """A 3×3 convolution, stride 2, one pixel of zeros around; its sums come out as float32.

    The gradient is written out because JAX has none for sums of another type than the factors.
    """
    return _convolve(x, weight, jnp.float32)


def _halving_backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    own = partial(_convolve, kind=kept[0].dtype)
    return jax.vjp(own, *kept)[1](gradient.astype(kept[0].dtype))


halving.defvjp(lambda x, weight: (halving(x, weight), (x, weight)), _halving_backward)


class Convolution(nn.Module):
    """The stem's convolution, factors in `dtype`, without bias; weight (out, in, 3, 3)."""

    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch rows columns features"]:
        """A map of half the height and width, rounded up; float32."""
        shape = (self.width, x.shape[-1], 3, 3)
        weight = self.param("weight", DECLARED, shape, jnp.float32)
        return halving(x.astype(self.dtype), weight.astype(self.dtype))


class StemConvolution(nn.Module):
    """A 3×3 convolution of stride 2 and its batch norm, numbered as in `nn.Sequential`."""

    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], *, train: bool
    ) -> Float[Array, "batch rows columns features"]:
        """A map of half the height and width, rounded up; float32."""
        return BatchNorm(name="1")(Convolution(self.width, self.dtype, name="0")(x), train=train)


class Stem(nn.Module):
    """The convolutions that make patches, an exact GELU between them, none at the end."""

    width: int
    patch_size: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], *, train: bool
    ) -> Float[Array, "batch rows columns features"]:
        """One position per patch, those at the right and lower edge begun rather than whole."""
        for index, divisor in enumerate(STEM_DIVISORS[self.patch_size]):
            if index:
                x = gelu(x)
            name = str(2 * index)
            x = StemConvolution(self.width // divisor, self.dtype, name=name)(x, train=train)
        return x


class PatchEmbed(nn.Module):
    """The stem under the original's name."""

    width: int
    patch_size: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, train: bool
    ) -> Float[Array, "batch rows columns features"]:
        """A map of ceil(height / patch_size) × ceil(width / patch_size) tokens, float32."""
        return Stem(self.width, self.patch_size, self.dtype, name="proj")(images, train=train)
