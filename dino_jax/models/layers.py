"""The few layers everything is made of, with the original's parameter names and layouts."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from dino_jax.config import UserError
from dino_jax.models.gradients import affine, batch_norm, layer_norm
from dino_jax.models.initial import DECLARED
from dino_jax.models.remat import product


class Linear(nn.Module):
    """x Wᵀ + b with W of shape (out, in), computed in `dtype`; parameters stay float32."""

    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        """Map the last axis from `inputs` to `features` entries."""
        shape = (self.features, x.shape[-1])
        weight = self.param("weight", DECLARED, shape, jnp.float32)
        bias = self.param("bias", DECLARED, (self.features,), jnp.float32)
        x, weight, bias = (leaf.astype(self.dtype) for leaf in (x, weight, bias))
        return product(affine(x, weight, bias))


class LayerNorm(nn.Module):
    """Layer normalisation over the last axis, float32, epsilon 1e-6 (reference: `norm_layer`)."""

    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
        """Normalise with the two-pass variance: E[x²] − E[x]² cancels in float32."""
        width = x.shape[-1]
        weight = self.param("weight", DECLARED, (width,), jnp.float32)
        bias = self.param("bias", DECLARED, (width,), jnp.float32)
        return layer_norm(x.astype(jnp.float32), weight, bias, self.epsilon)


class PatchProjection(nn.Module):
    """The patch convolution (stride = kernel, no padding), weight (out, in, kh, kw)."""

    features: int
    patch_size: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch tokens features"]:
        """Tokens in row-major order; rows and columns beyond the last whole patch are dropped."""
        size, channels = self.patch_size, images.shape[-1]
        shape = (self.features, channels, size, size)
        weight = self.param("weight", DECLARED, shape, jnp.float32)
        bias = self.param("bias", DECLARED, (self.features,), jnp.float32)
        rows, columns = images.shape[1] // size, images.shape[2] // size
        x = images[:, : rows * size, : columns * size].astype(self.dtype)
        x = x.reshape(-1, rows, size, columns, size, channels)
        x = x.transpose(0, 1, 3, 2, 4, 5).reshape(-1, rows * columns, size * size * channels)
        # One matrix product: on CPU several times faster than the convolution, backwards above all.
        kernel = weight.transpose(0, 2, 3, 1).reshape(self.features, -1).astype(self.dtype)
        return affine(x, kernel, bias.astype(self.dtype))


class BatchNorm(nn.Module):
    """Batch normalisation over every axis but the last, as `torch.nn.BatchNorm2d` does it.

    Float32; epsilon 1e-5, momentum 0.1, the running variance unbiased. Under `jit` over a
    sharded batch the statistics are those of the whole batch (the reference's SyncBN).
    """

    epsilon: float = 1e-5
    momentum: float = 0.1

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch width"], *, train: bool
    ) -> Float[Array, "*batch width"]:
        """Normalise by the statistics of the batch (`train`) or by the running ones."""
        width = x.shape[-1]
        weight = self.param("weight", DECLARED, (width,), jnp.float32)
        bias = self.param("bias", DECLARED, (width,), jnp.float32)
        mean = self.variable("batch_stats", "running_mean", jnp.zeros, (width,), jnp.float32)
        variance = self.variable("batch_stats", "running_var", jnp.ones, (width,), jnp.float32)
        tracked = self.variable("batch_stats", "num_batches_tracked", jnp.zeros, (), jnp.int32)
        if not train:
            scale = weight * jax.lax.rsqrt(variance.value + self.epsilon)
            centred = x.astype(jnp.float32) - jnp.broadcast_to(mean.value, x.shape)
            return centred * jnp.broadcast_to(scale, x.shape) + jnp.broadcast_to(bias, x.shape)
        count, step = x.size // width, self.momentum
        if count < 2:
            raise UserError(
                "batch normalisation needs more than one row to train, or more than one position: "
                "raise batch_size, or the size of the crops"
            )
        # A map is kept once for its gradient; the few rows of a head are left to autodiff, whose
        # rounding differs least between one device and many.
        normalise = batch_norm if x.ndim > 3 else _normalised_rows
        y, batch_mean, batch_variance = normalise(x, weight, bias, self.epsilon)
        unbiased = batch_variance * (count / (count - 1))
        mean.value = (1 - step) * mean.value + step * batch_mean
        variance.value = (1 - step) * variance.value + step * unbiased
        tracked.value = tracked.value + 1
        return y


def _normalised_rows(
    x: Float[Array, "*batch width"],
    weight: Float[Array, "width"],
    bias: Float[Array, "width"],
    epsilon: float,
) -> tuple[Float[Array, "*batch width"], Float[Array, "width"], Float[Array, "width"]]:
    """Normalise every axis but the last as `batch_norm` does, with the gradient left to jax."""
    x, axes = x.astype(jnp.float32), tuple(range(x.ndim - 1))
    mean = x.mean(axis=axes)
    centred = x - jnp.broadcast_to(mean, x.shape)
    variance = jnp.square(centred).mean(axis=axes)
    scale = weight * jax.lax.rsqrt(variance + epsilon)
    y = centred * jnp.broadcast_to(scale, x.shape) + jnp.broadcast_to(bias, x.shape)
    return y, mean, variance
