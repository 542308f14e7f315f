"""The training step: one device and many, parts of a batch, what decays, averages, bad steps."""

import functools
import pathlib
import tempfile
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import ModelConfig
from dino_jax.evals.finetune.run import Run, compiled_step, put
from dino_jax.evals.finetune.step import TuneState, averaged, clipped, image_keys, optimiser_of
from dino_jax.evals.protocols.finetune import prepare
from tests import golden
from tests.evals.finetune import tiny

# Adam would make a step of every gradient that is nothing but rounding, as those of keys' biases.
SGD = {"optimiser": "sgd", "learning_rate": 0.03, "warmup_rate": 0.01}
XCIT = ModelConfig(arch="xcit_small_12", patch_size=8, width=16, depth=1, heads=2)


@functools.cache
def run_of(devices: int = 1, *, xcit: bool = False, **options: Any) -> Run:
    folder = pathlib.Path(tempfile.mkdtemp(prefix="dino_jax_finetune_"))
    network = tiny.encoder(folder / "weights", XCIT if xcit else tiny.MODEL)
    data, val = tiny.images(folder / "train", 8), tiny.images(folder / "val", 2)
    asked = tiny.request(network, data, val, folder / "out", devices=devices, **options)
    return prepare(asked)[0]


@functools.cache
def step_of(**options: Any) -> Any:
    run = run_of(**options)
    return compiled_step(run.training, run.mesh)


class Stepped(NamedTuple):
    states: list[TuneState]
    losses: list[float]


def stepped(steps: int, **options: Any) -> Stepped:
    """The states before and after each step, on the host, and each step's loss."""
    run, step = run_of(**options), step_of(**options)
    state, states, losses = run.start(), [], []
    for batch in run.batches(0, steps):
        states.append(jax.device_get(state))
        state, metrics = step(state, put(batch, run.mesh))
        losses.append(float(metrics["loss"]))
    assert len(state.params["classifier.weight"].sharding.device_set) == run.mesh.size
    return Stepped([*states, jax.device_get(state)], losses)


@pytest.fixture(scope="module")
def alone() -> Stepped:
    return stepped(3, **SGD)


def same(found: TuneState, wanted: TuneState) -> None:
    for group in ("params", "average"):
        ours, theirs = getattr(found, group), getattr(wanted, group)
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert golden.relative_error(ours[name], value) <= 2e-5, name


def test_one_device_and_eight_agree(alone: Stepped) -> None:
    found = stepped(3, devices=8, **SGD)
    assert found.losses == pytest.approx(alone.losses, rel=1e-5)
    same(found.states[-1], alone.states[-1])


def test_parts_of_a_batch_add_up_and_layers_below_learn_slower(alone: Stepped) -> None:
    """At the first step of SGD the updates are in proportion to the rates."""
    found = stepped(1, accumulate=4, layer_decay=0.5, ema=0.0, **SGD)
    assert found.losses == pytest.approx(alone.losses[:1], rel=1e-5)
    assert not found.states[0].average
    before, after = (each.params for each in found.states)
    for name, value in alone.states[1].params.items():
        layer = 0 if "patch_embed" in name or name.endswith(("_token", "_embed")) else 2
        factor = 0.5 ** (2 - (1 if ".blocks." in name else layer))
        wanted = factor * (value - before[name])
        scale = np.abs(value).max()
        assert np.abs(after[name] - before[name] - wanted).max() <= 1e-6 * scale, name


def test_batch_statistics_are_trained_and_told_from_parameters() -> None:
    run = run_of(xcit=True)
    state, classifier = run.start(), run.training.classifier
    images = jnp.asarray(np.random.default_rng(0).normal(size=(4, 16, 16, 3)), jnp.float32)
    passed = jax.jit(lambda *leaves: classifier(*leaves, images, train=True))
    logits, stats = passed(state.params, state.stats)
    assert logits.shape == (4, 3)
    assert stats.keys() == state.stats.keys()
    assert stats.keys() | state.params.keys() == state.average.keys()
    assert not stats.keys() & state.params.keys()
    for name, value in stats.items():
        before = state.stats[name]
        assert not np.array_equal(value, before), name
        if name.endswith("num_batches_tracked"):
            assert int(value) == int(before) + 1
            average = averaged({name: before}, {name: value}, 0.9)
            assert int(average[name]) == int(value)


def test_biases_norms_positions_and_class_token_do_not_decay() -> None:
    run = run_of()
    optimiser, params = optimiser_of(run.training), run.start().params
    zeros = jax.tree.map(jnp.zeros_like, params)
    # At step 1 the rate is above 0: the warm-up has begun.
    updates, _ = jax.jit(optimiser.update)(zeros, optimiser.init(params), params, jnp.int32(1))
    rate = float(run.training.rate()(1)) * run.recipe.weight_decay
    for name, update in updates.items():
        free = name.endswith(("bias", "pos_embed", "cls_token")) or params[name].ndim == 1
        wanted = np.zeros_like(update) if free else -rate * np.asarray(params[name])
        assert np.allclose(update, wanted, rtol=1e-5, atol=1e-12), name


def test_a_step_that_is_not_finite_changes_nothing_but_the_counter() -> None:
    run, step = run_of(**SGD), step_of(**SGD)
    state = run.start()
    broken = {**state.params, "classifier.bias": state.params["classifier.bias"].at[0].set(jnp.nan)}
    before = jax.device_get(state._replace(params=broken))
    after, metrics = step(state._replace(params=broken), put(next(run.batches(0, 1)), run.mesh))
    assert float(metrics["skipped"]) == 1
    assert int(after.step) == 1
    for one, other in zip(
        jax.tree.leaves(after._replace(step=0)), jax.tree.leaves(before._replace(step=0)),
        strict=True,
    ):  # fmt: skip
        assert np.array_equal(one, other, equal_nan=True)


def test_the_average_and_the_clip_are_those_of_their_formulas() -> None:
    old = {"a": jnp.array([2.0]), "n": jnp.int32(3)}
    new = averaged(old, {"a": jnp.array([4.0]), "n": jnp.int32(7)}, 0.75)
    assert (float(new["a"][0]), int(new["n"])) == (2.5, 7)
    assert averaged({}, old, 0.75) == {}
    grads = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
    halved = clipped(grads, jnp.float32(5.0), 2.5)
    assert [float(x[0]) for x in halved.values()] == pytest.approx([1.5, 2.0], rel=1e-6)
    assert clipped(grads, jnp.float32(5.0), 0.0) is grads
    assert float(clipped(grads, jnp.float32(5.0), 6.0)["a"][0]) == 3.0


def test_draws_belong_to_seed_epoch_example_and_copy() -> None:
    ints = [jnp.array(each) for each in ([0, 0, 0, 1], [5, 5, 6, 5], [0, 1, 0, 0])]
    keys = jax.random.key_data(image_keys(1, *ints))
    assert len({tuple(key.tolist()) for key in keys}) == 4
    again = jax.random.key_data(image_keys(1, *(each[::-1] for each in ints)))
    assert np.array_equal(again[::-1], keys)
    assert not np.array_equal(jax.random.key_data(image_keys(2, *ints)), keys)
