"""Attention with its gradient written out (see `gradients`), and which implementation runs it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dino_jax.models.gradients import materialised, matmul_precision

SHORT_SEQUENCE = 48
"""Up to so many tokens an attention map is transposed before its products over queries. XLA:CPU
runs many small products slowly unless the contracted axis comes last on the left: forward and
backward at 5, 17, 37, 65, 197 tokens take 0.6, 0.8, 0.9, 1.1, 1.2 of the time as it stands."""


def attention_map(
    query: Float[Array, "batch heads queries size"], key: Float[Array, "batch heads tokens size"]
) -> Float[Array, "batch heads queries tokens"]:
    """Softmax over the keys of query · key, float32; the query comes scaled."""
    return jax.nn.softmax(_small_product(query, key, 3, 3), axis=-1)


@jax.custom_vjp
def attend(
    query: Float[Array, "batch heads queries size"],
    key: Float[Array, "batch heads tokens size"],
    value: Float[Array, "batch heads tokens size"],
) -> Float[Array, "batch heads queries size"]:
    """The values mixed by the attention map, in the type of the arguments; query comes scaled."""
    return _attend_forward(query, key, value)[0]


def _attend_forward(
    query: Array, key: Array, value: Array
) -> tuple[Array, tuple[Array, Array, Array, Array]]:
    query, key, value = materialised(query), materialised(key), materialised(value)
    weights = materialised(attention_map(query, key))
    mixed = _small_product(weights.astype(value.dtype), value, 3, 2).astype(value.dtype)
    return mixed, (query, key, value, weights)


def _attend_backward(
    kept: tuple[Array, Array, Array, Array], gradient: Array
) -> tuple[Array, Array, Array]:
    query, key, value, weights = kept
    gradient = materialised(gradient)
    for_weights = _small_product(gradient, value, 3, 3)
    along = (weights * for_weights).sum(axis=-1, keepdims=True)
    for_logits = materialised(weights * (for_weights - along)).astype(query.dtype)
    return (
        _small_product(for_logits, key, 3, 2).astype(query.dtype),
        _over_queries(for_logits, query),
        _over_queries(weights.astype(value.dtype), gradient),
    )


attend.defvjp(_attend_forward, _attend_backward)


def _over_queries(map_: Array, per_query: Array) -> Array:
    if map_.shape[-1] > SHORT_SEQUENCE:
        product = _small_product(map_, per_query, 2, 2)
    else:
        product = _small_product(materialised(map_.swapaxes(2, 3)), per_query, 3, 2)
    return product.astype(per_query.dtype)


def _small_product(a: Array, b: Array, over_a: int, over_b: int) -> Array:
    """One float32 product for every image and head."""
    return jax.lax.dot_general(
        a,
        b,
        (((over_a,), (over_b,)), ((0, 1), (0, 1))),
        precision=matmul_precision(a.dtype),
        preferred_element_type=jnp.float32,
    )
