"""Regions of an image, their boxes in its pixels, and the files they are written to."""

import json

import numpy as np
import pytest

from dino_jax.data.palette import read_indexed
from dino_jax.evals.objects.encoding import Encoded
from dino_jax.evals.objects.labels import file_names, write_labels
from dino_jax.evals.objects.regions import Frame, regions_of


def encoded(rows=6, columns=6):
    """Two heads; the second looks at what the features single out, and a little elsewhere."""
    mask = np.zeros((rows, columns), bool)
    mask[2:4, 3:5] = True
    attention = np.full((2, rows, columns), 1e-4, np.float32)
    attention[0, :, 0] = 1
    attention[1][mask] = 1
    attention[1, 5, 0] = 0.9
    features = np.where(mask[..., None], 1, -1) * np.ones(4)
    return Encoded(attention, features.astype(np.float32)), mask


def test_the_head_that_agrees_with_lost_is_chosen():
    given, mask = encoded()
    regions = regions_of(given, fraction=0.99, expansion=100)
    np.testing.assert_array_equal(regions.found.mask, mask)
    assert regions.chosen == 1
    head = regions.heads[1]
    assert head.mask.sum() == 5
    np.testing.assert_array_equal(head.part, mask)
    total = given.attention[1].sum()
    assert head.score == pytest.approx(4 / total, rel=1e-5)
    assert head.threshold == pytest.approx(0.9 / total, rel=1e-5)
    assert head.agreement == pytest.approx(4 / 5)
    assert regions.heads[0].agreement == 0


@pytest.mark.parametrize(("size", "patch"), [(48, 8), (50, 8), (31, 16)])
@pytest.mark.parametrize(("height", "width"), [(30, 47), (96, 100), (7, 5)])
def test_every_pixel_has_the_region_of_its_patch(height, width, size, patch):
    count = size // patch
    mask = np.random.default_rng(0).random((count, count)) < 0.5
    found = Frame(height, width, size, patch).pixels(mask)
    assert found.shape == (height, width)
    for y, x in np.ndindex(height, width):
        row = int((y + 0.5) * size / height // patch)
        column = int((x + 0.5) * size / width // patch)
        assert found[y, x] == (row < count and column < count and mask[row, column])


def test_boxes_are_those_of_the_pixels_to_rounding():
    frame = Frame(90, 130, 48, 8)
    mask = np.zeros((6, 6), bool)
    mask[1:3, 2:6] = True
    ys, xs = np.nonzero(frame.pixels(mask))
    pixels = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    np.testing.assert_allclose(frame.box(mask), pixels, atol=1)
    assert frame.box(mask) == (43, 15, 130, 45)
    assert frame.box(np.zeros((6, 6), bool)) is None
    assert Frame(1, 1, 48, 8).box(mask) == (0, 0, 1, 1)


def test_files_have_names_of_their_own_inside_the_folder():
    names = ["a/b.jpg", "a/b.png", "c.jpg", "../d.jpg", "/e f.jpg", "x.jpg[3]"]
    found = file_names(names)
    assert found == ["a/b.jpg", "a/b.png", "c", "_/d", "e_f", "x"]
    assert len(set(file_names(["a?.png", "a*.png", "a_.png"]))) == 3


def test_masks_boxes_and_scores_are_written(tmp_path):
    given, mask = encoded()
    regions = regions_of(given, fraction=0.99, expansion=100)
    frame = Frame(60, 120, 48, 8)
    write_labels(tmp_path, "deep/one", regions, frame, {"image": "deep/one.jpg", "mass": 0.99})
    attention = read_indexed(tmp_path / "attention" / "deep" / "one.png")
    np.testing.assert_array_equal(attention, 2 * frame.pixels(regions.heads[1].mask))
    objects = read_indexed(tmp_path / "object" / "deep" / "one.png")
    np.testing.assert_array_equal(objects, frame.pixels(mask))
    told = json.loads((tmp_path / "json" / "deep" / "one.json").read_text())
    assert (told["image"], told["mass"], told["width"], told["height"]) == (
        "deep/one.jpg", 0.99, 120, 60
    )  # fmt: skip
    assert told["attention"]["head"] == 2
    assert told["attention"]["box"] == told["object"]["box"] == [60, 20, 100, 40]
    assert [head["agreement"] for head in told["attention"]["heads"]] == [0, 0.8]
    assert told["object"]["score"] == pytest.approx(1 - 4 / 36)
