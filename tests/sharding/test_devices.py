"""One device and eight: the same figures, an eighth of the work each, nothing gathered."""

import functools
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from dino_jax.config.architectures import ARCHITECTURES
from dino_jax.interop.checkpoint import Checkpoints
from dino_jax.train.sharding import batch_sharded, make_mesh, put_batch, replicated
from dino_jax.train.state import TrainState
from dino_jax.train.step import one_pass
from tests import golden
from tests.train import tiny


class Compiled(NamedTuple):
    """A run with its compiled step, and the program of one device."""

    run: tiny.Trainer
    text: str


@functools.cache
def compiled(devices: int, **overrides: Any) -> Compiled:
    """With batch statistics and local crops."""
    run = tiny.trainer(devices, head__batch_norm=True, **overrides)
    step = run.step.lower(run.start(), put_batch(tiny.batch(0), run.mesh)).compile()
    return Compiled(run._replace(step=step), step.as_text())


ON_DEVICE = {"model__depth": 1, "augment__where": "device"}


def collectives(text: str) -> set[str]:
    names = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
    return {name for name in names if f" {name}(" in text or f" {name}-start(" in text}


def test_ten_steps_give_the_same_figures_on_one_and_eight_devices() -> None:
    """Batch statistics among it: those of the whole batch, wherever its rows lie."""
    (one, alone), (eight, shared) = (compiled(n, **ON_DEVICE).run.run(10) for n in (1, 8))
    for line, other in zip(alone, shared, strict=True):
        assert other["loss"] == pytest.approx(line["loss"], rel=1e-5)
        assert other["kl"] == pytest.approx(line["kl"], abs=2e-5)
    for part in ("student_stats", "teacher_stats"):
        for name, value in getattr(one, part).items():
            # The mean holds the bias before it, whose gradient is nothing but rounding.
            if not name.endswith("running_mean"):
                assert golden.relative_error(getattr(eight, part)[name], value) <= 1e-5, name
    assert golden.relative_error(eight.target_state, one.target_state) <= 1e-5
    assert len(eight.student["head.last_layer.weight_v"].sharding.device_set) == 8


@functools.cache
def shallow_resnet(devices: int) -> Compiled:
    """A bottleneck in each layer, batch statistics in backbone and head."""
    with pytest.MonkeyPatch.context() as patch:
        shallow = ARCHITECTURES["resnet50"]._replace(stages=(1, 1, 1, 1))
        patch.setitem(ARCHITECTURES, "resnet50", shallow)
        return compiled(
            devices,
            model__arch="resnet50",
            model__width=64,
            model__depth=None,
            model__heads=None,
            optim__name="sgd",
        )


def test_the_statistics_of_a_backbone_are_those_of_the_whole_batch() -> None:
    """Every norm of a ResNet, in both networks, on one device and on eight."""
    (one, alone), (eight, shared) = (shallow_resnet(n).run.run(3) for n in (1, 8))
    for line, other in zip(alone, shared, strict=True):
        assert other["loss"] == pytest.approx(line["loss"], rel=1e-5)
    for part in ("student_stats", "teacher_stats"):
        ours, theirs = getattr(eight, part), getattr(one, part)
        assert sum(name.startswith("backbone.") for name in ours) == 3 * 17
        for name, value in theirs.items():
            # The mean of what follows a bias holds that bias, whose gradient is but rounding.
            if not name.startswith("head.") or not name.endswith("running_mean"):
                assert golden.relative_error(ours[name], value) <= 1e-5, name
    assert collectives(shallow_resnet(8).text) == {"all-reduce"}


def test_a_run_goes_on_with_other_devices(tmp_path: pathlib.Path) -> None:
    (one, eight), figures = (compiled(n, **ON_DEVICE).run for n in (1, 8)), []
    for start, then in ((one, eight), (eight, one)):
        state, first = start.run(3)
        checkpoints = Checkpoints(tmp_path / str(start.mesh.size))
        checkpoints.save(state, 3)
        checkpoints.wait()
        state = checkpoints.restore(then.start())
        checkpoints.close()
        figures.append(first + then.run(3, state)[1])
    figures.append(one.run(6)[1])
    losses = np.array([[line["loss"] for line in each] for each in figures])
    assert np.allclose(losses, losses[-1:], rtol=1e-5, atol=0)


@pytest.mark.parametrize("overrides", [ON_DEVICE, {"accumulate": 2, "model__depth": 1}])
def test_nothing_is_gathered(overrides: dict[str, Any]) -> None:
    text = compiled(8, **overrides).text
    assert collectives(text) == {"all-reduce"}
    assert ("accumulate" in overrides) <= ("while(" in text)  # the scan's body is in the text


@functools.cache
def flops(devices: int) -> float:
    """Forward and backward of one device, at sizes whose rows outweigh what all devices share."""
    run = tiny.trainer(
        devices, batch_size=64, model__depth=1, crops__local_number=4, head__prototypes=64
    )

    def gradient(state: TrainState, batch: dict[str, jax.Array]) -> object:
        seen = one_pass(run.method, state, batch)
        return seen.gradient, seen.terms

    state = jax.eval_shape(run.start)
    batch = {
        "views": jax.ShapeDtypeStruct((64, 2, 32, 32, 3), np.uint8),
        "locals": jax.ShapeDtypeStruct((64, 4, 16, 16, 3), np.uint8),
        "index": jax.ShapeDtypeStruct((64,), np.int32),
        "epoch": jax.ShapeDtypeStruct((64,), np.int32),
    }
    sharded = jax.jit(gradient, in_shardings=(replicated(run.mesh), batch_sharded(run.mesh)))
    return sharded.lower(state, batch).compile().cost_analysis()["flops"]


def test_a_device_of_eight_does_an_eighth_of_the_work() -> None:
    assert flops(8) <= 1.05 / 8 * flops(1)


def test_crop_major_order_would_be_seen() -> None:
    """The guard works: merged the other way round, activations are gathered."""
    mesh = make_mesh(8)

    def crop_major(x: jax.Array, w: jax.Array) -> jax.Array:
        merged = x.swapaxes(0, 1).reshape(-1, x.shape[-1])
        return (merged @ w).sum()

    shapes = (
        jax.ShapeDtypeStruct((64, 4, 32), np.float32),
        jax.ShapeDtypeStruct((32, 8), np.float32),
    )
    made = jax.jit(crop_major, in_shardings=(batch_sharded(mesh), replicated(mesh)))
    assert collectives(made.lower(*shapes).compile().as_text()) & {"all-gather", "all-to-all"}


def test_batch_lies_split_and_the_state_everywhere() -> None:
    mesh = make_mesh(8)
    batch = put_batch(tiny.batch(0), mesh)
    for name, value in batch.items():
        assert value.addressable_shards[0].data.shape[0] == tiny.BATCH // 8, name
    assert batch["views"].dtype == np.uint8
    assert batch["index"].dtype == batch["epoch"].dtype == np.int32
    assert np.array_equal(batch["views"], tiny.batch(0)["views"])
    assert make_mesh(2).devices.ravel().tolist() == jax.devices()[:2]
    assert make_mesh().size == jax.device_count() == 8
