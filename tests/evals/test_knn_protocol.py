"""The k-NN protocol: figures of one and of several labels, the classes' names, what is refused."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from dino_jax.config import UserError
from dino_jax.config.protocol_options import KnnOptions
from dino_jax.evals.encoder import open_encoder
from dino_jax.evals.protocol import Request
from dino_jax.evals.protocols.knn import run
from dino_jax.evals.store import FeatureStore
from dino_jax.train.sharding import make_mesh

COLOURS = {"blue": (30, 60, 200), "green": (40, 190, 50), "red": (220, 40, 40)}
SIDE = 16


def picture(colour, random):
    noise = random.normal(0, 15, (20, 24, 3))
    return Image.fromarray(np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8))


def folder(path, counts, seed=0):
    random = np.random.default_rng(seed)
    for colour, count in counts.items():
        (path / colour).mkdir(parents=True)
        for number in range(count):
            picture(colour, random).save(path / colour / f"{number}.png")
    return str(path)


def voc(path, subset, count, seed=0):
    """Photographs with a red half, a green half, both or neither; class names in file names."""
    random = np.random.default_rng(seed)
    for part in ("JPEGImages", "ImageSets/Main"):
        (path / part).mkdir(parents=True, exist_ok=True)
    lines = {"green": [], "red": []}
    for number in range(count):
        name, shown = f"{subset}{number}", [bool(number & 1), bool(number & 2)]
        image = np.array(picture("blue", random))
        for half, (colour, each) in enumerate(zip(lines, shown, strict=True)):
            if each:
                image[:, 12 * half : 12 * half + 12] = COLOURS[colour]
            lines[colour].append(f"{name} {1 if each else -1}")
        Image.fromarray(image).save(path / "JPEGImages" / f"{name}.png")
    for colour, said in lines.items():
        (path / "ImageSets" / "Main" / f"{colour}_{subset}.txt").write_text("\n".join(said))
    return f"voc:{path}:{subset}"


def scored(data, val, *, devices=1, **options):
    options = KnnOptions(**{"k": (1, 5), **options})
    encoder = open_encoder("pixels", size=SIDE, resize=SIDE)
    mesh = make_mesh(devices)
    return run(Request(encoder, data, val, None, FeatureStore(None), mesh, 16, 0, options))


@pytest.fixture
def sets(tmp_path):
    return folder(tmp_path / "train", dict.fromkeys(COLOURS, 6)), folder(
        tmp_path / "val", dict.fromkeys(COLOURS, 4), seed=1
    )


def test_colours_are_told_apart_by_their_pixels(sets):
    report = scored(*sets)
    assert {name: sample.value for name, sample in report.samples.items()} == {
        "knn1_top1": 100,
        "knn1_top5": 100,
        "knn5_top1": 100,
        "knn5_top5": 100,
    }
    assert report.titles["knn5_top1"] == "5-NN top-1"
    assert report.notes == ("k-NN of 12 images among 18, temperature 0.07.",)
    assert report.samples["knn1_top1"].units.dtype == bool


def test_one_device_and_eight_say_the_same_of_every_image(sets):
    reports = [scored(*sets, devices=devices) for devices in (1, 8)]
    for name, sample in reports[0].samples.items():
        np.testing.assert_array_equal(sample.units, reports[1].samples[name].units)


def test_classes_are_matched_by_name_and_one_without_queries_is_noted(sets, tmp_path, caplog):
    val = folder(tmp_path / "some", {"red": 3, "green": 2})
    report = scored(sets[0], val)
    assert report.samples["knn5_top1"].value == 100
    assert report.notes[1:] == (f"{val} has no image of the class blue.",)
    assert [record.getMessage() for record in caplog.records] == list(report.notes[1:])


def test_without_queries_some_are_held_out(sets):
    report = scored(sets[0], None)
    assert len(report.samples["knn1_top1"].units) == 1
    assert "held out" in report.notes[1]


def test_the_only_image_of_a_class_may_be_held_out(tmp_path):
    """One of three is held out, the middle one."""
    data = folder(tmp_path, {"blue": 1, "green": 1, "red": 1})
    report = scored(data, None, k=(1,))
    assert report.samples["knn1_top1"].value == 0
    assert "All images of the class green are held out." in report.notes


def test_several_labels_are_scored_by_average_precision(tmp_path):
    bank, queries = voc(tmp_path, "train", 24), voc(tmp_path, "test", 12, seed=1)
    report = scored(bank, queries, k=(3, 6))
    assert {name: sample.value for name, sample in report.samples.items()} == {
        "knn3_map": 100,
        "knn6_map": 100,
    }
    assert report.titles["knn3_map"] == "3-NN mAP"
    forms = [scored(bank, queries, k=(24,), precision_form=form) for form in ("area", "step")]
    assert all(0 < each.samples["knn24_map"].value <= 100 for each in forms)


def test_an_image_that_cannot_be_read_is_left_out(sets, tmp_path):
    (tmp_path / "train" / "red" / "0.png").write_bytes(b"not an image")
    assert "among 17" in scored(*sets).notes[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": (20,)}, "--k=20 wants 20 images, but there are 18 in"),
        ({"k": (0, 5)}, "--k: expected numbers"),
        ({"k": ()}, "--k: expected numbers"),
        ({"temperature": 0.0}, "--temperature=0.0: expected more than 0"),
    ],
)
def test_mistakes_in_the_options_are_one_line(sets, options, said):
    with pytest.raises(UserError, match=said):
        scored(*sets, **options)


def test_mistakes_in_the_images_are_one_line(sets, tmp_path):
    (tmp_path / "val" / "purple").mkdir()
    picture("red", np.random.default_rng(0)).save(tmp_path / "val" / "purple" / "0.png")
    with pytest.raises(UserError, match="no image of the class 'purple', and"):
        scored(*sets)
    flat = tmp_path / "flat"
    flat.mkdir()
    picture("red", np.random.default_rng(0)).save(flat / "0.png")
    with pytest.raises(UserError, match="has no labels"):
        scored(sets[0], str(flat))
    several = voc(tmp_path / "voc", "train", 24)
    with pytest.raises(UserError, match=r"in both .* or in neither"):
        scored(several, sets[1])
    with pytest.raises(UserError, match="--val is missing"):
        scored(several, None)
    other = voc(tmp_path / "other", "test", 8)
    lists = tmp_path / "other" / "ImageSets" / "Main"
    (lists / "red_test.txt").rename(lists / "pink_test.txt")
    with pytest.raises(UserError, match="has the class 'pink'"):
        scored(several, other)


def test_features_that_are_not_finite_are_refused(sets, monkeypatch):
    encoder = open_encoder("pixels", size=SIDE, resize=SIDE)
    bad = dataclasses.replace(encoder, mean=(float("nan"),) * 3)
    monkeypatch.setattr(f"{__name__}.open_encoder", lambda *_, **__: bad)
    with pytest.raises(UserError, match="not all finite"):
        scored(*sets)
