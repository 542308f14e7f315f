"""Every schedule: numpy's edge cases, float32 against float64 at every step, mistakes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.ops import schedules

LONG = 800 * 1251


def concatenated(base, final, steps, warmup, start=0.0):
    """Warm-up by numpy's linspace and cosine entry by entry, on an own way."""
    values = list(np.linspace(start, base, warmup))
    left = steps - warmup
    values += [final + 0.5 * (base - final) * (1 + np.cos(np.pi * i / left)) for i in range(left)]
    return np.array(values)


def largest_error(schedule, values):
    ours = np.asarray(jax.jit(schedule)(jnp.arange(len(values))))
    assert ours.dtype == np.float32
    values = np.asarray(values, np.float64)
    zero = values == 0
    np.testing.assert_array_equal(ours[zero], 0)
    return np.max(np.abs(ours[~zero] - values[~zero]) / np.abs(values[~zero]))


@pytest.mark.parametrize("warmup", [0, 1, 2, 7, 20])
@pytest.mark.parametrize(("base", "final"), [(5e-4, 1e-6), (0.04, 0.4), (0.1, 0.1), (1, 0)])
def test_cosine_is_the_concatenation(base, final, warmup):
    values = schedules.cosine_values(base, final, steps=20, warmup_steps=warmup)
    assert values.dtype == np.float64
    assert values.shape == (20,)
    np.testing.assert_allclose(values, concatenated(base, final, 20, warmup), rtol=1e-12, atol=0)
    ours = schedules.cosine(base, final, steps=20, warmup_steps=warmup)
    assert largest_error(ours, values) <= 1e-6


def test_the_ends_of_a_warm_up():
    values = schedules.cosine_values(1e-3, 1e-6, steps=100, warmup_steps=10)
    assert values[0] == 0
    assert values[9] == values[10] == 1e-3  # the peak, reached and repeated
    assert values[-1] > 1e-6  # never reached
    assert schedules.cosine_values(1e-3, 1e-6, steps=5, warmup_steps=1)[:2].tolist() == [0, 1e-3]
    assert schedules.cosine_values(1e-3, 1e-6, steps=5)[0] == 1e-3
    started = schedules.cosine_values(1e-3, 1e-6, steps=9, warmup_steps=3, start=1e-4)
    assert started[0] == 1e-4
    ours = schedules.cosine(1e-3, 1e-6, steps=9, warmup_steps=3, start=1e-4)
    assert largest_error(ours, started) <= 1e-6


def test_values_known_from_runs_of_the_original():
    """Reference 1.6: batch 512, 2502 steps an epoch, 100 epochs."""
    steps = 100 * 2502
    rate = schedules.cosine_values(1e-3, 1e-6, steps=steps, warmup_steps=10 * 2502)
    assert rate[1] == pytest.approx(3.997e-8, rel=1e-4)
    assert rate[25019] == rate[25020] == 1e-3
    assert rate[-1] == pytest.approx(1.00000005e-6, rel=1e-8)
    assert rate[:2502].mean() == pytest.approx(4.9982e-5, rel=1e-4)
    decay = schedules.cosine_values(0.04, 0.4, steps=steps)
    assert decay[50 * 2502 : 51 * 2502].mean() == pytest.approx(0.2228260709653488, rel=1e-12)
    momentum = schedules.cosine_values(0.996, 1.0, steps=steps)
    assert momentum[-1] == pytest.approx(0.99999999999984, abs=1e-14)


@pytest.mark.parametrize(
    ("base", "final", "warmup"),
    [(2e-3, 1e-5, 12510), (2e-3, 1e-6, 1), (0.04, 0.4, 0), (0.996, 1.0, 0), (1e-6, 1e-4, 5)],
)
def test_in_graph_cosine_at_every_step_of_a_long_run(base, final, warmup):
    values = schedules.cosine_values(base, final, steps=LONG, warmup_steps=warmup)
    ours = schedules.cosine(base, final, steps=LONG, warmup_steps=warmup)
    assert largest_error(ours, values) <= 1e-6


@pytest.mark.parametrize(("start", "end"), [(0.996, 1.0), (0.9, 1), (0, 1.0), (0.99, 0.999)])
def test_one_minus_momentum_at_every_step_of_a_long_run(start, end):
    values = schedules.one_minus_momentum_values(start, end, steps=LONG)
    left = np.arange(LONG, 0, -1, dtype=np.float64)
    wave = np.sin(np.pi * left / (2 * LONG)) ** 2
    wanted = (1 - start) * wave if end == 1 else (1 - end) + (end - start) * wave
    np.testing.assert_allclose(values, wanted, rtol=1e-12, atol=0)
    assert largest_error(schedules.one_minus_momentum(start, end, steps=LONG), wanted) <= 1e-6
    momentum = schedules.cosine_values(start, end, steps=LONG)
    np.testing.assert_allclose(1 - momentum, wanted, rtol=0, atol=1e-15)


def test_a_falling_momentum_and_a_constant_one():
    for start, end in ((1.0, 0.9), (0.999, 0.99), (0.5, 0.5), (1.0, 1.0)):
        values = schedules.one_minus_momentum_values(start, end, steps=1000)
        np.testing.assert_allclose(1 - values, schedules.cosine_values(start, end, steps=1000))
        ours = schedules.one_minus_momentum(start, end, steps=1000)
        assert np.allclose(ours(jnp.arange(1000)), values, rtol=1e-6, atol=1e-9)


def test_past_the_end_they_stay_at_the_final_value():
    steps = jnp.array([10, 11, 2**31 - 1])
    for warmup in (0, 4, 10):
        rate = schedules.cosine(1.0, 0.25, steps=10, warmup_steps=warmup)
        np.testing.assert_array_equal(rate(steps), np.float32(0.25))
    assert not schedules.one_minus_momentum(0.9, steps=10)(steps).any()
    heat = schedules.teacher_temperature(0.04, 0.07, warmup_epochs=5, epochs=5, steps=10)
    np.testing.assert_array_equal(heat(steps), np.float32(0.07))


def test_plain_jitted_and_mapped_are_one():
    for schedule in (
        schedules.constant(3),
        schedules.cosine(1.0, 0.1, steps=12, warmup_steps=3),
        schedules.one_minus_momentum(0.9, steps=12),
        schedules.teacher_temperature(0.04, 0.07, warmup_epochs=2, epochs=4, steps=12),
    ):
        plain = np.array([schedule(i) for i in range(12)])
        jitted = jax.jit(schedule)
        assert schedule(0).shape == ()
        np.testing.assert_allclose([jitted(i) for i in range(12)], plain, rtol=1e-6)
        np.testing.assert_allclose(jax.vmap(schedule)(jnp.arange(12)), plain, rtol=1e-6)


@pytest.mark.parametrize(("epochs", "steps"), [(1, 1), (5, 50), (7, 50), (50, 7), (800, LONG)])
def test_epochs_start_where_the_floor_changes(epochs, steps):
    starts = schedules.epoch_starts(epochs=epochs, steps=steps)
    wanted = np.arange(steps, dtype=np.int64) * epochs // steps
    ours = np.searchsorted(starts, np.arange(steps), side="right") - 1
    np.testing.assert_array_equal(ours, wanted)


def test_epochs_may_be_a_fraction():
    assert schedules.epoch_starts(epochs=2.5, steps=10).tolist() == [0, 4, 8]
    assert schedules.epoch_starts(epochs=0.1, steps=10).tolist() == [0]
    # The float 1.9 lies below 19/10; taken as it is, epoch 1 would start a step late.
    assert schedules.epoch_starts(epochs=1.9, steps=19).tolist() == [0, 10]


@pytest.mark.parametrize("warmup", [0, 1, 2, 5])
def test_temperature_is_the_concatenation(warmup):
    values = schedules.teacher_temperature_values(0.04, 0.07, warmup_epochs=warmup, epochs=5)
    wanted = np.concatenate((np.linspace(0.04, 0.07, warmup), np.ones(5 - warmup) * 0.07))
    np.testing.assert_array_equal(values, wanted)
    ours = schedules.teacher_temperature(0.04, 0.07, warmup_epochs=warmup, epochs=5, steps=15)
    assert largest_error(ours, np.repeat(wanted, 3)) <= 1e-7


def test_temperature_of_a_long_run_changes_only_between_epochs():
    values = schedules.teacher_temperature_values(0.04, 0.07, warmup_epochs=30, epochs=800)
    np.testing.assert_allclose(values[[1, 28]], [0.041034, 0.0689655], rtol=2e-5)
    assert values[29] == values[30] == 0.07
    ours = schedules.teacher_temperature(0.04, 0.07, warmup_epochs=30, epochs=800, steps=LONG)
    assert largest_error(ours, np.repeat(values, 1251)) <= 1e-7


def test_temperature_of_a_run_whose_epochs_are_not_whole():
    # Epochs 0, 1, 2 begin at 0, 4, 8; a warm-up of 1.5 epochs fills two.
    values = schedules.teacher_temperature_values(0.04, 0.07, warmup_epochs=1.5, epochs=2.5)
    assert values.tolist() == [0.04, 0.07, 0.07]
    ours = schedules.teacher_temperature(0.02, 0.06, warmup_epochs=3, epochs=2.5 * 2, steps=20)
    wanted = np.repeat([0.02, 0.04, 0.06, 0.06, 0.06], 4)
    np.testing.assert_allclose(ours(jnp.arange(20)), wanted, rtol=1e-7)
    part = schedules.teacher_temperature(0.02, 0.06, warmup_epochs=2.5, epochs=2.5, steps=10)
    np.testing.assert_allclose(part(jnp.arange(10)), np.repeat([0.02, 0.04, 0.06], [4, 4, 2]))


def test_temperature_with_fewer_steps_than_epochs():
    ours = schedules.teacher_temperature(0.04, 0.07, warmup_epochs=30, epochs=100, steps=10)
    values = schedules.teacher_temperature_values(0.04, 0.07, warmup_epochs=30, epochs=100)
    assert largest_error(ours, values[::10]) <= 1e-7


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: schedules.cosine(1.0, 0.1, steps=10, warmup_steps=11),
        lambda: schedules.cosine_values(1.0, 0.1, steps=10, warmup_steps=11),
        lambda: schedules.cosine(1.0, 0.1, steps=10, warmup_steps=-1),
        lambda: schedules.cosine(1.0, 0.1, steps=0),
        lambda: schedules.one_minus_momentum(1.2, steps=10),
        lambda: schedules.one_minus_momentum_values(0.9, -0.1, steps=10),
        lambda: schedules.one_minus_momentum_values(0.9, steps=0),
        lambda: schedules.epoch_starts(epochs=0, steps=10),
        lambda: schedules.teacher_temperature_values(0.04, 0.07, warmup_epochs=6, epochs=5),
        lambda: schedules.teacher_temperature(0.04, 0.07, warmup_epochs=-1, epochs=5, steps=10),
        lambda: schedules.teacher_temperature(0.0, 0.07, warmup_epochs=1, epochs=5, steps=10),
    ],
)
def test_a_mistake_is_one_line(mistake):
    with pytest.raises(UserError) as error:
        mistake()
    assert "\n" not in str(error.value)
    assert len(str(error.value)) > 20
