"""One training step, a pure function of the state and a batch.

Order within a step, as in the released code (`main_dino.train_one_epoch`): the loss with the
centre of before, gradients, clipping and the optimiser, then the teacher from the updated student
with this step's momentum, then the centre from this step's raw teacher logits.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from dino_jax.models.build import Model
from dino_jax.ops.losses import LossTerms, loss_terms, summarise
from dino_jax.ops.streaming import streamed_loss
from dino_jax.ops.targets import TargetRule, batch_mean
from dino_jax.train.state import TrainState
from dino_jax.types import Params, Stats

Schedule = Callable[[jax.Array], jax.Array]
DeviceBatch = dict[str, jax.Array]
Crops = tuple[list[jax.Array], list[jax.Array] | None]
StepFunction = Callable[[TrainState, DeviceBatch], tuple[TrainState, dict[str, jax.Array]]]


class Method(NamedTuple):
    """What the step is made of: networks, rules, schedules; no configuration, no clock.

    `crops` turns a batch into the augmented crops and their drop-path keys: two lists, one entry a
    resolution, `(batch, crops, H, W, C)` float32 and `(batch, crops)` keys, the views first.
    """

    student: Model
    teacher: Model
    crops: Callable[[DeviceBatch], Crops]
    optimiser: optax.GradientTransformationExtraArgs
    teacher_rule: optax.GradientTransformationExtraArgs
    target_rule: TargetRule
    teacher_temperature: Schedule
    reported: dict[str, Schedule]
    student_temperature: float = 0.1
    accumulate: int = 1
    loss_chunk: int | None = None


class Pass(NamedTuple):
    """What one micro-batch leaves behind; everything but the statistics is averaged."""

    gradient: Params
    terms: LossTerms
    mean_logits: jax.Array
    student_stats: Stats
    teacher_stats: Stats


def make_train_step(method: Method) -> StepFunction:
    """Build `step(state, batch) -> (state, metrics)`; metrics are float32 scalars of that step.

    The batch is `{"views": uint8 (B, 2, H, W, C), "locals": uint8 (B, L, h, w, C), "index": (B,),
    "epoch": (B,)}`; `B` must be divisible by `accumulate`. A step whose loss or gradient is not
    finite changes nothing but the step counter, and reports `skipped` 1.
    """

    def train_step(
        state: TrainState, batch: DeviceBatch
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        seen = _accumulated(method, state, batch)
        grad_norm = optax.tree.norm(seen.gradient)
        finite = jnp.isfinite(seen.terms.loss) & jnp.isfinite(grad_norm)
        metrics = {
            "loss": seen.terms.loss,
            **summarise(seen.terms),
            **{name: schedule(state.step) for name, schedule in method.reported.items()},
            "grad_norm": grad_norm,
            "skipped": 1.0 - finite.astype(jnp.float32),
        }
        return updated(method, state, seen, finite), metrics

    return train_step


def updated(method: Method, state: TrainState, seen: Pass, taken: jax.Array) -> TrainState:
    """The state after a pass; with `taken` false nothing has changed but the step counter."""
    updates, opt_state = method.optimiser.update(
        seen.gradient, state.opt_state, state.student, step=state.step, taken=taken
    )
    _, teacher = method.teacher_rule.update(
        updates, state.teacher, state.student, step=state.step, taken=taken
    )
    _, target_state = method.target_rule.transform.update(seen.mean_logits, state.target_state)
    # The large parts know how to stay as they are; of the small ones the old is chosen.
    small = (seen.student_stats, seen.teacher_stats, target_state)
    before = (state.student_stats, state.teacher_stats, state.target_state)
    kept = jax.tree.map(lambda after, old: jnp.where(taken, after, old), small, before)
    return TrainState(
        step=state.step + 1,
        student=optax.apply_updates(state.student, updates),
        teacher=teacher,
        student_stats=kept[0],
        teacher_stats=kept[1],
        target_state=kept[2],
        opt_state=opt_state,
    )


def _accumulated(method: Method, state: TrainState, batch: DeviceBatch) -> Pass:
    """Average the passes over the micro-batches; the statistics go from one to the next."""
    if method.accumulate == 1:
        return one_pass(method, state, batch)

    # Micro-batch a takes rows a, a + A, a + 2A, …: a reshape that moves nothing between devices.
    def split(value: jax.Array) -> jax.Array:
        return jnp.swapaxes(value.reshape(-1, method.accumulate, *value.shape[1:]), 0, 1)

    def body(carry: Pass, micro: DeviceBatch) -> tuple[Pass, None]:
        now = state._replace(student_stats=carry.student_stats, teacher_stats=carry.teacher_stats)
        seen = one_pass(method, now, micro)
        total = jax.tree.map(
            lambda a, b: a + b / method.accumulate, _averaged(carry), _averaged(seen)
        )
        return seen._replace(gradient=total[0], terms=total[1], mean_logits=total[2]), None

    micros = jax.tree.map(split, batch)
    shapes = jax.eval_shape(
        lambda: one_pass(method, state, jax.tree.map(lambda value: value[0], micros))
    )
    zeros = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
        (shapes.gradient, shapes.terms, shapes.mean_logits),
    )
    start = Pass(zeros[0], zeros[1], zeros[2], state.student_stats, state.teacher_stats)
    return jax.lax.scan(body, start, micros)[0]


def _averaged(seen: Pass) -> tuple[Params, LossTerms, jax.Array]:
    return seen.gradient, seen.terms, seen.mean_logits


def one_pass(method: Method, state: TrainState, batch: DeviceBatch) -> Pass:
    """Loss, gradient and what the centre needs, of one (micro-)batch."""
    crops, keys = method.crops(batch)
    temperature = method.teacher_temperature(state.step)
    teacher_logits, teacher_stats = method.teacher.apply(
        state.teacher, state.teacher_stats, crops[:1], keys=None
    )
    targets = method.target_rule.assign(teacher_logits, state.target_state, temperature)

    def loss_of(student: Params) -> tuple[jax.Array, tuple[LossTerms, Stats]]:
        embeddings, prototypes, stats = method.student.embed(
            student, state.student_stats, crops, keys=keys
        )
        loss = streamed_loss(
            embeddings,
            prototypes,
            targets,
            temperature=method.student_temperature,
            chunk=method.loss_chunk,
        )
        return loss, (loss_terms(loss, targets), stats)

    (_, (terms, student_stats)), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.student)
    return Pass(gradient, terms, batch_mean(teacher_logits), student_stats, teacher_stats)
