"""The step compiled ahead is the step, and what was not foreseen is compiled when it comes."""

import jax
import numpy as np
import pytest

from dino_jax.train.ahead import Ahead, step_ahead
from dino_jax.train.method import init_state
from dino_jax.train.sharding import laid_out, put_batch
from dino_jax.train.state import TrainState
from tests.train import tiny


def test_it_is_the_step_and_compiles_once() -> None:
    resolved, method, mesh, step = tiny.trainer(devices=2)
    batch = put_batch(tiny.batch(0), mesh)
    ahead = step_ahead(method, resolved, mesh)
    states = [laid_out(init_state(method, resolved), mesh) for _ in range(2)]
    for number in range(2):
        states[0], ours = ahead(states[0], batch)
        states[1], theirs = step(states[1], batch)
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert float(ours[name]) == float(value), (number, name)
    jax.tree.map(np.testing.assert_array_equal, *states)
    assert isinstance(ahead, Ahead)
    assert ahead._ready is not ahead._step, "the program compiled ahead did not fit"


NOTHING = TrainState(*[{}] * 7)


def test_what_does_not_fit_is_compiled_anew(caplog: pytest.LogCaptureFixture) -> None:
    def program(state: TrainState, batch: dict) -> tuple[TrainState, dict]:
        raise TypeError("Argument types differ\nfrom those")

    ahead = Ahead(lambda: program, lambda state, batch: (state, batch))
    with caplog.at_level("INFO"):
        assert ahead(NOTHING, {}) == (NOTHING, {})
        assert ahead(NOTHING, {}) == (NOTHING, {})
    assert caplog.messages == ["the step is compiled anew: Argument types differ"]


def test_a_mistake_of_the_step_itself_is_raised() -> None:
    def wrong(state: TrainState, batch: dict) -> tuple[TrainState, dict]:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        Ahead(lambda: wrong, wrong)(NOTHING, {})
