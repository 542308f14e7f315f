import itertools
import pathlib
import pickle
import re

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.data.embedded import (
    PHOTOGRAPHS,
    TRAIN_WINDOWS,
    VAL_WINDOWS,
    EmbeddedSource,
    cells,
)
from dino_jax.data.sources import open_source

GAP = 8  # pixels that neither split sees
Rectangle = tuple[int, int, int, int]


NOTICE = pathlib.Path(__file__).parents[2] / "NOTICE"


def opened(spec: str, channels: int = 3) -> EmbeddedSource:
    source = open_source(spec, channels=channels)
    assert isinstance(source, EmbeddedSource)
    return source


def windows(source: EmbeddedSource) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = {}
    for index in range(len(source)):
        photograph, corner = source.name(index).split("@")
        top, left = corner.split(",")
        found.setdefault(photograph, []).append((int(top), int(left)))
    return found


@pytest.mark.parametrize("window", [32, 64, 128])
def test_no_window_of_one_split_comes_near_one_of_the_other(window: int) -> None:
    train, val = opened(f"embedded:photos:{window}"), opened(f"embedded:photos:val:{window}")
    ours, theirs = windows(train), windows(val)
    assert ours.keys() == theirs.keys()
    for photograph in ours:
        a, b = np.array(ours[photograph]), np.array(theirs[photograph])
        distance = np.abs(a[:, None, :] - b[None, :, :]).max(axis=-1)
        assert distance.min() >= window + GAP, photograph


@pytest.mark.parametrize(("height", "width"), [(303, 384), (512, 512), (427, 640), (150, 700)])
def test_cells_are_disjoint_with_a_gap_and_inside_the_photograph(height: int, width: int) -> None:
    splits = [cells(height, width, split, 64) for split in ("train", "val")]
    assert all(splits)
    for a, b in itertools.combinations([*splits[0], *splits[1]], 2):
        assert apart(a, b) >= GAP
    for top, left, bottom, right in [*splits[0], *splits[1]]:
        assert 0 <= top <= bottom - 64
        assert 0 <= left <= right - 64
        assert bottom <= height
        assert right <= width
    held_out = sum((b - t) * (r - left) for t, left, b, r in splits[1])
    assert 0.15 < held_out / (height * width) < 0.45


def apart(a: Rectangle, b: Rectangle) -> int:
    """The greater of the vertical and the horizontal distance of two rectangles."""
    vertical = max(a[0], b[0]) - min(a[2], b[2])
    return max(vertical, max(a[1], b[1]) - min(a[3], b[3]))


def test_a_photograph_with_room_for_one_cell_is_left_out() -> None:
    assert cells(100, 100, "train", 64) == cells(100, 100, "val", 64) == []
    assert cells(60, 300, "train", 64) == []
    with pytest.raises(UserError, match="too large"):
        opened("embedded:photos:500")


def test_every_photograph_has_equally_many_windows_and_none_is_blank() -> None:
    for spec, count in (("embedded:photos", TRAIN_WINDOWS), ("embedded:photos:val", VAL_WINDOWS)):
        source = opened(spec)
        assert np.bincount(source.labels).tolist() == [count] * 16
        assert len({source.name(k) for k in range(len(source))}) == len(source)
        spread = [source.load(k).mean(axis=2).std() for k in range(0, len(source), 7)]
        assert min(spread) >= 4
    assert len(source) >= 500  # view retrieval looks at 500 held-out crops


def test_windows_are_the_photographs_pixels_and_may_be_written_to() -> None:
    skimage_data = pytest.importorskip("skimage.data")
    source = opened("embedded:photos:val")
    index = list(source.labels).index(source.class_names.index("astronaut"))
    top, left = windows(source)["astronaut"][0]
    expected = skimage_data.astronaut()[top : top + 64, left : left + 64]
    window = source.load(index)
    np.testing.assert_array_equal(window, expected)
    window[...] = 0
    np.testing.assert_array_equal(source.load(index), expected)


def test_grey_photographs_and_textures_are_known() -> None:
    source = opened("embedded:photos:val")
    for label, name in enumerate(source.class_names):
        image = source.load(list(source.labels).index(label)).astype(int)
        assert source.grey[label] == (np.ptp(image, axis=2).max() == 0), name
    textures = {
        name for name, is_one in zip(source.class_names, source.texture, strict=True) if is_one
    }
    assert textures == {"brick", "grass", "gravel"}


def test_the_held_out_part_and_copies_are_the_same_windows() -> None:
    held_out = opened("embedded:photos:96").held_out()
    assert windows(held_out) == windows(opened("embedded:photos:val:96"))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(held_out)).load(5), held_out.load(5))


def test_one_channel_is_grey_and_four_are_refused() -> None:
    assert opened("embedded:photos:val", 1).load(0).shape == (64, 64, 1)
    with pytest.raises(UserError, match="1 or 3 channels"):
        opened("embedded:photos", 4)


def test_what_may_be_shown_is_what_the_notice_says() -> None:
    text = NOTICE.read_text().split("Photographs\n----")[1].split("What is not redistributed")[0]
    allowed, refused = text.split("CC BY 2.0: https", maxsplit=1)
    for photograph in PHOTOGRAPHS:
        word = re.compile(rf"\b{photograph.name.removesuffix('_left')}\b")
        assert bool(word.search(allowed)) == photograph.shown, photograph.name
        assert photograph.shown or word.search(refused), photograph.name
    source = opened("embedded:photos:val")
    hidden = {
        source.name(i).split("@")[0] for i in range(len(source)) if not source.may_be_shown(i)
    }
    assert hidden == {"moon", "motorcycle_left"}
