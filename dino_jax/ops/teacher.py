"""The teacher: an average of the student's past weights, in the form of an optax transform."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float32, Int

from dino_jax.types import Params


def momentum_teacher(
    one_minus_momentum: Callable[[Int[Array, ""]], Float32[Array, ""]],
) -> optax.GradientTransformationExtraArgs:
    """Return the transform whose state is the teacher; it goes last and sees the final updates.

    `init(params)` returns a float32 copy of the student that shares no buffer with it.
    `update(updates, teacher, params, *, step)` passes the updates on unchanged and moves the
    teacher by the fraction `one_minus_momentum(step)` of its way to `params + updates`, the
    student after this step: 0 freezes the teacher, 1 copies the student, both exactly. With `taken`
    false, an update that is skipped, the teacher stays as it is. Momentum
    is taken as 1 - m since m itself, in float32, cannot tell the last steps of a run from 1.
    Paper section 3.1; reference 1.6 and 1.7.
    """

    def init(params: Params) -> Params:
        return {name: jnp.array(p, jnp.float32, copy=True) for name, p in params.items()}

    def update(
        updates: Params,
        teacher: Params,
        params: Params | None = None,
        *,
        step: Int[Array, ""] | int,
        taken: Bool[Array, ""] | bool = True,
        **extra: Any,
    ) -> tuple[Params, Params]:
        del extra
        if params is None:
            raise ValueError("momentum_teacher: update needs the student's parameters")
        fraction = jnp.where(taken, one_minus_momentum(jnp.asarray(step, jnp.int32)), 0.0)
        student = optax.apply_updates(params, updates)

        def move(t: jax.Array, s: jax.Array) -> jax.Array:
            # t + (s - t) may miss s by a rounding: the copy is said outright.
            return jnp.where(fraction >= 1, s, t + fraction * (s - t))

        return updates, jax.tree.map(move, teacher, student)

    return optax.GradientTransformationExtraArgs(init, update)
