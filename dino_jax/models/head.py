"""The projection head (reference: `DINOHead`; paper section 3.1, ablations in appendix C)."""

import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from dino_jax.config import UserError
from dino_jax.models.gradients import gelu
from dino_jax.models.initial import DECLARED, HEAD_RULES, draw, fresh_stats
from dino_jax.models.layers import BatchNorm, Linear
from dino_jax.models.naming import flatten, unflatten
from dino_jax.types import Params, Prototypes, Stats

NORM_FLOOR = 1e-12


def l2_normalise(x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
    """Divide by max(‖x‖, 1e-12) along the last axis, float32; finite gradient at x = 0."""
    x = x.astype(jnp.float32)
    square = jnp.square(x).sum(axis=-1, keepdims=True)
    # Clamping the square, not the root: the derivative of the root at zero is infinite.
    return x * jax.lax.rsqrt(jnp.maximum(square, NORM_FLOOR**2))


def prototype_logits(
    embeddings: Float[Array, "*batch width"], prototypes: Prototypes
) -> Float[Array, "*batch prototypes"]:
    """x · (g v / ‖v‖)ᵀ without bias, float32 at highest precision, one norm per output row."""
    direction, scale = prototypes
    products = jax.lax.dot_general(
        embeddings.astype(jnp.float32),
        direction,
        (((embeddings.ndim - 1,), (1,)), ((), ())),
        precision=jax.lax.Precision.HIGHEST,
    )
    # The norm comes after the product: no second matrix of the weights' size is made. No epsilon,
    # as in the reference: the rows are never zero.
    factor = scale[:, 0] * jax.lax.rsqrt(jnp.square(direction).sum(axis=1))
    return products * jnp.broadcast_to(factor, products.shape)


class LastLayer(nn.Module):
    """The prototypes' parameters; no gradient reaches `weight_g` where its scale is frozen."""

    prototypes: int
    inputs: int
    frozen_scale: bool = True

    @nn.compact
    def __call__(self) -> Prototypes:
        """Read them, under the original's names."""
        scale = self.param("weight_g", DECLARED, (self.prototypes, 1), jnp.float32)
        shape = (self.prototypes, self.inputs)
        direction = self.param("weight_v", DECLARED, shape, jnp.float32)
        return Prototypes(direction, jax.lax.stop_gradient(scale) if self.frozen_scale else scale)


class _HeadMlp(nn.Module):
    """Linear [BN] GELU … Linear, numbered as in the original's `nn.Sequential`."""

    hidden: int
    bottleneck: int
    layers: int
    batch_norm: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch inputs"], *, train: bool
    ) -> Float[Array, "*batch bottleneck"]:
        stride = 3 if self.batch_norm else 2
        for layer in range(self.layers - 1):
            x = Linear(self.hidden, self.dtype, name=str(stride * layer))(x)
            if self.batch_norm:
                x = BatchNorm(name=str(stride * layer + 1))(x, train=train).astype(self.dtype)
            x = gelu(x)
        return Linear(self.bottleneck, self.dtype, name=str(stride * (self.layers - 1)))(x)


class _Head(nn.Module):
    """The MLP and the l2 bottleneck, and beside what comes out the last layer, not yet applied."""

    spec: "DINOHead"

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch inputs"], *, train: bool
    ) -> tuple[Float[Array, "*batch width"], Prototypes]:
        spec = self.spec
        if spec.layers == 1:
            x = Linear(spec.bottleneck, spec.dtype, name="mlp")(x)
        else:
            mlp = _HeadMlp(
                spec.hidden, spec.bottleneck, spec.layers, spec.batch_norm, spec.dtype, name="mlp"
            )
            x = mlp(x, train=train)
        last = LastLayer(spec.prototypes, spec.bottleneck, spec.norm_last_layer, name="last_layer")
        return l2_normalise(x), last()


@dataclasses.dataclass(frozen=True)
class DINOHead:
    """The head as pure functions over flat parameters, for any backbone of `inputs` features.

    `layers` counts the MLP's linear layers (the paper's count is one more: the last layer).
    Parameters are named as in the original: `mlp.0.weight`, …, `last_layer.weight_g`, `weight_v`.
    """

    inputs: int
    prototypes: int = 65536
    hidden: int = 2048
    bottleneck: int = 256
    layers: int = 3
    norm_last_layer: bool = True
    batch_norm: bool = False
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        """Refuse sizes that make no head."""
        for name in ("inputs", "prototypes", "hidden", "bottleneck", "layers"):
            if getattr(self, name) < 1:
                raise UserError(f"head.{name} is {getattr(self, name)}: expected 1 or more")

    def init(self, key: Key[Array, ""]) -> tuple[Params, Stats]:
        """Fresh parameters and batch statistics (empty without batch normalisation)."""
        sample = jax.ShapeDtypeStruct((2, self.inputs), jnp.float32)
        declared = jax.eval_shape(partial(_Head(self).init, train=False), key, sample)
        params = draw(key, flatten(declared["params"]), HEAD_RULES)
        return params, fresh_stats(flatten(declared.get("batch_stats", {})))

    def embed(
        self,
        params: Params,
        stats: Stats,
        features: Float[Array, "*batch inputs"],
        *,
        train: bool = True,
    ) -> tuple[Float[Array, "*batch bottleneck"], Prototypes, Stats]:
        """What the last layer is given, of length 1, and that layer, for a loss that streams it.

        Also the new batch statistics; `train` matters to those alone.
        """
        variables = {"params": unflatten(params), "batch_stats": unflatten(stats)}
        (embeddings, prototypes), changed = _Head(self).apply(
            variables, features, train=train, mutable=["batch_stats"]
        )
        return embeddings, prototypes, flatten(changed.get("batch_stats", {}))

    def apply(
        self,
        params: Params,
        stats: Stats,
        features: Float[Array, "*batch inputs"],
        *,
        train: bool = True,
    ) -> tuple[Float[Array, "*batch prototypes"], Stats]:
        """Logits (float32) and the new batch statistics; `train` matters to those alone."""
        embeddings, prototypes, changed = self.embed(params, stats, features, train=train)
        return prototype_logits(embeddings, prototypes), changed
