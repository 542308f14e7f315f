"""The schedules of the original: float64 to 1e-12, what a step evaluates to 1e-6."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.ops import schedules
from tests.golden import arrays

# lr | wd | mom / base _ final _ ep epochs _ n steps an epoch [_ wu warm-up epochs] [_ sw its start]
NAME = re.compile(
    r"(?:lr|wd|mom)/(?P<base>[^_]+)_(?P<final>[^_]+)_ep(?P<epochs>\d+)_n(?P<length>\d+)"
    r"(?:_wu(?P<warmup>\d+))?(?:_sw(?P<start>.+))?"
)


def arguments(name):
    """What a schedule of the golden file was made with, by its name."""
    found = NAME.fullmatch(name)
    assert found, name
    length = int(found["length"])
    lengths = {
        "steps": int(found["epochs"]) * length,
        "warmup_steps": int(found["warmup"] or 0) * length,
        "start": float(found["start"] or 0),
    }
    return (float(found["base"]), float(found["final"])), lengths


def error(ours, golden):
    """The largest relative error of a value, absolute where the golden one is 0."""
    assert ours.shape == golden.shape
    scale = np.where(golden == 0, 1.0, np.abs(golden))
    return np.max(np.abs(np.asarray(ours, np.float64) - golden) / scale)


def test_values_and_in_graph_function():
    stored = arrays("e_schedules.npz")
    assert len(stored) >= 4
    for name, golden in stored.items():
        ends, lengths = arguments(name)
        assert error(schedules.cosine_values(*ends, **lengths), golden) <= 1e-12
        in_graph = jax.jit(schedules.cosine(*ends, **lengths))
        assert error(np.array([in_graph(step) for step in range(len(golden))]), golden) <= 1e-6


def test_one_minus_momentum():
    """1 - m of the stored array keeps about thirteen digits of 0.004: enough for 1e-9 here."""
    stored = {n: a for n, a in arrays("e_schedules.npz").items() if n.startswith("mom/")}
    assert stored
    for name, golden in stored.items():
        ends, lengths = arguments(name)
        ours = schedules.one_minus_momentum_values(*ends, steps=lengths["steps"])
        assert error(ours, 1 - golden) <= 1e-9
        in_graph = schedules.one_minus_momentum(*ends, steps=lengths["steps"])
        assert error(np.asarray(in_graph(jnp.arange(lengths["steps"]))), 1 - golden) <= 1e-6


@pytest.mark.parametrize("optimiser", ["adamw", "sgd", "lars"])
def test_schedules_of_the_golden_runs(optimiser):
    """Weight decay and momentum of the six steps of which the golden runs take five."""
    golden = arrays(f"e_train_{optimiser}_nll1.npz")
    assert error(schedules.cosine_values(0.04, 0.4, steps=6), golden["wd"]) <= 1e-12
    assert error(schedules.cosine_values(0.9, 1.0, steps=6), golden["mom"]) <= 1e-12
    assert error(schedules.one_minus_momentum_values(0.9, steps=6), 1 - golden["mom"]) <= 1e-12
