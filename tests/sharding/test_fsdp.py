"""The state split over devices: the same figures, its part on each, gathered and reduced only."""

import functools
import pathlib
from typing import Any

import jax
import numpy as np
import pytest

from dino_jax.interop.checkpoint import Checkpoints
from dino_jax.train.sharding import (
    SMALL,
    make_mesh,
    param_shardings,
    put_batch,
    split_axes,
    state_shardings,
    whole,
)
from dino_jax.train.state import TrainState
from tests import golden
from tests.sharding.test_devices import Compiled, collectives
from tests.train import tiny

LARGE = {
    "model__width": 64,
    "model__depth": 1,
    "head__hidden": 128,
    "head__bottleneck": 64,
    "head__prototypes": 256,
    "loss__chunk": 64,
}
"""Sizes of which some tensors are split and others are not; the loss loops over its prototypes."""
GRIDS = ((1, 1), (8, 1), (8, 2), (8, 4))
"""(devices, fsdp): one device, eight copies, 4 x 2 and 2 x 4."""


@functools.cache
def compiled(devices: int, fsdp: int, **overrides: Any) -> Compiled:
    run = tiny.trainer(devices, **LARGE | {"fsdp": fsdp} | overrides)
    step = run.step.lower(run.start(), put_batch(tiny.batch(0), run.mesh)).compile()
    return Compiled(run._replace(step=step), step.as_text())


@functools.cache
def three_steps(devices: int, fsdp: int) -> tuple[TrainState, list[dict[str, np.ndarray]]]:
    return compiled(devices, fsdp).run.run(3)


@pytest.mark.parametrize(("devices", "fsdp"), GRIDS[1:])
def test_the_same_figures_however_the_state_lies(devices: int, fsdp: int) -> None:
    (one, alone), (state, shared) = three_steps(1, 1), three_steps(devices, fsdp)
    for line, other in zip(alone, shared, strict=True):
        assert other.keys() == line.keys()
        assert other["loss"] == pytest.approx(line["loss"], rel=1e-5)
        assert other["grad_norm"] == pytest.approx(line["grad_norm"], rel=1e-5)
    for part in ("student", "teacher"):
        theirs = getattr(one, part)
        joined = {name: np.asarray(value) for name, value in getattr(state, part).items()}
        error = sum(float(np.sum((joined[n] - np.asarray(v)) ** 2)) for n, v in theirs.items())
        size = sum(float(np.sum(np.asarray(v) ** 2)) for v in theirs.values())
        assert (error / size) ** 0.5 <= 1e-5
    assert golden.relative_error(state.target_state, one.target_state) <= 1e-5


def held(state: Any) -> int:
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize("fsdp", [2, 4])
def test_a_device_holds_its_part_before_and_after_a_step(fsdp: int) -> None:
    run = compiled(8, fsdp).run
    start = run.start()
    axes = split_axes(start.student, fsdp)
    assert any(axis is None for axis in axes.values())
    split = sum(4 * start.student[name].nbytes for name, axis in axes.items() if axis is not None)
    assert split > 0  # student, teacher and two moments
    everything = sum(leaf.nbytes for leaf in jax.tree.leaves(start))
    wanted = everything - split * (fsdp - 1) // fsdp
    assert held(start) == held(three_steps(8, fsdp)[0]) == wanted < everything
    assert held(compiled(8, 1).run.start()) == everything


def test_the_initial_state_is_that_of_one_device() -> None:
    one, four = compiled(1, 1).run.start(), compiled(8, 4).run.start()
    for name, value in one.student.items():
        assert golden.relative_error(four.student[name], value) <= 1e-6, name
        assert np.array_equal(four.student[name], four.teacher[name])


@pytest.mark.parametrize("fsdp", [2, 4])
def test_parameters_are_gathered_and_nothing_else(fsdp: int) -> None:
    """CPU makes a reduce-scatter of an all-reduce and a slice; accelerators make it one."""
    text = compiled(8, fsdp).text
    assert {"all-gather"} <= collectives(text) <= {"all-gather", "all-reduce", "reduce-scatter"}
    shapes = {
        "[" + ",".join(map(str, leaf.shape)) + "]"
        for leaf in compiled(8, fsdp).run.start().student.values()
    }
    gathers = [line for line in text.splitlines() if " all-gather(" in line]
    assert gathers
    assert all(any(shape in line for shape in shapes) for line in gathers)
    assert collectives(compiled(8, 1).text) == {"all-reduce"}


def test_work_falls_as_the_devices() -> None:
    """Where the state is split an eighth of the work stays an eighth: nothing is done twice."""
    flops = [compiled(*grid).run.step.cost_analysis()["flops"] for grid in GRIDS]
    assert all(each <= 1.15 * flops[1] for each in flops[2:])
    assert flops[1] <= 0.2 * flops[0]


def test_micro_batches_are_reduced_to_the_parts() -> None:
    text = compiled(8, 4, accumulate=2).text
    assert collectives(text) <= {"all-gather", "all-reduce", "reduce-scatter"}
    (_, alone) = three_steps(1, 1)
    _, shared = compiled(8, 4, accumulate=2).run.run(1)
    assert shared[0]["loss"] == pytest.approx(alone[0]["loss"], rel=1e-5)


def test_a_run_goes_on_however_its_state_was_split(tmp_path: pathlib.Path) -> None:
    figures = []
    for place, (start, then) in enumerate(((GRIDS[1], GRIDS[3]), (GRIDS[3], GRIDS[2]))):
        state, first = compiled(*start).run.run(2)
        checkpoints = Checkpoints(tmp_path / str(place))
        checkpoints.save(state, 2)
        checkpoints.wait()
        run = compiled(*then).run
        state = checkpoints.restore(run.start())
        checkpoints.close()
        assert held(state) == held(run.start())
        figures.append([line["loss"] for line in first + run.run(1, state)[1]])
    alone = [line["loss"] for line in three_steps(1, 1)[1]]
    assert np.allclose(figures, alone, rtol=1e-5, atol=0)


def test_what_reads_a_network_outside_the_step_gets_it_whole() -> None:
    run, start = compiled(8, 4).run, compiled(8, 4).run.start()
    for name, value in whole(start.teacher, run.mesh).items():
        assert value.is_fully_replicated
        assert np.array_equal(value, start.teacher[name])
    alone = compiled(8, 1).run.start()
    assert whole(alone.teacher, compiled(8, 1).run.mesh) is alone.teacher


def test_the_largest_axis_that_divides_is_split() -> None:
    shapes = {
        "backbone.blocks.0.mlp.fc1.weight": jax.ShapeDtypeStruct((3072, 768), np.float32),
        "backbone.blocks.0.mlp.fc1.bias": jax.ShapeDtypeStruct((1 << 20,), np.float32),
        "backbone.blocks.0.mlp.fc2.weight": jax.ShapeDtypeStruct((768, 3072), np.float32),
        "backbone.pos_embed": jax.ShapeDtypeStruct((1, 785, 768), np.float32),
        "backbone.norm.weight": jax.ShapeDtypeStruct((768,), np.float32),
        "head.odd.weight": jax.ShapeDtypeStruct((1001, 1003), np.float32),
    }
    assert list(split_axes(shapes, 16).values()) == [0, None, 1, 2, None, None]
    assert not any(axis is not None for axis in split_axes(shapes, 1).values())
    assert 785 * 768 > SMALL > 768


def test_teacher_and_moments_lie_as_their_parameters() -> None:
    run = compiled(8, 4).run
    shapes = jax.eval_shape(run.start)
    placed, own = state_shardings(shapes, run.mesh), param_shardings(shapes.student, run.mesh)
    assert placed.student == placed.teacher == own
    for name, slots in placed.opt_state.items():
        assert slots["mean"] == slots["square"] == own[name]
        assert slots["count"].is_fully_replicated
    assert placed.target_state.is_fully_replicated
    assert placed.step.is_fully_replicated


def test_neighbours_share_a_copy() -> None:
    mesh = make_mesh(8, 4)
    assert mesh.shape == {"data": 2, "fsdp": 4}
    assert mesh.devices[0].tolist() == jax.devices()[:4]
