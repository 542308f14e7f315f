"""What a run scores and compares: each network with the statistics that are its own."""

import logging
import pathlib
from typing import Any

import jax.numpy as jnp
import pytest

from dino_jax.config import set_value
from dino_jax.train.run import Outcome, _both_networks, networks, prepare
from dino_jax.train.sharding import make_mesh
from dino_jax.train.state import TrainState
from dino_jax.types import Params
from tests.data.images import encoded, write_folder
from tests.e2e.command import photograph
from tests.train import tiny


def state(step: int) -> TrainState:
    """Every tensor of the student 1, of its statistics 2, of the teacher 3, of its statistics 4."""
    return TrainState(
        step=jnp.asarray(step, jnp.int32),
        student={"backbone.w": jnp.asarray(1.0)},
        teacher={"backbone.w": jnp.asarray(3.0)},
        student_stats={"backbone.running_mean": jnp.asarray(2.0)},
        teacher_stats={"backbone.running_mean": jnp.asarray(4.0)},
        target_state=jnp.zeros((1, 2)),
        opt_state={},
    )


def told(params: Params, *, final: bool) -> dict[str, Any]:
    return {name: float(value) for name, value in params.items()} | {"final": final}


STUDENT = {"student_backbone.w": 1.0, "student_backbone.running_mean": 2.0, "student_final": False}
TEACHER = {"backbone.w": 3.0, "backbone.running_mean": 4.0, "final": False}


def test_student_and_teacher_are_scored_with_their_own_statistics() -> None:
    mesh = make_mesh(1)
    assert _both_networks(told, mesh, one_start=True)(state(5), False) == TEACHER | STUDENT
    assert _both_networks(told, mesh, one_start=True)(state(0), False) == TEACHER
    assert _both_networks(told, mesh, one_start=False)(state(0), False) == TEACHER | STUDENT


def test_a_run_compares_with_where_it_began(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = {f"{i}.png": encoded(photograph(i, 40, 40), "PNG") for i in range(40)}
    photos = write_folder(tmp_path / "photos", files)
    config = tiny.config(data__train=f"folder:{photos}", devices=1)
    run = prepare(config, tmp_path / "run")
    first = Outcome(state(0), {}, True, tmp_path)
    assert list(networks(run, first)) == ["untrained", "student", "teacher"]
    compared = networks(run, Outcome(state(7), {}, True, tmp_path))
    assert {name: float(value) for name, value in compared["teacher"].items()} == {
        "backbone.w": 3.0,
        "backbone.running_mean": 4.0,
    }
    # weights that are gone when the run ends leave one row out, and the run ends well
    set_value(run.resolved.config, "init_from", str(tmp_path / "gone"))
    with caplog.at_level(logging.WARNING):
        assert list(networks(run, first)) == ["student", "teacher"]
    assert "leaves out the network of the start" in caplog.text
