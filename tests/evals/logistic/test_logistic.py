"""The logistic protocol from images to a report: parts of labels, lists, several labels."""

import numpy as np
import pytest
from PIL import Image

from dino_jax.config import UserError
from dino_jax.config.protocol_options import LogisticOptions
from dino_jax.evals.protocols.logistic import run
from tests.evals.linear.requests import CLASSES, COLOURS, folder, request

QUICK = {"l2s": (1e-1, 1e-3), "iterations": 50}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    return folder(root / "train", 20), folder(root / "val", 6, seed=1)


def asked(images, devices=1, **options):
    cache = images[0].parent / "cache"
    return request(*images, LogisticOptions(**options), cache=cache, devices=devices)


def test_parts_of_the_labels_have_figures_each(images):
    report = run(asked(images, labels=(10, 100), **QUICK))
    assert list(report.samples) == ["logistic_10_top1", "logistic_100_top1"]
    assert list(report.titles.values()) == ["10 %: top-1", "100 %: top-1"]
    assert report.values["logistic_10"]["images"] == 6
    assert report.values["logistic_100"]["images"] == 60
    assert report.samples["logistic_100_top1"].value > 75
    assert report.samples["logistic_100_top1"].units.shape == (18,)
    assert set(report.values["logistic_100"]["held_out_by_l2"]) == {"0.1", "0.001"}


def test_devices_do_not_matter(images):
    one, eight = (
        run(asked(images, devices, labels=(100,), l2=1e-2, iterations=50)) for devices in (1, 8)
    )
    first, second = (each.values["logistic_100"]["objective"] for each in (one, eight))
    assert first == pytest.approx(second, rel=1e-4)


def test_a_class_that_val_lacks_is_noted(images, tmp_path, caplog):
    val = folder(tmp_path / "val", 3, classes=CLASSES[:2])
    options = LogisticOptions(labels=(100,), l2=1e-2, iterations=50)
    report = run(request(images[0], val, options, cache=images[0].parent / "cache"))
    assert report.notes[1:] == (f"{val} has no image of the class {CLASSES[2]}.",)
    warned = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert warned == list(report.notes[1:])
    assert report.samples["logistic_100_top1"].units.shape == (6,)


def test_a_list_takes_the_place_of_the_parts(images, tmp_path):
    names = [f"{name}_0{number:02d}.png" for name in CLASSES for number in range(5)]
    path = tmp_path / "list.txt"
    path.write_text("\n".join(names))
    report = run(asked(images, subset=str(path), l2=1e-3, iterations=50))
    assert list(report.samples) == ["logistic_subset_top1"]
    assert report.values["logistic_subset"]["images"] == 15
    assert report.values["logistic_subset"]["l2"] == 1e-3


def voc(root, count, *, seed):
    """A folder laid out as VOC, of images that show one colour above another."""
    random = np.random.default_rng(seed)
    (root / "JPEGImages").mkdir(parents=True)
    (root / "ImageSets" / "Main").mkdir(parents=True)
    shown = random.random((count, 3)) < 0.4
    shown[:3] |= np.eye(3, dtype=bool)
    for number, each in enumerate(shown):
        halves = [COLOURS[k] for k in np.flatnonzero(each)] or [np.array([120, 120, 120])]
        pixels = np.concatenate([np.full((24 // len(halves), 24, 3), half) for half in halves])
        pixels = np.clip(pixels + random.normal(0, 15, pixels.shape), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / "JPEGImages" / f"{number:06d}.png")
    for column, name in enumerate(("bird", "cat", "dog")):
        marks = np.where(shown[:, column], 1, -1)
        marks[-1] = 0
        lines = [f"{number:06d} {mark:2d}" for number, mark in enumerate(marks)]
        (root / "ImageSets" / "Main" / f"{name}_all.txt").write_text("\n".join(lines))
    return f"voc:{root}:all"


def test_several_labels_are_measured_by_precision(tmp_path):
    train, val = voc(tmp_path / "train", 40, seed=0), voc(tmp_path / "val", 20, seed=1)
    options = {"labels": (50, 100), **QUICK}
    report = run(request(train, val, LogisticOptions(**options), cache=tmp_path / "cache"))
    assert list(report.samples) == ["logistic_50_map", "logistic_100_map"]
    sample = report.samples["logistic_100_map"]
    assert sample.units.shape == (20, 3, 2)
    assert np.all(sample.units[-1, :, 1] == -1), "what is difficult counts neither way"
    assert sample.value > 60
    assert report.values["logistic_50"]["images"] == 20


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"labels": ()}, "--labels=: expected percentages above 0, to 100"),
        ({"labels": (0.0, 10.0)}, "--labels=0,10: expected percentages"),
        ({"labels": (101.0,)}, "--labels=101: expected percentages"),
        ({"l2s": ()}, "--l2s=: expected weights of 0 or more"),
        ({"l2": -1.0}, "--l2=-1.0: expected weights of 0 or more"),
        ({"held_out": 0.0}, "--held-out=0.0: expected a share"),
        ({"iterations": 0}, "--iterations=0: expected 1 or more"),
        ({"labels": (1.0,)}, "3 labelled images are too few"),
        ({"subset": "no/such/file"}, "--subset=no/such/file cannot be read"),
    ],
)
def test_mistakes_are_one_line(images, options, said):
    with pytest.raises(UserError, match=said) as error:
        run(asked(images, **options))
    assert "\n" not in str(error.value)


def test_a_label_that_is_only_measured_is_one_line(tmp_path):
    train, val = voc(tmp_path / "train", 6, seed=0), voc(tmp_path / "val", 6, seed=1)
    marks = tmp_path / "train" / "ImageSets" / "Main" / "cat_all.txt"
    marks.write_text(marks.read_text().replace(" 1", "-1"))
    with pytest.raises(UserError, match="has no images of the class 'cat'"):
        run(request(train, val, LogisticOptions()))


def test_several_labels_in_one_of_the_two_alone_are_one_line(images, tmp_path):
    several = voc(tmp_path / "voc", 6, seed=0)
    with pytest.raises(UserError, match="has several labels to an image"):
        run(request(images[0], several, LogisticOptions()))
