"""Everything a run carries from one step to the next, each thing held once."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dino_jax.models.build import Model
from dino_jax.ops.targets import TargetRule
from dino_jax.types import Params, Stats


class TrainState(NamedTuple):
    """The training state; a pytree, donated to the step.

    `step` counts completed optimiser steps (int32). `student` and `teacher` are flat parameter
    dictionaries keyed by the original's names, float32; `teacher` is the state of the teacher
    transform and `target_state` that of the target rule (the centre, shape (1, prototypes)).
    `student_stats` and `teacher_stats` are the batch statistics, empty where the network has none.
    """

    step: jax.Array
    student: Params
    teacher: Params
    student_stats: Stats
    teacher_stats: Stats
    target_state: Any
    opt_state: optax.OptState


def init_train_state(
    key: jax.Array,
    student: Model,
    *,
    prototypes: int,
    optimiser: optax.GradientTransformationExtraArgs,
    teacher_rule: optax.GradientTransformationExtraArgs,
    target_rule: TargetRule,
    params: Params | None = None,
) -> TrainState:
    """Start a run: the teacher is an exact copy of the student, the centre is zero.

    `params` replaces the random student (same names and shapes). Reference: `main_dino.py`, where
    the teacher loads the student's state before the first step.
    """
    fresh, stats = student.init(key)
    weights = fresh if params is None else params
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        student=weights,
        teacher=teacher_rule.init(weights),
        student_stats=stats,
        teacher_stats={name: jnp.copy(value) for name, value in stats.items()},
        target_state=target_rule.init(prototypes),
        opt_state=optimiser.init(weights),
    )
