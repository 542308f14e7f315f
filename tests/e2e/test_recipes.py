"""Every recipe builds, its step included; the largest runs."""

import json
import pathlib

import jax
import jax.numpy as jnp
import pytest

from dino_jax.train.method import build_method, init_state
from dino_jax.train.step import make_train_step
from tests.config import recipes
from tests.data.images import encoded, write_folder
from tests.e2e.command import figures, leave_result, photograph, train


@pytest.mark.parametrize("name", recipes.NAMES)
def test_recipe_builds_to_its_step(name: str) -> None:
    """Without a number being computed; blocks scanned, which leaves every tensor as it is."""
    resolved = recipes.resolved(name, "model.blocks=scanned")
    method, crops = build_method(resolved), resolved.config.crops
    state = jax.eval_shape(lambda: init_state(method, resolved))
    batch = {
        name: jax.ShapeDtypeStruct((resolved.config.batch_size, number, side, side, 3), jnp.uint8)
        for name, number, side in (
            ("views", 2, crops.global_size),
            ("locals", crops.local_number, crops.local_size),
        )
        if number
    }
    row = jax.ShapeDtypeStruct((resolved.config.batch_size,), jnp.int32)
    after, metrics = jax.eval_shape(
        make_train_step(method), state, batch | {"index": row, "epoch": row}
    )
    assert jax.tree.structure(after) == jax.tree.structure(state)
    for new, old in zip(*map(jax.tree.leaves, (after, state)), strict=True):
        assert (new.shape, new.dtype, new.weak_type) == (old.shape, old.dtype, old.weak_type)
    assert all((value.shape, value.dtype) == ((), jnp.float32) for value in metrics.values())
    prototypes = resolved.config.head.prototypes
    assert state.student["head.last_layer.weight_v"].shape[0] == prototypes
    assert state.target_state.shape == (1, prototypes)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_largest_recipe_takes_two_steps(tmp_path: pathlib.Path) -> None:
    """As it is but for the number of steps and the batch, on two CPU cores and in 16 GB."""
    files = {f"{i}.jpg": encoded(photograph(i, 240, 300), "JPEG") for i in range(8)}
    photos = write_folder(tmp_path / "photos", files)
    ended = train(
        tmp_path / "run",
        f"data.train=folder:{photos}", "steps=2", "batch_size=2", "devices=1", "log_every=1",
        config=recipes.FOLDER / "vit_b8.py",
    )  # fmt: skip
    assert ended.code == 0
    lines = figures(tmp_path / "run")
    assert [line["step"] for line in lines] == [0, 1, 2]
    assert all(line["loss"] > 0 and not line["skipped"] for line in lines[1:])
    seconds = json.loads((tmp_path / "run" / "summary.json").read_text())["seconds"]
    leave_result(
        "vit_b8_two_steps",
        "tests/e2e/test_recipes.py",
        losses=[line["loss"] for line in lines[1:]],
        seconds=seconds,
    )
