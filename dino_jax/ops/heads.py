"""Several linear classifiers at once on the same features: SGD with a learning rate to each."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

MOMENTUM = 0.9
_HIGHEST = jax.lax.Precision.HIGHEST


class Heads(NamedTuple):
    """Weights and biases of all heads, and their momentum."""

    weight: Float[Array, "heads classes inputs"]
    bias: Float[Array, "heads classes"]
    weight_speed: Float[Array, "heads classes inputs"]
    bias_speed: Float[Array, "heads classes"]


def initial(key: Key[Array, ""], *, heads: int, classes: int, inputs: int) -> Heads:
    """Equal heads: weights from N(0, 0.01²), zero biases (eval_linear.py, `LinearClassifier`)."""
    weight = 0.01 * jax.random.normal(key, (classes, inputs))
    bias = jnp.zeros((heads, classes))
    weights = jnp.tile(weight[None], (heads, 1, 1))
    return Heads(weights, bias, jnp.zeros_like(weights), jnp.zeros_like(bias))


def logits(
    weight: Float[Array, "classes inputs"],
    bias: Float[Array, "classes"],
    features: Float[Array, "n inputs"],
) -> Float[Array, "n classes"]:
    """What one head says of features."""
    return jnp.matmul(features, weight.T, precision=_HIGHEST) + bias[None, :]


@jax.jit
def step(
    heads: Heads,
    features: Float[Array, "n inputs"],
    labels: Int[Array, "n"],
    rates: Float[Array, "heads"],
) -> tuple[Heads, Float[Array, "heads"]]:
    """One step of every head on the mean cross-entropy of a batch; also that loss before it.

    The momentum is torch's: speed = 0.9 speed + gradient, weight -= rate * speed.
    """

    def one(head: Heads, rate: Array) -> tuple[Heads, Array]:
        loss, (by_weight, by_bias) = jax.value_and_grad(_loss)(
            (head.weight, head.bias), features, labels
        )
        weight_speed = MOMENTUM * head.weight_speed + by_weight
        bias_speed = MOMENTUM * head.bias_speed + by_bias
        moved = Heads(
            head.weight - rate * weight_speed, head.bias - rate * bias_speed,
            weight_speed, bias_speed,
        )  # fmt: skip
        return moved, loss

    return jax.vmap(one)(heads, rates)


def _loss(head: tuple[Array, Array], features: Array, labels: Array) -> Array:
    found = logits(*head, features)
    own = jnp.take_along_axis(found, labels[:, None], axis=1)[:, 0]
    return jnp.mean(jax.nn.logsumexp(found, axis=1) - own)
