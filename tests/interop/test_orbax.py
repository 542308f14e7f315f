"""Checkpoints of ours as a format: what a run holds comes out, and goes round bit for bit."""

import json
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.interop.checkpoint import load_network, newest_step, read_tree
from dino_jax.interop.formats import orbax
from dino_jax.interop.network import Weights
from dino_jax.interop.spec import load_model

RUN = pathlib.Path(__file__).parents[1] / "train" / "data" / "checkpoint_v1"


@pytest.fixture(scope="module")
def of_the_run() -> Weights:
    return orbax.load(RUN, optimiser=True)


def same(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype
        and left[name].shape == right[name].shape
        and left[name].tobytes() == right[name].tobytes()
        for name in left
    )


def test_a_run_holds_both_networks_the_centre_the_optimiser_and_what_it_is(
    of_the_run: Weights,
) -> None:
    for name in ("student", "teacher"):
        params, stats, config = load_network(RUN, name)
        network = of_the_run.network(name)
        assert {key: np.asarray(value).tobytes() for key, value in params.items()} == {
            key: value.tobytes() for key, value in network.params.items()
        }
        assert network.stats.keys() == stats.keys()
        assert network.stats["head.mlp.1.num_batches_tracked"].dtype == np.int64
        assert (network.model.width, network.model.depth, network.model.heads) == (8, 1, 1)
        assert network.head is not None
        assert network.head.prototypes == config["head"]["prototypes"]
        assert network.size == (16, 16)
    assert of_the_run.centre is not None
    assert of_the_run.centre.shape == (1, 8)
    assert of_the_run.epoch == 3
    assert of_the_run.optimiser is not None
    assert of_the_run.optimiser.name == "adamw"
    # the last layer was frozen for the first of three steps
    steps = of_the_run.optimiser.steps
    assert steps["backbone.cls_token"] == 3
    assert steps["head.last_layer.weight_v"] == 2
    assert of_the_run.facts["steps"] == 3


def test_it_goes_round_bit_for_bit(of_the_run: Weights, tmp_path: pathlib.Path) -> None:
    orbax.save(of_the_run, tmp_path)
    again = orbax.load(tmp_path, optimiser=True)
    for name, network in of_the_run.networks.items():
        other = again.network(name)
        assert same(network.params, other.params)
        assert same(network.stats, other.stats)
        assert (network.model, network.head, network.size) == (other.model, other.head, other.size)
    assert of_the_run.optimiser is not None
    assert again.optimiser is not None
    assert again.optimiser.steps == of_the_run.optimiser.steps
    for moment, tensors in of_the_run.optimiser.moments.items():
        assert same(tensors, again.optimiser.moments[moment])
    assert again.centre is not None
    assert np.array_equal(again.centre, of_the_run.centre)
    assert (again.epoch, again.facts["steps"]) == (of_the_run.epoch, of_the_run.facts["steps"])


def test_epochs_are_those_of_the_images_where_the_run_says_how_many(
    tmp_path: pathlib.Path,
) -> None:
    shutil.copytree(RUN, tmp_path / "checkpoints")
    config = load_network(RUN)[2]
    record = {"format_version": 1, "requested": config, "resolved": config, "examples": 12}
    (tmp_path / "config.json").write_text(json.dumps(record))
    found = orbax.load(tmp_path)
    assert (found.epoch, found.facts["images"], found.facts["steps"]) == (2, 12, 3)


def test_one_network_with_a_classifier_and_no_head(
    of_the_run: Weights, tmp_path: pathlib.Path
) -> None:
    teacher = of_the_run.network()
    backbone = {k: v for k, v in teacher.params.items() if k.startswith("backbone.")}
    classifier = {"weight": np.ones((4, 8), np.float32), "bias": np.arange(4, dtype=np.float32)}
    alone = teacher._replace(params=backbone, stats={}, head=None, classifier=classifier)
    orbax.save(Weights({"teacher": alone}, facts={"source": "a file"}), tmp_path)
    again = orbax.load(tmp_path)
    assert list(again.networks) == ["teacher"]
    assert again.network().head is None
    assert same(again.network().classifier, classifier)
    assert again.epoch is None
    with pytest.raises(UserError, match="holds no student"):
        load_network(tmp_path, "student")
    model, params, _, _ = load_model(str(tmp_path))
    assert model.features(params, jnp.zeros((1, 16, 16, 3))).cls.shape == (1, 8)


def test_the_student_alone(of_the_run: Weights, tmp_path: pathlib.Path) -> None:
    orbax.save(of_the_run, tmp_path, network="student")
    again = orbax.load(tmp_path, optimiser=True)
    assert list(again.networks) == ["teacher"]
    assert same(again.network().params, of_the_run.network("student").params)
    assert again.optimiser is None
    assert again.centre is None


def test_a_size_and_a_folder_without_a_checkpoint_are_refused(
    of_the_run: Weights, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(UserError, match="takes images of any size"):
        orbax.save(of_the_run, tmp_path, size=(32, 32))
    with pytest.raises(UserError, match="no checkpoint at"):
        orbax.load(tmp_path)


def test_what_is_no_run_of_ours_is_passed_by(of_the_run: Weights, tmp_path: pathlib.Path) -> None:
    """A `config.json` of something else above a checkpoint, which may also be broken."""
    folder = tmp_path / "app" / "run"
    shutil.copytree(RUN, folder / "checkpoints")
    for text in ('{"name": "my web app"}', "{", "[" * 100_000, '{"requested": 1, "resolved": 2}'):
        for place in (tmp_path, tmp_path / "app", folder):
            (place / "config.json").write_text(text)
            (place / "summary.json").write_text(text)
        found = orbax.load(folder)
        assert same(found.network().params, of_the_run.network().params)
        assert "images" not in found.facts


@pytest.mark.parametrize("name", ["²", "٣", "3.tmp", "-4"])
def test_a_step_is_written_in_digits(name: str, tmp_path: pathlib.Path) -> None:
    assert newest_step(tmp_path) is None
    (tmp_path / name).mkdir()
    assert newest_step(tmp_path) is None
    (tmp_path / "12").mkdir()
    assert newest_step(tmp_path) == 12


@pytest.mark.parametrize("steps", ["x", -4, 1 << 40, None])
def test_steps_that_are_none(of_the_run: Weights, tmp_path: pathlib.Path, steps: object) -> None:
    orbax.save(of_the_run._replace(optimiser=None, facts={"steps": steps}), tmp_path)
    assert newest_step(tmp_path / "checkpoints") == 0


def test_images_are_normalised_as_its_weights_need(
    of_the_run: Weights, tmp_path: pathlib.Path
) -> None:
    said = [[0.5, 0.5, 0.5], [0.5, 0.5, 0.25]]
    one = of_the_run._replace(optimiser=None, facts={"normalisation": said})
    orbax.save(one, tmp_path)
    _, beside = read_tree(tmp_path, ("step",))
    assert [beside["config"]["data"][name] for name in ("mean", "std")] == said
    _, _, _, config = load_model(str(tmp_path))
    assert [list(config.data.mean), list(config.data.std)] == said
