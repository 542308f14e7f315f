"""Starting from weights: what is taken over, what stays, what is refused."""

import copy
import logging
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import Config, UserError
from dino_jax.interop.infer import network_from
from dino_jax.interop.network import MOMENTS, Network, Optimiser, Weights
from dino_jax.models.posembed import interpolate
from dino_jax.train.method import init_state
from dino_jax.train.start import started_from
from dino_jax.train.state import TrainState
from tests.train import tiny

WITH_STATISTICS = {"head__batch_norm": True}


def fresh(**overrides: Any) -> tuple[TrainState, Config]:
    run = tiny.trainer(**overrides)
    config = copy.deepcopy(run.resolved.config)
    config.init_from = "somewhere"
    return init_state(run.method, run.resolved), config


def noise(like: dict[str, jax.Array], seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        name: random.normal(size=value.shape).astype(np.float32)
        if value.dtype == jnp.float32
        else np.asarray(7 + seed, np.int64)
        for name, value in like.items()
    }


def network(state: TrainState, config: Config, seed: int, *, head: bool = True) -> Network:
    tensors = noise({**state.student, **state.student_stats}, seed)
    if not head:
        tensors = {name: value for name, value in tensors.items() if name.startswith("backbone.")}
    return network_from(
        tensors, source="here", model=config.model, head=config.head if head else None
    )


def weights(state: TrainState, config: Config, **more: Any) -> Weights:
    return Weights(
        {"student": network(state, config, 1), "teacher": network(state, config, 2)},
        centre=np.full((1, 32), 3, np.float32),
        **more,
    )


def equal(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return left.keys() == right.keys() and all(
        np.array_equal(np.asarray(left[name]), np.asarray(right[name])) for name in left
    )


def test_student_teacher_statistics_and_centre_are_taken_over() -> None:
    state, config = fresh(**WITH_STATISTICS)
    given = weights(state, config)
    started = started_from(state, given, config)
    for name in ("student", "teacher"):
        assert equal(getattr(started, name), given.network(name).params)
        assert equal(getattr(started, f"{name}_stats"), given.network(name).stats)
        types = {key: value.dtype for key, value in getattr(started, f"{name}_stats").items()}
        assert types == {key: value.dtype for key, value in state.student_stats.items()}
    assert np.all(np.asarray(started.target_state) == 3)
    assert int(started.step) == 0


def test_the_state_that_was_started_trains() -> None:
    run = tiny.trainer(**WITH_STATISTICS)
    state, config = fresh(**WITH_STATISTICS)
    given = Weights({"teacher": network(state, config, 1)})
    trained, figures = run.run(1, started_from(state, given, config))
    assert np.isfinite(figures[0]["loss"])
    assert int(trained.step) == 1


def test_one_network_becomes_both() -> None:
    state, config = fresh()
    started = started_from(state, Weights({"teacher": network(state, config, 5)}), config)
    assert equal(started.student, started.teacher)
    assert not equal(started.student, state.student)
    assert np.array_equal(started.target_state, state.target_state)


def test_a_head_without_its_centre_is_said_and_a_centre_of_another_head_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    state, config = fresh()
    given = weights(state, config)
    with caplog.at_level(logging.INFO):
        started = started_from(state, given._replace(centre=None), config)
    assert "init_from somewhere holds no centre: it starts from 0" in caplog.text
    assert not np.any(started.target_state)
    with pytest.raises(UserError, match=r"a centre of shape \(1, 64\), expected \(1, 32\)"):
        started_from(state, given._replace(centre=np.ones((1, 64), np.float32)), config)


def test_without_the_head_only_the_backbone_is_taken() -> None:
    state, config = fresh(**WITH_STATISTICS)
    config.init_head = False
    given = weights(state, config)
    started = started_from(state, given, config)
    for key, value in started.student.items():
        source = given.network("student").params if key.startswith("backbone.") else state.student
        assert np.array_equal(value, source[key]), key
    assert equal(started.student_stats, state.student_stats)
    assert np.array_equal(started.target_state, state.target_state)


def test_a_backbone_alone_needs_a_new_head_said() -> None:
    state, config = fresh()
    given = Weights({"teacher": network(state, config, 1, head=False)})
    with pytest.raises(UserError, match=r"without its head.*--config\.init_head=false"):
        started_from(state, given, config)
    config.init_head = False
    started = started_from(state, given, config)
    assert np.array_equal(
        started.teacher["backbone.norm.bias"], given.network().params["backbone.norm.bias"]
    )


def test_positions_of_another_size_are_interpolated_as_at_use() -> None:
    small, config = fresh()
    given = Weights({"teacher": network(small, config, 1)})
    large, config = fresh(crops__global_size=48)
    started = started_from(large, given, config)
    table = jnp.asarray(given.network().params["backbone.pos_embed"])
    expected = interpolate(table, 48, 48, 8)
    assert started.student["backbone.pos_embed"].shape == (1, 37, 16)
    assert np.array_equal(started.student["backbone.pos_embed"], expected)


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars"])
def test_moments_come_too_and_a_tensor_that_was_never_stepped_starts_from_nothing(
    name: str,
) -> None:
    state, config = fresh(optim__name=name)
    config.init_optimiser = True
    stepped = [key for key in state.opt_state if "last_layer" not in key]
    moments = {
        original: noise({key: state.student[key] for key in stepped}, 9)
        for original in MOMENTS[name].values()
    }
    steps = dict.fromkeys(stepped, 41) if name == "adamw" else {}
    given = weights(state, config, optimiser=Optimiser(name, steps, moments))
    started = started_from(state, given, config)
    assert started.opt_state.keys() == state.opt_state.keys()
    for key, slots in started.opt_state.items():
        fresh_slots = state.opt_state[key]
        assert slots.keys() == fresh_slots.keys()
        for slot, value in slots.items():
            expected = fresh_slots[slot]
            if key in stepped:
                expected = 41 if slot == "count" else moments[MOMENTS[name][slot]][key]
            assert np.array_equal(value, expected), (key, slot)
            assert value.dtype == fresh_slots[slot].dtype
    config.init_head = False
    without = started_from(state, given, config).opt_state
    assert equal(without["head.mlp.0.weight"], state.opt_state["head.mlp.0.weight"])


def test_what_does_not_fit_is_refused_in_one_line() -> None:
    state, config = fresh()
    given = weights(state, config)
    other, wider = fresh(head__prototypes=64)
    with pytest.raises(UserError, match=r"head\.prototypes 64: set --config\.head\.prototypes=32$"):
        started_from(other, given, wider)
    config.model.width, config.model.arch = 32, "vit_small"
    with pytest.raises(UserError, match=r"model\.width 32: set --config\.model\.width=16$"):
        started_from(state, given, config)
    config.model.arch = "xcit_small_12"
    with pytest.raises(UserError, match=r"model\.arch xcit_small_12: set .*\.arch=vit_tiny$"):
        started_from(state, given, config)
    config.model.arch, config.model.width = "vit_small", 16
    assert equal(started_from(state, given, config).teacher, given.network().params)
    config.init_optimiser = True
    with pytest.raises(UserError, match="holds no optimiser state"):
        started_from(state, given, config)
    foreign = Optimiser("sgd", {}, {"momentum_buffer": {}})
    with pytest.raises(UserError, match=r"trained by sgd and optim\.name is adamw"):
        started_from(state, given._replace(optimiser=foreign), config)
