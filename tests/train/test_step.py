"""The step: pure, compiled once, skipped whole, the same in micro-batches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.ops.schedules import (
    cosine_values,
    one_minus_momentum_values,
    teacher_temperature_values,
)
from dino_jax.train.compiled import compiled_step
from dino_jax.train.method import CropMaker, init_state, view_keys
from dino_jax.train.sharding import put_batch
from dino_jax.train.step import one_pass
from tests import golden
from tests.train import tiny

SOUND = np.ones(tiny.BATCH, np.float32)


@functools.cache
def trainer(accumulate: int) -> tiny.Trainer:
    """With drop path, and with crops that `poison` in the batch multiplies."""
    plain = tiny.trainer(accumulate=accumulate, model__drop_path=0.5)

    def crops(batch):
        made, keys = plain.method.crops({name: batch[name] for name in batch if name != "poison"})
        return [each * batch["poison"][:, None, None, None, None] for each in made], keys

    method = plain.method._replace(crops=crops)
    return plain._replace(method=method, step=compiled_step(method, plain.mesh))


def run(steps, state=None, *, accumulate=1, poison=1.0):
    factors = SOUND.copy()
    factors[3] = poison
    return trainer(accumulate).run(steps, state, poison=factors)


def test_one_compilation_and_the_state_is_donated() -> None:
    state, _ = run(1)
    kept, seen = jax.tree.leaves(state), []
    jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: seen.append(name))
    state, _ = run(2, state)
    assert trainer(1).step._cache_size() == 1
    assert not [name for name in seen if "compile" in name]
    assert all(leaf.is_deleted() for leaf in kept)
    assert int(state.step) == 3


def test_figures_of_a_step_are_those_of_that_step() -> None:
    _, figures = run(8)
    resolved, steps = trainer(1).resolved, tiny.STEPS
    config = resolved.config
    rates = cosine_values(
        resolved.learning_rate, config.optim.min_learning_rate, steps=steps, warmup_steps=2
    )
    decays = cosine_values(config.optim.weight_decay, config.optim.weight_decay_end, steps=steps)
    fractions = one_minus_momentum_values(config.teacher.momentum, 1.0, steps=steps)
    warmed = teacher_temperature_values(0.04, 0.06, warmup_epochs=3, epochs=6)
    for i, line in enumerate(figures):
        assert line["learning_rate"] == pytest.approx(rates[i], rel=1e-6)
        assert line["weight_decay"] == pytest.approx(decays[i], rel=1e-6)
        assert line["momentum"] == pytest.approx(1 - fractions[i], rel=1e-6)
        assert line["teacher_temperature"] == pytest.approx(warmed[i // 2], rel=1e-6)
        assert line["kl"] == pytest.approx(line["loss"] - line["teacher_entropy"], abs=1e-6)
        information = line["teacher_marginal_entropy"] - line["teacher_entropy"]
        assert line["assignment_information"] == pytest.approx(information, abs=1e-6)
        assert 0 < line["teacher_entropy"] <= line["teacher_marginal_entropy"] <= np.log(32) + 1e-6
        assert line["skipped"] == 0
        assert all(value.dtype == np.float32 and value.shape == () for value in line.values())


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_an_update_that_is_not_finite_is_skipped_whole(value: float) -> None:
    state, _ = run(3)  # past the freeze, so that every part of the state moves
    before = jax.device_get(state)
    state, (figures,) = run(1, state, poison=value)
    after = jax.device_get(state)
    assert figures["skipped"] == 1
    assert not np.isfinite(figures["loss"])
    assert after.step == before.step + 1
    same = jax.tree.map(np.array_equal, after._replace(step=0), before._replace(step=0))
    assert all(jax.tree.leaves(same))
    state, (figures,) = run(1, state)
    assert figures["skipped"] == 0
    assert np.isfinite(figures["loss"])
    for part in ("student", "teacher", "target_state", "opt_state"):
        both = [jax.tree.leaves(getattr(each, part)) for each in (jax.device_get(state), after)]
        assert not all(map(np.array_equal, *both)), part


def test_accumulation_equals_the_whole_batch() -> None:
    """Losses, parameters, teacher and centre; with drop path, whose keys are the examples'."""
    whole, losses = run(6)
    parts, others = run(6, accumulate=4)
    for one, other in zip(losses, others, strict=True):
        for name, value in one.items():
            assert other[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name
    assert golden.relative_error(parts.target_state, whole.target_state) <= 1e-5
    for role in ("student", "teacher"):
        for name, value in getattr(whole, role).items():
            if not name.endswith("qkv.bias"):  # the key's third has no gradient, only noise
                ours = getattr(parts, role)[name]
                assert golden.relative_error(ours, value) <= 1e-5, (role, name)


def test_an_infinite_micro_batch_skips_the_whole_update() -> None:
    before, _ = run(1, accumulate=4)
    kept = jax.device_get(before.student)
    state, (figures,) = run(1, before, accumulate=4, poison=np.inf)
    assert figures["skipped"] == 1
    assert all(np.array_equal(value, kept[name]) for name, value in state.student.items())


def test_drop_path_is_in_the_student_alone() -> None:
    method, state = trainer(1).method, trainer(1).start()

    @jax.jit
    def logits(state, batch):
        crops, keys = tiny.trainer(model__drop_path=0.5).method.crops(batch)
        first, keys = crops[:1], keys[:1]
        return (
            method.student.apply(state.student, {}, first, keys=None)[0],
            method.student.apply(state.student, {}, first, keys=keys)[0],
            method.teacher.apply(state.teacher, {}, first, keys=keys)[0],
        )

    whole, dropped, teacher = logits(state, put_batch(tiny.batch(0), trainer(1).mesh))
    assert golden.relative_error(dropped, whole) > 1e-2
    assert golden.relative_error(teacher, whole) <= 1e-6


def test_no_gradient_reaches_the_teacher_or_the_centre() -> None:
    method, state = trainer(1).method, trainer(1).start()

    def loss(teacher, centre, batch):
        now = state._replace(teacher=teacher, target_state=centre)
        seen = one_pass(method, now, batch)
        return seen.terms.loss + seen.mean_logits.sum()

    batch = tiny.batch(0) | {"poison": SOUND}
    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))(state.teacher, state.target_state, batch)
    assert not any(np.any(gradient) for gradient in jax.tree.leaves(gradients))


def test_the_teacher_follows_the_updated_student_by_the_momentum_of_that_step() -> None:
    start = jax.device_get(trainer(1).start())
    state, _ = run(1)
    fraction = one_minus_momentum_values(0.9, 1.0, steps=tiny.STEPS)[0]
    for name, value in jax.device_get(state.teacher).items():
        old = start.teacher[name].astype(np.float64)
        wanted = old + fraction * (np.asarray(state.student[name], np.float64) - old)
        assert golden.relative_error(value, wanted) <= 1e-6, name


def test_keys_depend_on_seed_epoch_example_and_view_alone() -> None:
    epoch, example = jnp.array([0, 0, 1, 7]), jnp.array([5, 6, 5, 900])
    keys = jax.random.key_data(view_keys(3, epoch, example, 4))
    order = np.array([2, 0, 3, 1])
    permuted = jax.random.key_data(view_keys(3, epoch[order], example[order], 4))
    assert np.array_equal(permuted, keys[order])
    assert np.array_equal(jax.random.key_data(view_keys(3, epoch, example, 2)), keys[:, :2])
    assert len(np.unique(keys.reshape(16, -1), axis=0)) == 16
    other = jax.random.key_data(view_keys(4, epoch, example, 4))
    assert not np.any(np.all(other == keys, axis=-1))


def test_permuting_the_batch_permutes_the_augmented_crops() -> None:
    config = tiny.config(augment__where="device", augment__blur_probability=(0.0, 0.0, 0.0))
    maker = CropMaker(config.seed, config.augment, config.data.mean, config.data.std)
    batch = {name: value[:6] for name, value in tiny.batch(0).items() if name != "views"}
    make = jax.jit(maker)
    crops, keys = make(batch)
    order = np.array([4, 1, 5, 0, 3, 2])
    again, others = make({name: value[order] for name, value in batch.items()})
    assert np.array_equal(again[0], crops[0][order])
    assert np.array_equal(jax.random.key_data(others[0]), jax.random.key_data(keys[0])[order])
    assert not np.array_equal(crops[0][:, 0], crops[0][:, 1])


def test_the_step_is_a_pure_function() -> None:
    ends = [jax.device_get(run(3)) for _ in range(2)]
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, *ends)))


def test_the_first_teacher_is_a_copy_and_the_first_centre_zero() -> None:
    method, resolved = trainer(1).method, trainer(1).resolved
    state, again = init_state(method, resolved), init_state(method, resolved)
    assert state.teacher.keys() == state.student.keys()
    for name, value in state.student.items():
        assert np.array_equal(value, state.teacher[name])
        assert value.unsafe_buffer_pointer() != state.teacher[name].unsafe_buffer_pointer()
        assert np.array_equal(value, again.student[name])
    assert state.target_state.shape == (1, 32)
    assert not np.any(state.target_state)
