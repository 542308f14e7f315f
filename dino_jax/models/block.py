"""A block of the vision transformer (reference: `vision_transformer.py`)."""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from dino_jax.models.attention import attention_map
from dino_jax.models.attention_gpu import attend_by
from dino_jax.models.gradients import gelu, residual
from dino_jax.models.layers import LayerNorm, Linear


class Shown(NamedTuple):
    """What one block's attention was asked to show, float32."""

    map: Float[Array, "batch heads queries tokens"] | None = None
    projections: Float[Array, "batch 2 heads tokens channels"] | None = None


class Attention(nn.Module):
    """Multi-head self-attention with one fused projection to queries, keys and values."""

    heads: int
    dtype: DTypeLike = jnp.float32
    implementation: str = "auto"

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        *,
        asking: int | None = None,
        return_map: bool = False,
        return_projections: bool = False,
    ) -> tuple[Float[Array, "batch queries width"], Shown]:
        """The mixed tokens, the first `asking` of them or all, and what is asked to be shown.

        Every token answers, whoever asks.
        """
        batch, tokens, width = x.shape
        qkv = Linear(3 * width, self.dtype, name="qkv")(x)
        shape = (batch, tokens, self.heads, width // self.heads)
        # Split before the axes move: the gradient then is joined once, by one concatenation.
        query, key, value = (
            part.reshape(shape).swapaxes(1, 2) for part in jnp.split(qkv, 3, axis=-1)
        )
        query = query[:, :, :asking] * (width // self.heads) ** -0.5
        mixed = attend_by(self.implementation, query, key, value)
        mixed = mixed.swapaxes(1, 2).reshape(batch, -1, width)
        shown = Shown(
            attention_map(query, key) if return_map else None,
            jnp.stack([query, key], axis=1).astype(jnp.float32) if return_projections else None,
        )
        return Linear(width, self.dtype, name="proj")(mixed), shown


class Mlp(nn.Module):
    """Two linear layers with an exact (erf) GELU between them."""

    hidden: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "batch tokens width"]) -> Float[Array, "batch tokens width"]:
        """Transform every token on its own."""
        hidden = Linear(self.hidden, self.dtype, name="fc1")(x)
        hidden = gelu(hidden)
        return Linear(x.shape[-1], self.dtype, name="fc2")(hidden)


class Block(nn.Module):
    """A pre-norm transformer block; the residual stream stays float32 whatever `dtype`."""

    heads: int
    dtype: DTypeLike = jnp.float32
    attention: str = "auto"
    mlp_ratio: int = 4

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        factors: Float[Array, "2 batch"] | None = None,
        *,
        asking: int | None = None,
        **showing: bool,
    ) -> tuple[Float[Array, "batch queries width"], Shown]:
        """Add both branches, each times its drop path factor per sample where given.

        With `asking` only so many leading tokens come out, the same as if all did. `showing` is
        that of `Attention`.
        """

        def add(x: Array, branch: Array, which: int) -> Array:
            branch = branch.astype(jnp.float32)
            if factors is not None:
                branch = branch * factors[which][:, None, None]
            return residual(x + branch)

        attention = Attention(self.heads, self.dtype, self.attention, name="attn")
        mixed, shown = attention(LayerNorm(name="norm1")(x), asking=asking, **showing)
        x = add(x[:, :asking], mixed, 0)
        mlp = Mlp(self.mlp_ratio * x.shape[-1], self.dtype, name="mlp")
        return add(x, mlp(LayerNorm(name="norm2")(x)), 1), shown
