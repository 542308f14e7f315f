"""The layers and the two kinds of block of XCiT (reference: `xcit.py`, facebookresearch/xcit)."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from dino_jax.models.attention import attend, attention_map
from dino_jax.models.block import Mlp
from dino_jax.models.gradients import affine, gelu, residual
from dino_jax.models.head import l2_normalise
from dino_jax.models.initial import DECLARED
from dino_jax.models.layers import BatchNorm, LayerNorm, Linear

Grid = tuple[int, int]
"""Rows and columns of a map of tokens."""


def depthwise(
    x: Float[Array, "batch rows columns width"],
    weight: Float[Array, "width 1 3 3"],
    bias: Float[Array, "width"],
) -> Float[Array, "batch rows columns width"]:
    """Every channel convolved by its own 3×3 kernel, zeros around the map; sums are float32.

    Nine shifted products: XLA:CPU takes 13 to 19 times as long over its grouped convolution, and
    5 to 10 times over the gradients of that.
    """
    rows, columns = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))).astype(jnp.float32)
    total = jnp.broadcast_to(bias.astype(jnp.float32), x.shape)
    for i in range(3):
        for j in range(3):
            tap = jnp.broadcast_to(weight[:, 0, i, j].astype(jnp.float32), x.shape)
            total = total + padded[:, i : i + rows, j : j + columns] * tap
    return total.astype(x.dtype)


class Depthwise(nn.Module):
    """A depthwise 3×3 convolution with bias, weight (width, 1, 3, 3), computed in `dtype`."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch rows columns width"]
    ) -> Float[Array, "batch rows columns width"]:
        """Mix every token with its eight neighbours, channel by channel."""
        width = x.shape[-1]
        weight = self.param("weight", DECLARED, (width, 1, 3, 3), jnp.float32)
        bias = self.param("bias", DECLARED, (width,), jnp.float32)
        return depthwise(x.astype(self.dtype), weight.astype(self.dtype), bias.astype(self.dtype))


class LocalInteraction(nn.Module):
    """Two depthwise convolutions over the map of tokens, GELU and then batch norm between them."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch tokens width"], grid: Grid, *, train: bool
    ) -> Float[Array, "batch tokens width"]:
        """Let neighbouring tokens interact (reference: `LPI`); tokens lie row by row."""
        y = x.reshape(x.shape[0], *grid, x.shape[-1])
        y = gelu(Depthwise(self.dtype, name="conv1")(y))
        y = BatchNorm(name="bn")(y, train=train)
        return Depthwise(self.dtype, name="conv2")(y).reshape(x.shape)


class CrossCovarianceAttention(nn.Module):
    """Attention between the channels of a head, over all tokens (reference: `XCA`)."""

    heads: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "batch tokens width"]) -> Float[Array, "batch tokens width"]:
        """Mix channels by the similarity of their values along the tokens.

        Queries and keys are normalised along the tokens, in float32; a temperature multiplies.
        """
        batch, tokens, width = x.shape
        temperature = self.param("temperature", DECLARED, (self.heads, 1, 1), jnp.float32)
        qkv = Linear(3 * width, self.dtype, name="qkv")(x)
        # (batch, heads, channels, tokens): the channels are what attends, the tokens are summed.
        shape = (batch, tokens, self.heads, width // self.heads)
        query, key, value = (
            part.reshape(shape).transpose(0, 2, 3, 1) for part in jnp.split(qkv, 3, axis=-1)
        )
        query, key = l2_normalise(query), l2_normalise(key)
        query = query * jnp.broadcast_to(temperature, query.shape)
        mixed = attend(query.astype(self.dtype), key.astype(self.dtype), value)
        mixed = mixed.transpose(0, 3, 1, 2).reshape(x.shape)
        return Linear(width, self.dtype, name="proj")(mixed)


class Block(nn.Module):
    """Channel attention, local interaction, MLP; the residual stream stays float32."""

    heads: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        grid: Grid,
        factors: Float[Array, "3 batch"] | None = None,
        *,
        train: bool,
    ) -> Float[Array, "batch tokens width"]:
        """Add the three branches (reference: `XCABlock`).

        `factors` are those of the drop path in the order of the branches: attention (gamma1),
        local interaction (gamma3), MLP (gamma2).
        """
        width = x.shape[-1]

        def add(x: Array, branch: Array, number: int, which: int) -> Array:
            scale = self.param(f"gamma{number}", DECLARED, (width,), jnp.float32)
            branch = branch.astype(jnp.float32) * jnp.broadcast_to(scale, x.shape)
            if factors is not None:
                branch = branch * factors[which][:, None, None]
            return residual(x + branch)

        attention = CrossCovarianceAttention(self.heads, self.dtype, name="attn")
        x = add(x, attention(LayerNorm(name="norm1")(x)), 1, 0)
        local = LocalInteraction(self.dtype, name="local_mp")
        x = add(x, local(LayerNorm(name="norm3")(x), grid, train=train), 3, 1)
        mlp = Mlp(4 * width, self.dtype, name="mlp")
        return add(x, mlp(LayerNorm(name="norm2")(x)), 2, 2)


class _QueryOfOne(nn.Module):
    """The fused projection of queries, keys and values, its queries for the first token alone."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "batch tokens width"]) -> tuple[Array, Array, Array]:
        """Query (batch, 1, width), keys and values (batch, tokens, width)."""
        width = x.shape[-1]
        weight = self.param("weight", DECLARED, (3 * width, width), jnp.float32)
        bias = self.param("bias", DECLARED, (3 * width,), jnp.float32)
        x, weight, bias = (leaf.astype(self.dtype) for leaf in (x, weight, bias))
        query = affine(x[:, :1], weight[:width], bias[:width])
        key, value = jnp.split(affine(x, weight[width:], bias[width:]), 2, axis=-1)
        return query, key, value


class ClassAttention(nn.Module):
    """Attention in which only the class token, the first, asks (reference: `ClassAttention`)."""

    heads: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch tokens width"], *, return_map: bool = False
    ) -> tuple[Float[Array, "batch 1 width"], Float[Array, "batch heads 1 tokens"] | None]:
        """The class token of what all tokens hold, and the map if asked for (float32)."""
        batch, _, width = x.shape
        query, key, value = (
            part.reshape(batch, -1, self.heads, width // self.heads).swapaxes(1, 2)
            for part in _QueryOfOne(self.dtype, name="qkv")(x)
        )
        query = query * (width // self.heads) ** -0.5
        mixed = attend(query, key, value).swapaxes(1, 2).reshape(batch, 1, width)
        attention = attention_map(query, key) if return_map else None
        return Linear(width, self.dtype, name="proj")(mixed), attention


class ClassBlock(nn.Module):
    """Class attention and an MLP on the class token (reference: `ClassAttentionBlock`).

    The patch tokens are no bystanders: normalised, they are added to themselves, normalised again
    (where `tokens_norm`) and doubled. No drop path.
    """

    heads: int
    tokens_norm: bool = True
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        *,
        cls_only: bool = False,
        return_map: bool = False,
    ) -> tuple[Float[Array, "batch out_tokens width"], Float[Array, "batch heads 1 tokens"] | None]:
        """All tokens, or with `cls_only` the class token alone, the same as if all came out."""
        width = x.shape[-1]
        scales = [
            self.param(f"gamma{number}", DECLARED, (width,), jnp.float32) for number in (1, 2)
        ]

        def scaled(which: int, branch: Array) -> Array:
            return branch.astype(jnp.float32) * jnp.broadcast_to(scales[which], branch.shape)

        normed = LayerNorm(name="norm1")(x)
        attention = ClassAttention(self.heads, self.dtype, name="attn")
        cls, found = attention(normed, return_map=return_map)
        norm2, mlp = LayerNorm(name="norm2"), Mlp(4 * width, self.dtype, name="mlp")
        # The residual of what follows is the normalised token, not the one before norm2.
        cls = norm2(x[:, :1] + scaled(0, cls))
        cls = cls + scaled(1, mlp(cls))
        if cls_only:
            return cls, found
        patches = x[:, 1:] + scaled(0, normed[:, 1:])
        if self.tokens_norm:
            patches = norm2(patches)
        return jnp.concatenate([cls, patches + patches], axis=1), found
