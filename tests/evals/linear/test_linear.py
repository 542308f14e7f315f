"""The linear protocol from images to a report, with a network small enough for a test."""

import dataclasses
import itertools
import os
import re
import signal

import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import ModelConfig, UserError
from dino_jax.config.protocol_options import LinearOptions
from dino_jax.evals.linear import batches, released
from dino_jax.evals.linear.probe import few_choose
from dino_jax.evals.protocols.linear import run
from dino_jax.interop.formats.dino import load_linear
from dino_jax.interop.network import Network
from dino_jax.interrupt import Interrupted
from tests.evals.embed.networks import DEPTH, WIDTH, encoder
from tests.evals.linear.requests import CLASSES, folder, request

QUICK = {"epochs": 3, "train_batch": 8, "lrs": (1e-5, 0.03, 1.0), "held_out": 0.25}
CACHED = {**QUICK, "epochs": 10, "augment": False}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    return folder(root / "train", 12), folder(root / "val", 6, seed=1)


def asked(images, options, **others):
    """A request whose features are kept for the other tests."""
    return request(*images, options, cache=images[0].parent / "cache", **others)


def test_colours_are_learnt_from_cached_features_and_the_rate_is_not_chosen_on_val(
    images, tmp_path
):
    report = run(asked(images, LinearOptions(**CACHED), out=tmp_path))
    assert report.samples["linear_top1"].value > 60
    assert report.samples["linear_top1"].units.shape == (18,)
    assert set(report.samples) == {"linear_top1"}, "top-5 of three classes says nothing"
    by_rate = report.values["linear_by_lr"]
    best = max(by_rate, key=lambda rate: by_rate[rate]["held_out_top1"])
    assert report.values["linear_lr"] == float(best)
    assert by_rate[best]["top1"] == report.samples["linear_top1"].value

    written = np.load(tmp_path / "linear.npz")
    assert tuple(written["class_names"]) == CLASSES
    original = load_linear(tmp_path / "linear.pth")
    assert original["weight"].shape == (3, DEPTH * WIDTH)
    np.testing.assert_array_equal(original["weight"], written["weight"])
    np.testing.assert_array_equal(original["bias"], written["bias"])


def test_a_class_that_val_lacks_is_noted(images, tmp_path, caplog):
    val = folder(tmp_path / "val", 3, classes=CLASSES[:2])
    cache = images[0].parent / "cache"
    report = run(request(images[0], val, LinearOptions(**CACHED), cache=cache))
    assert report.notes[-1] == f"{val} has no image of the class {CLASSES[2]}."
    assert report.notes[-1] in [record.getMessage() for record in caplog.records]
    assert report.samples["linear_top1"].units.shape == (6,)
    with pytest.raises(UserError, match=f"no image of the class '{CLASSES[2]}', and"):
        run(request(val, images[1], LinearOptions(**CACHED)))


def test_no_choice_depends_on_val(images, tmp_path):
    other = folder(tmp_path / "val", 4, seed=7, noise=90)
    values = [
        run(asked(images, LinearOptions(**CACHED))).values,
        run(request(images[0], other, LinearOptions(**CACHED))).values,
    ]
    held = [[each["held_out_top1"] for each in v["linear_by_lr"].values()] for v in values]
    assert held[0] == held[1]
    assert values[0]["linear_lr"] == values[1]["linear_lr"]


def test_with_augmentation_interrupted_is_uninterrupted(images, tmp_path, monkeypatch):
    options = LinearOptions(**QUICK)
    whole = run(asked(images, options, out=tmp_path / "whole"))
    real, count = batches.Extractor.__call__, itertools.count()

    def signalling(self, params, given):
        if next(count) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, params, given)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(batches.Extractor, "__call__", signalling)
    try:
        with pytest.raises(Interrupted, match=str(tmp_path / "stopped")):
            run(asked(images, options, out=tmp_path / "stopped"))
    finally:
        signal.signal(signal.SIGINT, before)
    monkeypatch.undo()
    again = run(asked(images, options, out=tmp_path / "stopped"))
    assert again.values == whole.values
    first, second = (np.load(tmp_path / each / "linear.npz") for each in ("whole", "stopped"))
    np.testing.assert_array_equal(first["weight"], second["weight"])
    np.testing.assert_array_equal(first["bias"], second["bias"])


def test_the_references_protocol_reports_its_best_epoch(images):
    options = LinearOptions(**{**CACHED, "protocol": "reference", "lr": 0.3})
    report = run(asked(images, options))
    by_epoch = report.values["linear_by_epoch"]
    assert len(by_epoch) == 10
    assert report.samples["linear_top1"].value == pytest.approx(max(by_epoch))
    assert report.values["linear_best_epoch"] == by_epoch.index(max(by_epoch))


def released_by(network, weight):
    """The same encoder with a released head."""
    model = ModelConfig(arch="vit_tiny", patch_size=8)
    head = {"weight": weight, "bias": np.zeros(len(weight), np.float32)}
    return dataclasses.replace(network, network=Network(model, (16, 16), {}, {}, None, head))


def test_a_released_head_answers_without_training(images, tmp_path):
    trained = run(asked(images, LinearOptions(**CACHED), out=tmp_path))
    with_head = released_by(encoder(), np.load(tmp_path / "linear.npz")["weight"])
    with_head.network.classifier["bias"][:] = np.load(tmp_path / "linear.npz")["bias"]
    report = run(asked(images, LinearOptions(head="released"), network=with_head))
    np.testing.assert_array_equal(
        report.samples["linear_top1"].units, trained.samples["linear_top1"].units
    )


def test_a_released_head_says_what_it_reads(images):
    """A fine-tuned network's is on the class token alone, though the usual feature is longer."""
    with_head = released_by(encoder(), np.ones((len(CLASSES), WIDTH), np.float32))
    report = run(asked(images, LinearOptions(head="released"), network=with_head))
    assert report.notes[0].endswith("its released head on the feature of the image (class token)")
    wrong = LinearOptions(head="released", n_last_blocks=2)
    with pytest.raises(UserError, match=f"takes {WIDTH} inputs"):
        run(asked(images, wrong, network=with_head))


def test_few_images_that_choose_are_said(images, caplog):
    report = run(asked(images, LinearOptions(**CACHED)))
    assert report.notes[0].startswith(f"linear of {encoder().name}: ")
    assert "is chosen on " in report.notes[1]
    assert report.notes[1] in [record.getMessage() for record in caplog.records]
    assert few_choose(50) == []


def test_a_head_of_imagenet_takes_folders_of_its_synsets(images, tmp_path):
    synsets = released.imagenet_synsets()
    assert len(synsets) == 1000
    assert [synsets.index(name) for name in CLASSES] == [0, 482, 701]
    weight = np.zeros((1000, DEPTH * WIDTH), np.float32)
    network = released_by(encoder(), weight)
    network.network.classifier["bias"][[482, 700, 1, 2, 0, 701]] = [9, 5, 4, 3, 2, 1]
    report = run(request("", images[1], LinearOptions(head="released"), network=network))
    assert report.samples["linear_top1"].value == pytest.approx(100 / 3)
    assert report.samples["linear_top5"].value == pytest.approx(200 / 3)
    other = folder(tmp_path / "val", 2, classes=("cat", "dog"))
    with pytest.raises(UserError, match="2 classes and the released head 1000"):
        run(request("", other, LinearOptions(head="released"), network=network))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"head": "released"}, "has no linear head"),
        ({"lrs": (0.1, -1.0)}, "--lrs=0.1,-1.0: expected learning rates above 0"),
        ({"lrs": ()}, "--lrs=: expected learning rates above 0"),
        ({"epochs": 0}, "--epochs=0: expected 1 or more"),
        ({"train_batch": 0}, "--train-batch=0: expected 1 or more"),
        ({"held_out": 1.0}, "--held-out=1.0: expected a share between 0 and 1"),
        ({"n_last_blocks": 9}, "--n-last-blocks=9: expected 1 to 2"),
    ],
)
def test_mistakes_are_one_line(images, options, said):
    with pytest.raises(UserError, match=said) as error:
        run(asked(images, LinearOptions(**options)))
    assert "\n" not in str(error.value)


def test_a_head_of_other_features_is_one_line(images):
    network = released_by(encoder(), np.zeros((3, 7), np.float32))
    with pytest.raises(UserError, match="takes 7 inputs and the features have 32"):
        run(asked(images, LinearOptions(head="released"), network=network))


def test_one_image_to_a_class_cannot_be_split(images, tmp_path):
    single = folder(tmp_path / "train", 1)
    with pytest.raises(UserError, match="one image to each class"):
        run(request(single, images[1], LinearOptions(**QUICK)))


def test_a_head_that_diverged_is_not_chosen(images):
    options = LinearOptions(**{**CACHED, "lrs": (0.03, 1e39)})
    report = run(asked(images, options))
    assert report.values["linear_lr"] == 0.03
    assert report.values["linear_by_lr"]["1e+39"] == {"held_out_top1": None, "top1": None}
    assert jnp.isfinite(report.samples["linear_top1"].value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lrs": (1e39, 2e39)}, "no classifier of small stayed finite, at any of --lrs"),
        ({"protocol": "reference", "lr": 1e39}, "did not stay finite at --lr=1e+39"),
    ],
)
def test_where_every_head_diverged_there_are_no_figures(images, tmp_path, options, said):
    with pytest.raises(UserError, match=re.escape(said)) as error:
        run(asked(images, LinearOptions(**{**CACHED, **options}), out=tmp_path))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "linear.npz").exists()


@pytest.mark.parametrize("options", [CACHED, QUICK, {"head": "released"}], ids=str)
def test_weights_that_diverged_have_no_figures(images, options):
    network = released_by(encoder(), np.full((3, DEPTH * WIDTH), np.nan, np.float32))
    if "head" not in options:
        nothing = {name: jnp.full_like(each, np.nan) for name, each in network.params.items()}
        network = dataclasses.replace(network, params=nothing, identity="diverged")
    with pytest.raises(UserError, match="not all finite: these weights diverged"):
        run(asked(images, LinearOptions(**options), network=network))
