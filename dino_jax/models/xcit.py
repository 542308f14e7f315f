"""The cross-covariance image transformer, XCiT, as DINO trains it (reference: `xcit.py`)."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from dino_jax.config import UserError
from dino_jax.models.gradients import affine, gelu
from dino_jax.models.initial import DECLARED
from dino_jax.models.layers import BatchNorm, LayerNorm
from dino_jax.models.vit import Features
from dino_jax.models.xcit_blocks import Block, ClassBlock, Grid

CLASS_BLOCKS = 2
"""Class-attention blocks after the trunk: those that see a class token."""

STEM_DIVISORS = {8: (4, 2, 1), 16: (8, 4, 2, 1)}
"""By patch size, what the width is divided by to give that of each convolution of the stem."""

FREQUENCIES = 32
"""Numbers of each coordinate in the positional encoding (reference: `hidden_dim`)."""


def drop_path_factors(
    keys: Key[Array, "batch"], rate: float, depth: int
) -> Float[Array, "depth 3 batch"]:
    """Multipliers of the three branches of every trunk block: 0, or 1 / (1 − `rate`).

    The rate is the same in all blocks (xcit.py:340). Every draw is a function of the sample's own
    key, independent of what else is in the batch.
    """
    draws = jax.vmap(lambda key: jax.random.uniform(key, (depth, 3)))(keys).transpose(1, 2, 0)
    return jnp.where(draws >= rate, 1 / (1 - rate), 0.0)


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


class Convolution(nn.Module):
    """3×3, stride 2, one pixel of zeros around, no bias; weight (out, in, 3, 3)."""

    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch rows columns features"]:
        """The convolution, computed in `dtype`."""
        shape = (self.width, x.shape[-1], 3, 3)
        weight = self.param("weight", DECLARED, shape, jnp.float32)
        return jax.lax.conv_general_dilated(
            x.astype(self.dtype),
            weight.astype(self.dtype),
            (2, 2),
            ((1, 1), (1, 1)),
            dimension_numbers=("NHWC", "OIHW", "NHWC"),
            precision=jax.lax.Precision.HIGHEST,
        )


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


class Trunk(nn.Module):
    """The blocks without a class token, one after the other."""

    depth: int
    heads: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        grid: Grid,
        factors: Float[Array, "depth 3 batch"] | None,
        *,
        train: bool,
    ) -> Float[Array, "batch tokens width"]:
        """The patch tokens after the last block."""
        for index in range(self.depth):
            own = None if factors is None else factors[index]
            x = Block(self.heads, self.dtype, name=str(index))(x, grid, own, train=train)
        return x


class ClassBlocks(nn.Module):
    """The two blocks in which a class token gathers what the patches hold."""

    heads: int
    tokens_norm: bool = True
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch tokens width"], *, map_of: int | None, cls_only: bool
    ) -> tuple[list[Array], Float[Array, "batch heads 1 tokens"] | None]:
        """Every block's output, the last one's cut to the class token, and one block's map."""
        outputs, attention = [], None
        for index in range(CLASS_BLOCKS):
            block = ClassBlock(self.heads, self.tokens_norm, self.dtype, name=str(index))
            last = cls_only and index == CLASS_BLOCKS - 1
            x, found = block(x, cls_only=last, return_map=index == map_of)
            attention = attention if found is None else found
            outputs.append(x)
        return outputs, attention


class XCiT(nn.Module):
    """Convolutional patches, `depth` blocks of channel attention, two class-attention blocks.

    `layer_scale` is the initial value of every gamma; the forward pass does not read it.
    `tokens_norm` is False in the original's nano networks alone.
    """

    width: int
    depth: int
    heads: int
    patch_size: int
    layer_scale: float = 1.0
    dtype: DTypeLike = jnp.float32
    tokens_norm: bool = True

    def setup(self) -> None:
        """Declare the parameters under the original's names."""
        self.cls_token = self.param("cls_token", DECLARED, (1, 1, self.width), jnp.float32)
        self.patch_embed = PatchEmbed(self.width, self.patch_size, self.dtype)
        self.pos_embeder = PositionalEncoding(self.width)
        self.blocks = Trunk(self.depth, self.heads, self.dtype)
        self.cls_attn_blocks = ClassBlocks(self.heads, self.tokens_norm, self.dtype)
        self.norm = LayerNorm()

    def __call__(
        self,
        images: Float[Array, "batch height width channels"],
        factors: Float[Array, "depth 3 batch"] | None = None,
        *,
        train: bool,
        blocks: int = 0,
        map_of: int | None = None,
        cls_only: bool = False,
    ) -> Features:
        """Encode normalised images of any size; `train` normalises by their own statistics.

        Only the class-attention blocks have a class token. So the attention is that of class block
        `map_of`, 0 or 1: shape (batch, heads, 1, tokens), the class token's row over itself and
        all patches; and `blocks`, at most 2, counts class-attention blocks. With `cls_only` there
        are no patches, and the last block computes the class token alone, which is the same.
        """
        if not 0 <= blocks <= CLASS_BLOCKS or map_of not in (None, *range(CLASS_BLOCKS)):
            raise UserError(
                f"blocks={blocks}, attention of block {map_of}: an XCiT has {CLASS_BLOCKS} "
                "blocks with a class token"
            )
        map_ = self.patch_embed(images, train=train)
        batch, *grid, width = map_.shape
        rows, columns = grid
        x = map_.reshape(batch, rows * columns, width)
        x = x + jnp.broadcast_to(self.pos_embeder((rows, columns)), x.shape)
        x = self.blocks(x, (rows, columns), factors, train=train)
        cls = jnp.broadcast_to(self.cls_token, (batch, 1, width))
        x = jnp.concatenate([cls, x], axis=1)
        outputs, attention = self.cls_attn_blocks(x, map_of=map_of, cls_only=cls_only)
        normed = tuple(self.norm(output) for output in outputs[-max(blocks, 1) :])
        last = normed[-1]
        return Features(last[:, 0], last[:, 1:], attention, normed if blocks else ())
