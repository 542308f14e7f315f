"""How the teacher's logits become the student's targets, and what is remembered between steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Float32


class TargetRule(NamedTuple):
    """A rule that turns teacher logits into targets; centring is one, others fit the same form.

    `init(prototypes)` returns the state before the first step.
    `assign(logits, state, temperature)` maps logits (batch, views, prototypes) to probabilities of
    that shape, through which no gradient passes. It reads the state and never changes it: all
    micro-batches of one step see the same state.
    `transform` changes the state once an optimiser step: `transform.update(batch_mean, state)`
    returns `(batch_mean, new_state)`, with the mean (prototypes,) of the raw teacher logits over
    the whole batch, all of its micro-batches, and both views (`batch_mean` below).

    Room for other rules: one that needs no memory (Sinkhorn, softmax over the batch) has the state
    `()`, does its work in `assign` and takes the identity as its transform; one that remembers
    more than a mean (a queue) asks for it by a keyword-only argument of its `transform.update`.
    """

    init: Callable[[int], Any]
    assign: Callable[..., Float32[Array, "batch views prototypes"]]
    transform: optax.GradientTransformationExtraArgs


def batch_mean(
    logits: Float32[Array, "batch views prototypes"],
) -> Float32[Array, " prototypes"]:
    """Return the mean of the raw teacher logits over batch and views, without a gradient."""
    return jax.lax.stop_gradient(logits).mean(axis=(0, 1))


def centring(momentum: float = 0.9) -> TargetRule:
    """Return the rule of the paper: subtract the centre, sharpen by a softmax at a temperature.

    The state is the centre, (1, prototypes) float32 and zero at first; after a step it is
    momentum x centre + (1 - momentum) x batch mean. `momentum` lies in [0, 1]. Paper section 3.1,
    equation 4; reference 1.5.
    """

    def init(prototypes: int) -> Float32[Array, "1 prototypes"]:
        return jnp.zeros((1, prototypes), jnp.float32)

    def assign(
        logits: Float32[Array, "batch views prototypes"],
        centre: Float32[Array, "1 prototypes"],
        temperature: float | Float[Array, ""],
    ) -> Float32[Array, "batch views prototypes"]:
        logits = jax.lax.stop_gradient(logits)
        return jax.nn.softmax((logits - centre[None, :, :]) / temperature, axis=-1)

    def update(
        mean: Float32[Array, " prototypes"],
        centre: Float32[Array, "1 prototypes"],
        params: Any = None,
        **extra: Any,
    ) -> tuple[Float32[Array, " prototypes"], Float32[Array, "1 prototypes"]]:
        del params, extra
        return mean, momentum * centre + (1 - momentum) * mean[None, :]

    transform = optax.GradientTransformationExtraArgs(lambda mean: init(mean.shape[-1]), update)
    return TargetRule(init, assign, transform)
