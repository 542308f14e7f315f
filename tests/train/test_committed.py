"""The checkpoint of format 1 that is committed loads for ever: in part, whole, and to go on."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

from dino_jax.config import from_dict, resolve
from dino_jax.interop.checkpoint import Checkpoints, load_network
from dino_jax.train.method import build_method, init_state

STORED = pathlib.Path(__file__).parent / "data" / "checkpoint_v1"
EXAMPLES = 8 * 4


@pytest.mark.parametrize("network", ["teacher", "student"])
def test_values_are_those_of_the_day_it_was_made(network: str) -> None:
    pinned = json.loads((STORED / "pinned.json").read_text())
    params, stats, _ = load_network(STORED, network)
    found = {f"{network}.{name}": np.asarray(value) for name, value in (params | stats).items()}
    assert found.keys() == {name for name in pinned if name.startswith(network)}
    for name, value in found.items():
        assert list(value.shape) == pinned[name]["shape"], name
        assert np.ravel(value)[:3].tolist() == pinned[name]["first"], name
        assert np.sum(value, dtype=np.float64) == pytest.approx(pinned[name]["sum"], rel=1e-12)


def test_training_could_go_on_from_it(tmp_path: pathlib.Path) -> None:
    """The whole state, into what today's code builds from the configuration in the checkpoint."""
    _, _, made_by = load_network(STORED)
    resolved = resolve(from_dict(made_by), examples=EXAMPLES, platform="cpu", device_count=1)
    start = init_state(build_method(resolved), resolved)
    shutil.copytree(STORED / "3", tmp_path / "3")
    checkpoints = Checkpoints(tmp_path)
    state = checkpoints.restore(start)
    checkpoints.close()
    assert int(state.step) == 3
    assert jax.tree.structure(state) == jax.tree.structure(start)
    assert np.any(state.target_state)
    teacher, _, _ = load_network(STORED)
    assert all(np.array_equal(state.teacher[name], teacher[name]) for name in teacher)
    assert {int(slot["count"]) for slot in state.opt_state.values()} == {2, 3}


def test_it_names_no_machine_and_is_small() -> None:
    files = [path for path in STORED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 300_000
    assert not [path for path in files if b"/tmp" in path.read_bytes()]
