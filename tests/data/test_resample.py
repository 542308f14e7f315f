"""Crops cut for training beside Pillow's: the same boxes, nearly the same pixels."""

import numpy as np
import pytest
from PIL import Image

from dino_jax.config import CropsConfig
from dino_jax.data import resample
from dino_jax.data.crops import Box, cut, cut_crops, draw_boxes
from dino_jax.data.resample import Cutter
from dino_jax.data.sources import open_source
from tests.data.images import pixels

CROPS = CropsConfig(global_size=48, local_size=20, local_number=4)
BOXES = [Box(5, 7, 50, 40), Box(0, 0, 64, 64, flip=True), Box(30, 20, 9, 12)]
needed = pytest.mark.skipif(not resample.AVAILABLE, reason="cykooz_resizer is not installed")


def made(cutter: Cutter, image: np.ndarray, size: int, full: tuple | None = None) -> np.ndarray:
    out = np.empty((len(BOXES), size, size, image.shape[2]), np.uint8)
    cutter(image, BOXES, out, full)
    return out


def photographs() -> list[np.ndarray]:
    source = open_source("embedded:photos:train:64", channels=3)
    return [source.load(index) for index in range(0, len(source), 400)]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_without_the_library_crops_are_pillows(channels: int) -> None:
    image = pixels(0, (64, 64, channels))
    np.testing.assert_array_equal(made(Cutter(pillow=True), image, 24), cut(image, BOXES, 24))


@needed
def test_crops_of_photographs_are_within_half_a_level_of_pillows() -> None:
    errors = []
    for number, image in enumerate(photographs()):
        place = {"seed": 0, "epoch": 0, "example": number}
        ours = cut_crops(image, CROPS, **place, cutter=Cutter())
        theirs = cut_crops(image, CROPS, **place)
        for a, b in zip(ours, theirs, strict=True):
            errors.append(np.abs(a.astype(int) - b).ravel())
    found = np.concatenate(errors)
    assert 0 < found.mean() <= 0.5
    assert np.percentile(found, 99) <= 2


@needed
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_each_channel_is_cut_by_itself(channels: int) -> None:
    image = np.concatenate([photographs()[0], photographs()[1]], axis=2)[:, :, :channels]
    ours = made(Cutter(), image, 24)
    for c in range(channels):
        alone = made(Cutter(), np.ascontiguousarray(image[:, :, c : c + 1]), 24)
        np.testing.assert_array_equal(ours[..., c : c + 1], alone)


@needed
def test_nothing_outside_a_box_matters_and_a_box_of_the_same_size_is_copied() -> None:
    image = pixels(0, (64, 64, 3))
    outside = 255 - image
    outside[5:55, 7:47] = image[5:55, 7:47]
    np.testing.assert_array_equal(made(Cutter(), outside, 24)[0], made(Cutter(), image, 24)[0])
    out = np.empty((1, 8, 8, 3), np.uint8)
    Cutter()(image, [Box(2, 3, 8, 8, flip=True)], out)
    np.testing.assert_array_equal(out[0], image[2:10, 3:11][:, ::-1])


@pytest.mark.parametrize("pillow", [True, pytest.param(False, marks=needed)])
def test_of_four_bytes_a_pixel_three_are_taken(pillow: bool) -> None:
    padded = np.dstack([photographs()[0], pixels(1, (64, 64))])
    view, plain = padded[:, :, :3], padded[:, :, :3].copy()
    ours = made(Cutter(pillow=pillow), view, 24)
    np.testing.assert_array_equal(ours, made(Cutter(pillow=pillow), plain, 24))


@pytest.mark.parametrize("pillow", [True, pytest.param(False, marks=needed)])
def test_boxes_are_scaled_with_an_image_decoded_smaller(pillow: bool) -> None:
    # A smooth picture loses nothing in half the size: the crops have to lie in the same place.
    row, column = np.mgrid[0:128, 0:128]
    large = np.dstack([row + column, 2 * row, 255 - column]).clip(0, 255).astype(np.uint8)
    small = np.asarray(Image.fromarray(large).reduce(2))
    ours = made(Cutter(pillow=pillow), small, 24, (128, 128))
    difference = np.abs(ours.astype(int) - made(Cutter(pillow=True), large, 24))
    assert np.percentile(difference, 90) <= 1
    assert difference.mean() < 0.7


def test_views_of_a_smaller_image_have_the_boxes_of_the_whole_one() -> None:
    seen: list[Box] = []

    def cutter(image: np.ndarray, boxes: list[Box], out: np.ndarray, full: object) -> None:
        assert full == (128, 96)
        seen.extend(boxes)
        out[...] = 0

    place = {"seed": 1, "epoch": 2, "example": 3}
    cut_crops(pixels(0, (64, 48, 3)), CROPS, **place, full=(128, 96), cutter=cutter)
    assert seen == draw_boxes(128, 96, CROPS, **place)
