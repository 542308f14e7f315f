"""Linear maps, layer norm and GELU with their gradients written out.

The values are those of automatic differentiation up to rounding. What is gained is speed, on CPU
above all, where XLA computes an expression anew inside every loop that reads it: a residual
gradient with all the sums it is made of, the error function once for the output and again for
the gradient. `materialised` marks what is meant to be computed once and kept.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint
from jax.typing import DTypeLike
from jaxtyping import Array, Float

ROOT_HALF = 0.5**0.5
NORMAL_PEAK = 0.3989422804014327  # 1 / sqrt(2 pi): the standard normal density at 0


def matmul_precision(dtype: DTypeLike) -> jax.lax.Precision:
    """HIGHEST for float32, so that no accelerator lowers it; the default for bfloat16."""
    full = jnp.dtype(dtype) == jnp.float32
    return jax.lax.Precision.HIGHEST if full else jax.lax.Precision.DEFAULT


def materialised(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The same array; on CPU also a boundary to algebraic simplification and merging.

    Not to fusion, before which XLA:CPU takes the boundary away: what is cheap may still be
    computed in each loop that reads it, what is dear (erf, exp, a product) is not.
    """
    return jax.lax.platform_dependent(x, cpu=jax.lax.optimization_barrier, default=lambda x: x)


def row_major(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The same array; on an NVIDIA GPU also a demand that it lie in memory axis by axis.

    Left to itself XLA:GPU lays a residual stream with the batch innermost, for the sake of the sum
    over the batch that is the gradient of the positions, and every norm then runs across memory.
    """
    rows = Layout(tuple(range(x.ndim)))
    return jax.lax.platform_dependent(
        x, cuda=lambda x: with_layout_constraint(x, rows), default=lambda x: x
    )


@jax.custom_vjp
def residual(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The residual stream between two branches: the identity, its gradient computed once."""
    return row_major(x)


residual.defvjp(
    lambda x: (row_major(x), None), lambda _, gradient: (row_major(materialised(gradient)),)
)


@jax.custom_vjp
def affine(
    x: Float[Array, "*batch inputs"],
    weight: Float[Array, "outputs inputs"],
    bias: Float[Array, "outputs"],
) -> Float[Array, "*batch outputs"]:
    """x Wᵀ + b over the last axis, in the type of the arguments."""
    y = _product(x, weight, (x.ndim - 1,), (1,))
    return y + jnp.broadcast_to(bias, y.shape)


def _affine_forward(x: Array, weight: Array, bias: Array) -> tuple[Array, tuple[Array, Array]]:
    return affine(x, weight, bias), (x, weight)


def _affine_backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array, Array]:
    x, weight = kept
    shape, x, gradient = x.shape, _rows(x), materialised(_rows(gradient))
    # A product over rows transposes its first operand, at a cost that grows with the width (and
    # leaps at powers of two): let that be the narrower one, and keep XLA from swapping them back.
    if x.shape[-1] < gradient.shape[-1]:
        for_weight = materialised(_product(x, gradient, (0,), (0,))).T
    else:
        for_weight = _product(gradient, x, (0,), (0,))
    for_x = _product(gradient, weight, (1,), (0,)).reshape(shape)
    return for_x, for_weight, gradient.sum(axis=0)


affine.defvjp(_affine_forward, _affine_backward)


def _rows(x: Array) -> Array:
    """As a matrix, the last axis along its rows.

    XLA:GPU gives an array of three axes that is summed over two of them a layout with the batch
    innermost, and then every norm and sum around it runs across memory; a matrix leaves no choice.
    """
    return x.reshape(-1, x.shape[-1])


def _product(a: Array, b: Array, over_a: tuple[int, ...], over_b: tuple[int, ...]) -> Array:
    return jax.lax.dot_general(
        a, b, ((over_a, over_b), ((), ())), precision=matmul_precision(a.dtype)
    )


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(
    x: Float[Array, "*batch width"],
    weight: Float[Array, "width"],
    bias: Float[Array, "width"],
    epsilon: float,
) -> Float[Array, "*batch width"]:
    """Normalise the last axis, with the two-pass variance: E[x²] − E[x]² cancels in float32."""
    return _layer_norm_forward(x, weight, bias, epsilon)[0]


def _layer_norm_forward(
    x: Array, weight: Array, bias: Array, epsilon: float
) -> tuple[Array, tuple[Array, Array, Array]]:
    shape, x = x.shape, _rows(x)
    centred = x - materialised(_mean(x))
    scale = materialised(jax.lax.rsqrt(_mean(jnp.square(centred)) + epsilon))
    normal = materialised(centred * scale)
    y = normal * jnp.broadcast_to(weight, x.shape) + jnp.broadcast_to(bias, x.shape)
    return y.reshape(shape), (normal, scale, weight)


def _layer_norm_backward(
    epsilon: float, kept: tuple[Array, Array, Array], gradient: Array
) -> tuple[Array, Array, Array]:
    normal, scale, weight = kept
    shape, gradient = gradient.shape, _rows(gradient)
    scaled = materialised(gradient * jnp.broadcast_to(weight, gradient.shape))
    along = materialised(_mean(scaled * normal))
    for_x = scale * (scaled - materialised(_mean(scaled)) - normal * along)
    return for_x.reshape(shape), (gradient * normal).sum(axis=0), gradient.sum(axis=0)


layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)


def _mean(x: Array) -> Array:
    return x.mean(axis=-1, keepdims=True)


@jax.custom_vjp
def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x Φ(x) with the exact normal distribution, through erf; computed in float32.

    Its derivative Φ(x) + x φ(x) is kept from the forward pass instead of x, which holds no more
    memory. `jax.nn.gelu` goes through erfc, which takes five times as long on CPU, both ways.
    """
    return _gelu_forward(x)[0]


def _gelu_forward(x: Array) -> tuple[Array, Array]:
    full = x.astype(jnp.float32)
    below = materialised(0.5 + 0.5 * jax.lax.erf(full * ROOT_HALF))
    slope = below + full * (NORMAL_PEAK * jnp.exp(-0.5 * jnp.square(full)))
    return (full * below).astype(x.dtype), slope.astype(x.dtype)


gelu.defvjp(_gelu_forward, lambda slope, gradient: (gradient * slope,))


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def batch_norm(
    x: Float[Array, "*batch width"],
    weight: Float[Array, "width"],
    bias: Float[Array, "width"],
    epsilon: float,
) -> tuple[Float[Array, "*batch width"], Float[Array, "width"], Float[Array, "width"]]:
    """Normalise every axis but the last; the mean and the biased variance come out too.

    Float32 whatever the type of `x`, which alone is kept for the gradient. No gradient is asked
    of the mean and the variance that come out: they are for running statistics.
    """
    return _batch_norm_forward(x, weight, bias, epsilon)[0]


def _batch_norm_forward(
    x: Array, weight: Array, bias: Array, epsilon: float
) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array, Array]]:
    count, full = x.size // x.shape[-1], x.astype(jnp.float32)
    mean = _over_rows(full) / count
    centred = full - jnp.broadcast_to(mean, x.shape)
    variance = _over_rows(jnp.square(centred)) / count
    scale = jax.lax.rsqrt(variance + epsilon)
    y = centred * jnp.broadcast_to(scale * weight, x.shape) + jnp.broadcast_to(bias, x.shape)
    return (y, mean, variance), (x, mean, scale, weight)


def _batch_norm_backward(
    epsilon: float, kept: tuple[Array, Array, Array, Array], gradients: tuple[Array, Array, Array]
) -> tuple[Array, Array, Array]:
    x, mean, scale, weight = kept
    gradient, count = materialised(gradients[0]), x.size // x.shape[-1]
    centred = x.astype(jnp.float32) - jnp.broadcast_to(mean, x.shape)
    for_bias = _over_rows(gradient)
    for_weight = _over_rows(gradient * centred) * scale
    along = centred * jnp.broadcast_to(scale * for_weight / count, x.shape)
    even = gradient - jnp.broadcast_to(for_bias / count, x.shape) - along
    for_x = even * jnp.broadcast_to(scale * weight, x.shape)
    return for_x.astype(x.dtype), for_weight, for_bias


batch_norm.defvjp(_batch_norm_forward, _batch_norm_backward)


def _over_rows(x: Array) -> Array:
    """The sum over every axis but the last, one axis after the other, from the last.

    XLA:CPU adds the numbers of one sum in their order: over a hundred thousand rows that loses
    two digits, by axes it loses none, and takes no longer.
    """
    while x.ndim > 1:
        x = materialised(x.sum(axis=-2))
    return x
