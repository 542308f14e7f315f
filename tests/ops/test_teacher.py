"""The momentum teacher: freezing, copying, its closed form, and that it owns its weights."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dino_jax.ops.schedules import constant, one_minus_momentum
from dino_jax.ops.teacher import momentum_teacher


def weights(seed, scale=1.0):
    rng = np.random.default_rng(seed)
    return {
        "backbone.norm.weight": jnp.asarray(rng.normal(size=3) * scale, jnp.float32),
        "head.last_layer.weight_g": jnp.asarray(rng.normal(size=(4, 1)) * scale, jnp.float32),
    }


def equal(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_it_begins_as_a_copy_that_shares_no_buffer():
    student = weights(0)
    teacher = momentum_teacher(constant(0.5)).init(student)
    assert equal(teacher, student)
    for name, value in student.items():
        assert teacher[name].unsafe_buffer_pointer() != value.unsafe_buffer_pointer()


def test_student_and_teacher_can_be_donated_together():
    rule = momentum_teacher(constant(0.5))

    @jax.jit
    def step(student, teacher):
        updates, teacher = rule.update(
            jax.tree.map(jnp.ones_like, student), teacher, student, step=0
        )
        return optax.apply_updates(student, updates), teacher

    student = weights(0)
    donating = jax.jit(step, donate_argnums=(0, 1))
    wanted = step(student, rule.init(student))
    found = donating(student, rule.init(student))
    assert equal(found[0], wanted[0])
    assert equal(found[1], wanted[1])


@pytest.mark.parametrize("scale", [1.0, 1e8, 1e-20])
def test_momentum_one_freezes_and_zero_copies_exactly(scale):
    student, updates, teacher = weights(0), weights(1, 0.1), weights(2, scale)
    passed, frozen = momentum_teacher(constant(0.0)).update(updates, teacher, student, step=0)
    assert passed is updates
    assert equal(frozen, teacher)
    _, copied = momentum_teacher(constant(1.0)).update(updates, teacher, student, step=0)
    assert equal(copied, optax.apply_updates(student, updates))


def test_it_follows_the_student_after_its_step():
    student, updates, teacher = weights(0), weights(1), weights(2)
    _, moved = momentum_teacher(constant(0.25)).update(updates, teacher, student, step=0)
    for name, value in moved.items():
        after = np.asarray(student[name], np.float64) + np.asarray(updates[name])
        np.testing.assert_allclose(
            value, 0.75 * np.asarray(teacher[name]) + 0.25 * after, rtol=1e-6
        )


def test_closed_form_for_a_student_that_stands_still():
    student, start = weights(0), weights(1)
    rule = momentum_teacher(constant(0.1))
    still = jax.tree.map(jnp.zeros_like, student)
    teacher = start
    for step in range(20):
        _, teacher = rule.update(still, teacher, student, step=step)
    for name, value in teacher.items():
        wanted = student[name] + 0.9**20 * (start[name] - student[name])
        np.testing.assert_allclose(value, wanted, rtol=1e-5)


@pytest.mark.parametrize("fraction", [1e-7, 0.004, 0.3, 0.7])
def test_a_teacher_that_equals_the_student_stays_there(fraction):
    """To the bit: with two weights rounded on their own it would drift a little every step."""
    student = {"w": jnp.asarray(np.random.default_rng(0).normal(size=1000), jnp.float32)}
    rule = momentum_teacher(constant(fraction))
    _, moved = rule.update({"w": jnp.zeros(1000)}, rule.init(student), student, step=0)
    assert equal(moved, student)


def test_the_last_steps_of_a_long_run_still_move_it():
    """1 - m is below float32's resolution around 1 there; taken as m, it would be rounded away."""
    steps = 800 * 1251
    rule = momentum_teacher(one_minus_momentum(0.996, steps=steps))
    student, teacher = {"w": jnp.full(4, 1e6)}, {"w": jnp.zeros(4)}
    _, moved = rule.update({"w": jnp.zeros(4)}, teacher, student, step=steps - 500)
    exact = 0.004 * np.sin(np.pi * 500 / (2 * steps)) ** 2
    assert exact < 3e-8
    np.testing.assert_allclose(moved["w"], 1e6 * exact, rtol=1e-6)


def test_it_is_float32_whatever_the_student_is():
    student = {"w": jnp.ones(3, jnp.bfloat16)}
    rule = momentum_teacher(constant(0.5))
    teacher = rule.init(student)
    assert teacher["w"].dtype == jnp.float32
    _, teacher = rule.update({"w": jnp.ones(3, jnp.bfloat16)}, teacher, student, step=0)
    assert teacher["w"].dtype == jnp.float32


def test_momentum_is_read_at_the_step_without_another_compilation():
    rule = momentum_teacher(one_minus_momentum(0.9, steps=4))
    traces = []

    @jax.jit
    def fraction(step):
        traces.append(step)
        _, moved = rule.update(
            {"w": jnp.zeros(1)}, {"w": jnp.zeros(1)}, {"w": jnp.ones(1)}, step=step
        )
        return moved["w"][0]

    found = [float(fraction(jnp.int32(step))) for step in range(4)]
    np.testing.assert_allclose(found, 0.1 * np.sin(np.pi * np.arange(4, 0, -1) / 8) ** 2, rtol=1e-6)
    assert len(traces) == 1


def test_the_student_must_be_handed_over():
    rule = momentum_teacher(constant(0.5))
    with pytest.raises(ValueError, match="student's parameters"):
        rule.update(weights(0), weights(0), step=0)


@pytest.mark.parametrize("fraction", [0.25, 1.0])
def test_an_update_that_is_not_taken_leaves_it(fraction):
    student, teacher = weights(0), weights(1)
    updates = jax.tree.map(jnp.zeros_like, student)
    rule = momentum_teacher(constant(fraction))
    _, kept = rule.update(updates, teacher, student, step=0, taken=jnp.array(False))
    assert equal(kept, teacher)
