"""`jaccard` as a whole: a network that sees the objects, one that does not, and mistakes."""

import json

import numpy as np
import pytest
from PIL import Image

from dino_jax.config import UserError
from dino_jax.data.palette import read_indexed, write_indexed
from dino_jax.data.voc import voc_root
from dino_jax.evals.objects.truth import Truth, best_of_heads
from dino_jax.evals.protocols import jaccard
from dino_jax.interop.encoder import open_encoder
from tests.data.layouts import write_voc
from tests.evals.dense.requests import boxes_of, diverged, request, seeing_red
from tests.evals.embed.networks import SHALLOW, encoder
from tests.shared import unpacked


def figures(report):
    return {name: sample.value for name, sample in report.samples.items()}


def author_s(labels, masks):
    """The evaluation the author gave in thread 54, on lists and numbers."""
    total, objects = 0.0, [each for each in np.unique(labels) if each not in (0, 255)]
    for each in objects:
        ours = labels == each
        found = [(ours & mask).sum() / (ours | mask).sum() for mask in masks]
        total += max(found)
    return total / len(objects)


def test_objects_that_are_looked_at_are_found(tmp_path):
    root = write_voc(tmp_path, sizes=((64, 64), (48, 96)))
    report = jaccard.run(request("jaccard", root, seeing_red(), size=192, mass=(0.9999,)))
    found = figures(report)
    assert set(found) == set(report.titles) == {"jaccard_99.99", "corloc", "corloc_attention"}
    assert found["jaccard_99.99"] > 80
    assert found["corloc"] == found["corloc_attention"] == 100
    assert len(report.samples["corloc"].units) == 3


def test_the_overlap_is_the_author_s(tmp_path):
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, (12, 10)).astype(np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    labels[:3] = 255
    attention = random.exponential(size=(3, 5, 5)).astype(np.float32)
    truth = Truth(labels, (1, 2, 3), np.zeros((0, 4), int))
    best, heads = best_of_heads(attention, truth, fraction=0.5, size=44, patch=8, void=None)
    stretched = np.asarray(Image.fromarray(labels).resize((44, 44), 0))[:40, :40]
    masks = []
    for row in attention.reshape(3, -1):
        order, kept = np.argsort(row), np.zeros(25, bool)
        kept[order[np.cumsum(row[order]) / row.sum() > 0.5]] = True
        masks.append(np.kron(kept.reshape(5, 5), np.ones((8, 8))).astype(bool))
    assert best.mean() == pytest.approx(author_s(stretched, masks))
    assert heads.shape == (3,)
    ignored, _ = best_of_heads(attention, truth, fraction=0.5, size=44, patch=8, void=255)
    assert (ignored >= best - 1e-9).all()
    assert ignored.mean() > best.mean()


def test_no_network_is_the_centre_and_a_network_runs(tmp_path):
    root = write_voc(tmp_path)
    report = jaccard.run(request("jaccard", root, open_encoder("colour"), size=32))
    assert set(figures(report)) == {"jaccard_60", "jaccard_80", "corloc", "corloc_attention"}
    assert "centred ellipses" in report.notes[0]
    wanted = figures(jaccard.run(request("jaccard", root, encoder(SHALLOW), size=36, batch=1)))
    again = jaccard.run(request("jaccard", root, encoder(SHALLOW), size=36, batch=2, devices=2))
    assert figures(again) == pytest.approx(wanted)
    assert not again.notes
    of_xcit = jaccard.run(request("jaccard", root, seeing_red(), size=32))
    assert "has no keys to read" in of_xcit.notes[0]


def test_classes_stand_for_objects_where_those_are_not_marked(tmp_path):
    root = write_voc(tmp_path)
    with_objects = figures(jaccard.run(request("jaccard", root, seeing_red(), size=64)))
    (root / "SegmentationObject" / "val_1.png").unlink()
    report = jaccard.run(request("jaccard", root, seeing_red(), size=64))
    assert "1 of 3 images have no SegmentationObject" in report.notes[0]
    assert figures(report)["corloc"] == with_objects["corloc"]


def test_boxes_of_annotations_come_before_those_of_masks(tmp_path):
    root = write_voc(tmp_path)
    (root / "Annotations").mkdir()
    for number in range(3):
        (root / "Annotations" / f"val_{number}.xml").write_text(
            "<annotation><object><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>"
            "</bndbox></object></annotation>"
        )
    found = figures(jaccard.run(request("jaccard", root, seeing_red(), size=64)))
    assert found["corloc"] == found["corloc_attention"] == 0
    assert found["jaccard_60"] > 30


def test_masks_of_any_images_without_a_mark(tmp_path):
    root = write_voc(tmp_path / "voc")
    out = tmp_path / "out"
    asked = request("jaccard", root / "JPEGImages", seeing_red(), size=64, masks=True, out=out)
    report = jaccard.run(asked)
    assert report.samples == report.titles == {}
    assert report.files == (out / "masks",)
    assert report.notes[-1] == "red: masks, boxes and JSON of 6 images are written."
    for name in ("train_0", "val_1"):
        told = json.loads((out / "masks" / "json" / f"{name}.json").read_text())
        assert (told["image"], told["lost"]) == (f"{name}.jpg", "patches")
        truth = read_indexed(root / "SegmentationObject" / f"{name}.png")
        for kind, value in (("attention", told["attention"]["head"]), ("object", 1)):
            mask = read_indexed(out / "masks" / kind / f"{name}.png")
            assert mask.shape == truth.shape
            assert set(np.unique(mask)) == {0, value}
        np.testing.assert_allclose(told["object"]["box"], boxes_of(truth)[0], atol=6)
    assert len(list((out / "masks" / "object").iterdir())) == 6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mass": (0.6, 1.2)}, "--mass: expected shares"),
        ({"mass": ()}, "--mass"),
        ({"expansion": 0}, "--expansion=0"),
        ({"size": 4}, "--size=4: less than a patch"),
        ({"masks": True}, "name a folder for them by --out"),
        ({"val_set": "test"}, "there is no list"),
    ],
)
def test_options_that_cannot_be(tmp_path, options, said):
    with pytest.raises(UserError, match=said):
        jaccard.run(request("jaccard", write_voc(tmp_path), **{"size": 32} | options))


def test_a_network_that_diverged_is_refused(tmp_path):
    asked = request("jaccard", write_voc(tmp_path), diverged(seeing_red()), size=64)
    with pytest.raises(UserError, match="the features of red are not all finite"):
        jaccard.run(asked)


def test_data_that_cannot_be(tmp_path):
    root = write_voc(tmp_path / "voc")
    with pytest.raises(UserError, match=r"not laid out as VOC .*--masks --out=DIR"):
        jaccard.run(request("jaccard", root / "JPEGImages", size=32))
    path = root / "SegmentationObject" / "val_1.png"
    labels = read_indexed(path)
    write_indexed(path, np.where(labels == 1, 0, labels).astype(np.uint8))
    with pytest.raises(UserError, match=r"val_1\.png marks no object"):
        jaccard.run(request("jaccard", root, size=32))
    write_indexed(path, labels[:, :-1].copy())
    with pytest.raises(UserError, match=r"is 48 x 64 pixels but its mask .* is 47 x 64"):
        jaccard.run(request("jaccard", root, size=32))
    (root / "JPEGImages" / "val_2.jpg").unlink()
    with pytest.raises(UserError, match="names val_2, but"):
        jaccard.run(request("jaccard", root, size=32))


def test_an_image_of_no_mark_that_cannot_be_read_is_left_out(tmp_path, caplog):
    root = write_voc(tmp_path / "voc") / "JPEGImages"
    (root / "val_0.jpg").write_bytes(b"nothing")
    asked = request("jaccard", root, seeing_red(), size=32, masks=True, out=tmp_path)
    report = jaccard.run(asked)
    assert report.title.startswith("Masks of 5 images")
    assert report.notes[-1] == "1 of 6 images cannot be read: left out."
    assert len(list((tmp_path / "masks" / "json").iterdir())) == 5
    assert "skipped unreadable image val_0.jpg" in caplog.text
    for file in root.iterdir():
        file.write_bytes(b"nothing")
    with pytest.raises(UserError, match="none of the images of"):
        jaccard.run(asked)


def test_real_objects_and_the_centre():
    root = voc_root(unpacked("voc_like.tar"))
    report = jaccard.run(request("jaccard", root, size=64, val_set="real_voc2011"))
    assert len(report.samples["corloc"].units) == 3
    assert 3 < figures(report)["jaccard_60"] < 60
    assert not any("SegmentationObject" in note for note in report.notes)
