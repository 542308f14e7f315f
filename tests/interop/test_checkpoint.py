"""Checkpoints: bit-equal on any number of devices, refused in plain words where unfit."""

import json
import pathlib
import shutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import UserError, from_dict, to_dict
from dino_jax.interop.checkpoint import FORMAT_VERSION, Checkpoints, load_network
from dino_jax.interop.spec import load_model
from dino_jax.train.method import init_state
from dino_jax.train.sharding import make_mesh, replicated
from dino_jax.train.state import TrainState
from tests.train import tiny


def different(state: TrainState) -> TrainState:
    """The same structure with other numbers everywhere, every leaf its own."""
    leaves, structure = jax.tree.flatten(state)
    random = np.random.default_rng(0)
    return structure.unflatten(
        jnp.asarray(random.integers(0, 999, leaf.shape), leaf.dtype)
        if jnp.issubdtype(leaf.dtype, jnp.integer)
        else jnp.asarray(random.normal(size=leaf.shape), leaf.dtype)
        for leaf in leaves
    )


def fresh(**overrides: Any) -> TrainState:
    run = tiny.trainer(**overrides)
    return init_state(run.method, run.resolved)


def save(folder: pathlib.Path, state: TrainState, *steps: int, **options: Any) -> None:
    checkpoints = Checkpoints(folder, **options)
    for step in steps:
        checkpoints.save(state._replace(step=jnp.asarray(step, jnp.int32)), step)
    checkpoints.close()


def restored(folder: pathlib.Path, like: TrainState) -> TrainState:
    checkpoints = Checkpoints(folder)
    try:
        return checkpoints.restore(like)
    finally:
        checkpoints.close()


@pytest.mark.parametrize("batch_norm", [False, True])
def test_every_leaf_returns_to_the_bit_on_any_number_of_devices(
    tmp_path: pathlib.Path, batch_norm: bool
) -> None:
    start = fresh(head__batch_norm=batch_norm)
    assert bool(start.student_stats) == batch_norm
    state = different(start)
    save(tmp_path, jax.device_put(state, replicated(make_mesh(2))), 7)
    for devices in (1, 2, 8):
        everywhere = replicated(make_mesh(devices))
        found = restored(tmp_path, jax.device_put(start, everywhere))
        assert isinstance(found, TrainState)
        assert jax.tree.structure(found) == jax.tree.structure(state)
        wanted = state._replace(step=jnp.asarray(7, jnp.int32))
        for ours, theirs in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
            assert ours.dtype == theirs.dtype
            assert np.array_equal(ours, theirs)
            assert ours.sharding == everywhere


def test_newest_is_restored_and_only_so_many_are_kept(tmp_path: pathlib.Path) -> None:
    state = fresh()
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.latest is None
    for step in (3, 6, 9):
        checkpoints.save(state._replace(step=jnp.asarray(step, jnp.int32)), step)
        checkpoints.wait()
        assert checkpoints.latest == step
    checkpoints.save(state, 9)  # what is there already is not saved again
    checkpoints.close()
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"6", "9"}
    assert int(restored(tmp_path, state).step) == 9


def test_saving_does_not_read_what_the_next_step_donates(tmp_path: pathlib.Path) -> None:
    """The copy to the host is made before `save` returns, so the buffers are free."""
    everywhere = replicated(make_mesh(1))
    state = jax.device_put(different(fresh()), everywhere)
    wanted = jax.device_get(state.student)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state, 1)
    overwrite = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf * 0, tree), donate_argnums=0)
    jax.block_until_ready(overwrite(state))
    checkpoints.close()
    found = restored(tmp_path, fresh())
    assert all(np.array_equal(found.student[name], value) for name, value in wanted.items())


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"model__depth": 1}, "student.backbone.blocks.1.attn.proj.bias"),
        ({"optim__name": "sgd"}, "opt_state.backbone"),
        ({"head__batch_norm": True}, "student.head.mlp.1.weight"),
        ({"model__width": 32}, "student.backbone.blocks.0.attn.proj.bias"),
        ({"head__prototypes": 64}, "head.last_layer.weight_v"),
    ],
)
def test_other_tensors_are_named(
    tmp_path: pathlib.Path, overrides: dict[str, Any], named: str
) -> None:
    save(tmp_path, fresh(), 1)
    with pytest.raises(UserError) as error:
        restored(tmp_path, fresh(**overrides))
    assert named in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_to_restore_is_said(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match="no checkpoint in"):
        restored(tmp_path / "absent", fresh())


def set_version(folder: pathlib.Path, version: int | None) -> None:
    """Change the format version in the metadata that orbax wrote."""
    (path,) = (each for each in folder.rglob("*") if b'"format_version"' in read(each))
    text = json.loads(path.read_text())
    text["custom_metadata"]["format_version"] = version
    path.write_text(json.dumps(text))


def read(path: pathlib.Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


@pytest.mark.parametrize(
    ("version", "line"),
    [(FORMAT_VERSION + 1, "the format 2 of .*1 is not known"), (None, "it says no format_version")],
)
def test_another_format_is_refused(tmp_path: pathlib.Path, version: int | None, line: str) -> None:
    state = fresh()
    save(tmp_path, state, 1)
    set_version(tmp_path, version)
    for load in (lambda: restored(tmp_path, state), lambda: load_network(tmp_path)):
        with pytest.raises(UserError, match=line):
            load()


def test_one_network_is_loaded_with_the_configuration_that_made_it(
    tmp_path: pathlib.Path,
) -> None:
    state, config = different(fresh(head__batch_norm=True)), tiny.trainer().resolved.config
    save(tmp_path / "checkpoints", state, 4, 8, config=to_dict(config))
    for place in (tmp_path, tmp_path / "checkpoints", tmp_path / "checkpoints" / "8"):
        for network in ("teacher", "student"):
            params, stats, made_by = load_network(place, network)
            for found, wanted in (
                (params, getattr(state, network)),
                (stats, getattr(state, f"{network}_stats")),
            ):
                assert found.keys() == wanted.keys()
                assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
            assert from_dict(made_by) == config


@pytest.mark.parametrize("network", ["teacher", "student"])
def test_a_network_is_built_as_it_was_trained(tmp_path: pathlib.Path, network: str) -> None:
    """Also where the run was in bfloat16 with drop path: features of an image are exact."""
    run = tiny.trainer(precision="bfloat16", model__drop_path=0.5)
    state = different(init_state(run.method, run.resolved))
    save(tmp_path, state, 4, config=to_dict(run.resolved.config))
    model, params, stats, config = load_model(str(tmp_path), network)
    trained = run.resolved.config
    assert (config.crops, config.data, config.head) == (trained.crops, trained.data, trained.head)
    assert config.model.width == trained.model.width
    assert stats.keys() == getattr(state, f"{network}_stats").keys()
    size = config.crops.global_size
    images = jax.random.normal(jax.random.key(0), (2, size, size, config.model.channels))
    plain = tiny.trainer().method.teacher
    wanted = jax.jit(plain.features)(getattr(state, network), images)
    np.testing.assert_array_equal(jax.jit(model.features)(params, images).cls, wanted.cls)


def test_a_checkpoint_without_a_configuration_builds_nothing(tmp_path: pathlib.Path) -> None:
    save(tmp_path, fresh(), 1)
    with pytest.raises(UserError, match="holds no configuration"):
        load_model(str(tmp_path))


@pytest.mark.parametrize("place", ["absent", ".", "file"])
def test_a_place_without_a_checkpoint_is_said(tmp_path: pathlib.Path, place: str) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(UserError, match="no checkpoint at"):
        load_network(tmp_path / place)


def test_an_unknown_network_is_said(tmp_path: pathlib.Path) -> None:
    save(tmp_path, fresh(), 1)
    with pytest.raises(UserError, match="teacher or student"):
        load_network(tmp_path, "pupil")


def test_what_was_being_written_at_a_crash_is_not_taken_for_a_checkpoint(
    tmp_path: pathlib.Path,
) -> None:
    state = fresh()
    save(tmp_path, state, 3)
    unfinished = tmp_path / "6.orbax-checkpoint-tmp"
    shutil.copytree(tmp_path / "3", unfinished)
    for mark in unfinished.rglob("commit_success.txt"):
        mark.unlink()
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.latest == 3
    checkpoints.close()
    assert int(restored(tmp_path, state).step) == 3
    save(tmp_path, state, 6)
    assert int(restored(tmp_path, state).step) == 6


def test_a_removed_checkpoint_leaves_the_one_before(tmp_path: pathlib.Path) -> None:
    state = fresh()
    save(tmp_path, state, 3, 6)
    shutil.rmtree(tmp_path / "6")
    assert int(restored(tmp_path, state).step) == 3


@pytest.mark.parametrize("harm", ["empty", "half"])
def test_a_damaged_checkpoint_is_one_line_that_says_what_to_do(
    tmp_path: pathlib.Path, harm: str
) -> None:
    state = fresh()
    save(tmp_path, state, 3, 6)
    for path in [path for path in (tmp_path / "6").rglob("*") if path.is_file()]:
        if harm == "empty":
            path.unlink()
        elif path.name == "_METADATA":  # half of the tensors' bytes makes orbax's threads shout
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError) as error:
        restored(tmp_path, state)
    assert str(tmp_path / "6") in str(error.value)
    assert "remove" in str(error.value)
    assert "\n" not in str(error.value)
