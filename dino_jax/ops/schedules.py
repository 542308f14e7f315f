"""Every schedule twice: float64 arrays as the original has them, and in-graph float32 functions.

The arrays (`*_values`) are the definition, entry i for step i. The functions take an int32 step,
traced or not, of any shape, and are what the training step evaluates: they stay within 1e-6
(relative) of the arrays at every step because no form below subtracts two near numbers.
"""

import math
from collections.abc import Callable
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int

from dino_jax.config import UserError

Schedule = Callable[[Int[Array, "..."] | int], Float32[Array, "..."]]
"""From the index of a step, counted from 0, to the value that step uses."""

Real = int | float
"""A number; said because the checks under pytest, unlike mypy, do not take an int for a float."""


def constant(value: Real) -> Schedule:
    """Return the schedule that is `value` at every step."""

    def at(step: Int[Array, "..."] | int) -> Float32[Array, "..."]:
        return jnp.full(jnp.shape(step), value, jnp.float32)

    return at


def cosine_values(
    base: Real, final: Real, *, steps: int, warmup_steps: int = 0, start: Real = 0.0
) -> np.ndarray:
    """Return the original's warm-up and cosine, float64 of length `steps`.

    The warm-up goes linearly from `start` to `base`, both included, in `warmup_steps` entries (a
    warm-up of one step is `start` alone); the cosine then starts at `base` again and would reach
    `final` one step after the end. Raises `UserError` unless 0 <= warmup_steps <= steps and
    steps >= 1. Reference 1.6.
    """
    _check(steps, warmup_steps)
    decay_steps = steps - warmup_steps
    angle = np.pi * np.arange(decay_steps) / max(decay_steps, 1)
    decay = final + 0.5 * (base - final) * (1 + np.cos(angle))
    return np.concatenate((np.linspace(start, base, warmup_steps), decay))


def cosine(
    base: Real, final: Real, *, steps: int, warmup_steps: int = 0, start: Real = 0.0
) -> Schedule:
    """Return `cosine_values` as an in-graph function; from step `steps` on it is `final`.

    Errors as for `cosine_values`. Values are expected to be >= 0.
    """
    _check(steps, warmup_steps)
    decay_steps = steps - warmup_steps
    ramp = (base - start) / max(warmup_steps - 1, 1)

    def at(step: Int[Array, "..."] | int) -> Float32[Array, "..."]:
        step = jnp.asarray(step, jnp.int32)
        done = jnp.clip(step - warmup_steps, 0, decay_steps)
        decay = _half_wave(base, final, done, decay_steps - done, decay_steps)
        warmup = start + ramp * step.astype(jnp.float32)
        return jnp.where(step < warmup_steps, warmup, decay)

    return at


def one_minus_momentum_values(start: Real, end: Real = 1.0, *, steps: int) -> np.ndarray:
    """Return 1 - momentum, float64 of length `steps`, for a momentum going by a cosine.

    The momentum itself is `cosine_values(start, end, steps=steps)`. Here 1 - momentum is
    (1 - end) + (end - start) sin^2(pi (M - i) / 2M), which keeps its digits as momentum nears 1.
    Raises `UserError` unless both lie in [0, 1] and steps >= 1. Reference 1.6.
    """
    _check_momentum(start, end)
    _check(steps, 0)
    left = np.arange(steps, 0, -1)
    return (1 - end) + (end - start) * np.sin(np.pi * left / (2 * steps)) ** 2


def one_minus_momentum(start: Real, end: Real = 1.0, *, steps: int) -> Schedule:
    """Return `one_minus_momentum_values` as an in-graph function; errors as there."""
    _check_momentum(start, end)
    return cosine(1 - start, 1 - end, steps=steps)


def epoch_starts(*, epochs: Real, steps: int) -> np.ndarray:
    """Return the first step of every epoch, int64, for a run of `steps` steps in `epochs` epochs.

    Step i lies in epoch floor(i x epochs / steps), in exact arithmetic. The number of epochs may
    be a fraction, the last epoch is then a part of one; with fewer steps than epochs, epochs that
    hold no step start where the next one does.
    """
    _check(steps, 0)
    if not epochs > 0:
        raise UserError(f"epochs is {epochs}: expected a number above 0")
    length = steps / _fraction(epochs)
    return np.array([math.ceil(e * length) for e in range(math.ceil(_fraction(epochs)))], np.int64)


def teacher_temperature_values(
    warmup: Real, final: Real, *, warmup_epochs: Real, epochs: Real
) -> np.ndarray:
    """Return the teacher's temperature in every epoch, float64 of length ceil(epochs).

    Linear from `warmup` to `final`, both included, over the first `warmup_epochs` epochs, then
    `final`. A warm-up of one epoch is `warmup` alone; a warm-up that is a fraction counts as the
    next whole number of epochs. Raises `UserError` if it is negative or longer than the run, or if
    a temperature is not above 0. Reference 1.5.
    """
    if not (warmup > 0 and final > 0):
        raise UserError(f"teacher temperatures {warmup} and {final}: expected numbers above 0")
    if not 0 <= warmup_epochs <= epochs:
        raise UserError(
            f"the teacher temperature warms up for {warmup_epochs} epochs in a run of {epochs}: "
            "shorten teacher.warmup_temperature_epochs or lengthen the run"
        )
    rising = math.ceil(_fraction(warmup_epochs))
    flat = math.ceil(_fraction(epochs)) - rising
    return np.concatenate((np.linspace(warmup, final, rising), np.full(flat, final)))


def teacher_temperature(
    warmup: Real, final: Real, *, warmup_epochs: Real, epochs: Real, steps: int
) -> Schedule:
    """Return `teacher_temperature_values` as an in-graph function of the step; errors as there.

    It changes only where an epoch begins (`epoch_starts`); from step `steps` on it is `final`.
    """
    values = teacher_temperature_values(warmup, final, warmup_epochs=warmup_epochs, epochs=epochs)
    rising = math.ceil(_fraction(warmup_epochs))
    starts = np.append(epoch_starts(epochs=epochs, steps=steps), steps)[: rising + 1]
    table = np.append(values, final)[: rising + 1].astype(np.float32)

    def at(step: Int[Array, "..."] | int) -> Float32[Array, "..."]:
        step = jnp.asarray(step, jnp.int32)
        epoch = jnp.searchsorted(jnp.asarray(starts, jnp.int32), step, side="right") - 1
        return jnp.asarray(table)[jnp.clip(epoch, 0, rising)]

    return at


def _half_wave(
    base: Real, final: Real, done: Array, left: Array, total: int
) -> Float32[Array, "..."]:
    """The cosine from `base` to `final`, measured from its smaller end: a sum of two positives."""
    low, high, away = (final, base, left) if base >= final else (base, final, done)
    # sin^2 of half the angle is the cosine's bend without its cancellation near the low end, and
    # the integer `away` is exact where pi - angle would not be.
    angle = away.astype(jnp.float32) * (math.pi / 2 / max(total, 1))
    return low + (high - low) * jnp.square(jnp.sin(angle))


def _fraction(epochs: Real) -> Fraction:
    """The number that was meant: 0.1 is one tenth, which no float is."""
    return Fraction(epochs).limit_denominator(1_000_000)


def _check(steps: int, warmup_steps: int) -> None:
    if steps < 1:
        raise UserError(f"a run of {steps} steps: expected at least one")
    if not 0 <= warmup_steps <= steps:
        raise UserError(
            f"the learning rate warms up for {warmup_steps} steps in a run of {steps}: "
            "shorten optim.warmup_epochs or lengthen the run"
        )


def _check_momentum(start: Real, end: Real) -> None:
    if not (0 <= start <= 1 and 0 <= end <= 1):
        raise UserError(f"teacher momentum from {start} to {end}: expected numbers from 0 to 1")
