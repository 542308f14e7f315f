"""`copy-detection` from folders to figures, against one image at a time; and what it refuses."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dino_jax.config import UserError
from dino_jax.evals.instances.copydays import copydays
from dino_jax.evals.protocols import copy_detection
from dino_jax.interop.encoder import open_encoder
from dino_jax.ops.neighbours import unit
from tests.evals.instances import trees
from tests.shared import unpacked


@pytest.fixture
def folder(tmp_path):
    trees.copydays(tmp_path / "copydays")
    return tmp_path / "copydays"


@pytest.fixture
def others(tmp_path):
    return trees.pictures(tmp_path / "others", 5)


@pytest.fixture
def learners(tmp_path):
    return trees.pictures(tmp_path / "learners", 12, first=300)


def described(encoder, paths, side=32, power=4):
    """Each image by itself, straight through Pillow and the network."""
    features, rows = jax.jit(encoder.features), []
    for path in paths:
        image = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        values = (np.asarray(image, np.float32) / 255 - encoder.mean) / encoder.std
        found = features(encoder.params, jnp.asarray(values, jnp.float32)[None])
        patches = np.maximum(np.asarray(found.patches[0], np.float64), 1e-6)
        mean = (patches**power).mean(axis=0) ** (1 / power)
        rows.append(np.concatenate([np.asarray(found.cls[0], np.float64), mean]))
    return np.stack(rows)


def expected(encoder, folder, others, learners=None, *, centred=False, top=3):
    """Mean average precision of each attack, by hand."""
    originals = sorted((folder / "original").iterdir())
    database = described(encoder, [*originals, *sorted(others.iterdir())])
    turn = np.eye(database.shape[1])
    mean = np.zeros(database.shape[1])
    if learners is not None:
        rows = described(encoder, sorted(learners.iterdir()))
        mean = rows.mean(axis=0)
        about = rows - mean if centred else rows
        values, vectors = np.linalg.eigh(about.T @ about / len(rows))
        turn = vectors @ np.diag(np.maximum(values, values.max() * 1e-5) ** -0.5)
    database = (database - mean) @ turn
    scores = {}
    for attack in ("strong", "jpegqual/5", "jpegqual/20", "crops/50", "original"):
        each = []
        for path in sorted((folder / attack).iterdir()):
            query = ((described(encoder, [path]) - mean) @ turn)[0]
            lengths = np.linalg.norm(database, axis=1) * np.linalg.norm(query)
            order = np.argsort(-(database @ query) / lengths)[:top].tolist()
            own = [original.name[:4] for original in originals].index(path.name[:4])
            place = order.index(own) if own in order else None
            each.append(0 if place is None else (1 / (place + 1) + (place == 0)) / 2)
        scores[f"{attack.replace('/', '_')}_map"] = 100 * np.mean(each)
    return scores


@pytest.mark.parametrize("how", ["distractors", "whitened", "centred"])
def test_figures_are_those_of_one_image_at_a_time(folder, others, learners, how):
    encoder = trees.network()
    extra = {"distractors": str(others)}
    if how != "distractors":
        extra |= {"whiten": str(learners)}
        extra |= {"whitening": "reference" if how == "whitened" else "centred"}
    report = copy_detection.run(trees.copies(folder, encoder, **extra))
    wanted = expected(
        encoder,
        folder,
        others,
        learners if "whiten" in extra else None,
        centred=how == "centred",
    )
    assert report.values == pytest.approx(wanted)
    assert report.samples["strong_map"].value == report.values["strong_map"]
    assert report.samples["jpeg_map"].value == pytest.approx(
        (wanted["jpegqual_5_map"] + wanted["jpegqual_20_map"]) / 2
    )
    attacks = [5 * wanted["strong_map"]]
    attacks += [4 * wanted[name] for name in wanted if "_5" in name or "_2" in name]
    assert report.samples["attacks_map"].value == pytest.approx(sum(attacks) / 17)
    assert set(report.titles) == set(report.samples)
    assert "9 images" in report.title


def test_figures_do_not_depend_on_devices(folder, others):
    encoder = trees.network()
    eight, one = (
        copy_detection.run(
            trees.copies(folder, encoder, distractors=str(others), devices=devices)
        ).values
        for devices in (8, 1)
    )
    assert eight == one


@pytest.mark.parametrize("spec", ["pixels", "colour"])
@pytest.mark.parametrize("power", [0.0, 4.0])
def test_trivial_descriptions_run(folder, learners, spec, power):
    request = trees.copies(folder, open_encoder(spec), power=power, side=24)
    report = copy_detection.run(request)
    assert report.values["original_map"] == 100
    assert np.isfinite(report.samples["attacks_map"].value)


def test_what_cannot_be_read_is_named_and_left_out_of_the_others(folder, others, caplog):
    (others / "broken.jpg").write_bytes(b"no image")
    with caplog.at_level(logging.WARNING, "dino_jax"):
        report = copy_detection.run(trees.copies(folder, distractors=str(others)))
    assert any("broken.jpg" in record.getMessage() for record in caplog.records)
    assert any("1 of the 6 images of" in note for note in report.notes)
    assert "9 images" in report.title
    broken = folder / "strong" / "200001.jpg"
    broken.write_bytes(broken.read_bytes()[:-200])
    caplog.clear()
    with pytest.raises(UserError, match=r"cannot read strong/200001\.jpg \(.*: copy it again"):
        copy_detection.run(trees.copies(folder))
    assert not caplog.records


def test_what_lies_beside_the_layout_is_left_out_even_if_damaged(folder, caplog):
    wanted = copy_detection.run(trees.copies(folder)).values
    (folder / "notes.jpg").write_bytes(b"no image")
    trees.pictures(folder / "extra", 2)
    assert copy_detection.run(trees.copies(folder)).values == wanted
    assert not caplog.records


def test_fewer_images_than_dimensions_are_said(folder, learners, caplog):
    request = trees.copies(folder, trees.network(), whiten=str(learners))
    with caplog.at_level(logging.WARNING, "dino_jax"):
        report = copy_detection.run(request)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("whitening of 64 dimensions is learned from 12 images")
    assert any("52 of which had next to no variance" in note for note in report.notes)
    caplog.clear()
    request = trees.copies(folder, trees.network(), whiten=str(learners), dimensions=8)
    report = copy_detection.run(request)
    assert not caplog.records
    assert any("8 dimensions kept of 64" in note for note in report.notes)


def test_a_query_that_is_not_among_the_top_scores_nothing():
    names = ["original/200000.jpg", "original/200100.jpg", "strong/200001.jpg"]
    layout = copydays(names, "data")
    rows = unit(np.array([[1, 0], [0, 1], [0.1, 1]], np.float32))
    options = trees.copies("", top=1).options
    numbers = np.arange(3)
    database = np.asarray(rows[:2])
    found = copy_detection.precisions(np.asarray(rows), database, numbers, layout, options)
    assert found == {0: 1.0, 1: 1.0, 2: 0.0}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"top": 5}, r"--top=5: the database has 4 images; lower --top or add"),
        ({"top": 0}, r"--top=0: expected at least 1"),
        ({"side": 4}, r"--side=4: expected 8 to"),
        ({"side": -5}, r"--side=-5: expected 8 to 8192 pixels"),
        ({"side": 10**6}, r"--side=1000000: expected 8 to 8192 pixels"),
        ({"power": -1.0}, r"--power=-1: expected 0 .* to 16"),
        ({"power": 1e30}, r"--power=1e\+30: expected 0 .* to 16"),
        ({"power": float("nan")}, r"--power=nan: expected 0"),
        ({"dimensions": 0}, r"--dimensions=0: expected at least 1"),
        ({"dimensions": 10_000, "whiten": "learners"}, r"--dimensions=10000: the features have"),
        ({"whiten": "none"}, r"there is no folder .*none"),
        ({"distractors": "empty"}, r"empty"),
        ({"distractors": "broken"}, r"no image of .*broken can be read"),
        ({"whiten": "same", "whitening": "centred"}, r"--whiten=.*same: the features do not vary"),
    ],
)
def test_bad_options_are_one_line(folder, learners, tmp_path, options, expected):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_bytes(b"no image")
    trees.save(tmp_path / "same" / "a.png", trees.scene(1))
    places = {key: str(tmp_path / value) for key, value in options.items() if type(value) is str}
    places.pop("whitening", None)
    with pytest.raises(UserError, match=expected) as error:
        copy_detection.run(trees.copies(folder, **(options | places)))
    assert "\n" not in str(error.value)


def test_another_layout_is_one_line(tmp_path):
    trees.pictures(tmp_path, 3)
    with pytest.raises(UserError, match="has no images in original/; expected original/ and"):
        copy_detection.run(trees.copies(tmp_path))


def test_colours_find_the_shared_copies():
    folder = unpacked("copydays_like.tar") / "copydays_like"
    report = copy_detection.run(trees.copies(folder, top=20, side=64))
    assert report.title == "copy detection: 270 attacks among 30 images"
    assert report.values["jpegqual_50_map"] > 95
    assert len(report.samples["strong_map"].units) == 30
