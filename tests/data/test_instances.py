"""Images shrunk whole or stretched: Pillow's own thumbnails, boxes, orientations, damage."""

import numpy as np
import pytest
from PIL import Image

from dino_jax.config import UserError
from dino_jax.data.crops import resize_image
from dino_jax.data.decode import UnreadableImageError
from dino_jax.data.evaluation import eval_image
from dino_jax.data.instances import Required, Shrunk, Stretched, inside, thumbnail
from dino_jax.data.sources import open_source

SIDES = [(96, 128), (128, 96), (61, 200), (40, 40), (300, 7), (64, 64), (65, 64), (1000, 990)]


def pixels(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels)).astype(np.uint8)


def saved(path, image: np.ndarray, **options):
    Image.fromarray(image).save(path, **options)
    return path


@pytest.mark.parametrize("sides", SIDES)
def test_thumbnails_are_pillow_s_and_never_larger(sides):
    image = pixels(*sides)
    theirs = Image.fromarray(image)
    theirs.thumbnail((64, 64), Image.Resampling.LANCZOS)
    ours = thumbnail(image, 64)
    np.testing.assert_array_equal(ours, np.asarray(theirs))
    assert max(ours.shape) <= 64
    if max(sides) <= 64:
        np.testing.assert_array_equal(ours, image)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_thumbnails_of_other_channels_go_one_by_one(channels):
    image = pixels(90, 120, channels)
    ours = thumbnail(image, 30)
    for c in range(channels):
        alone = thumbnail(np.repeat(image[:, :, c : c + 1], 3, axis=2), 30)
        np.testing.assert_array_equal(ours[:, :, c], alone[:, :, 0])


@pytest.fixture
def files(tmp_path):
    return [saved(tmp_path / f"{number}.png", pixels(*sides)) for number, sides in enumerate(SIDES)]


def test_every_image_lies_in_the_corner_of_its_square(files):
    source = Shrunk(files, [None] * len(files), 64)
    for index, (height, width) in enumerate(source.shapes):
        square = source.load(index)
        assert square.shape == (64, 64, 3)
        np.testing.assert_array_equal(square[:height, :width], thumbnail(pixels(*SIDES[index]), 64))
        assert not square[height:].any()
        assert not square[:, width:].any()
        # The evaluations' reading at the size of the square changes nothing.
        np.testing.assert_array_equal(eval_image(square, size=64, resize=64), square)


def test_boxes_are_cut_before_the_image_is_shrunk(files):
    box = (10.4, 20.0, 90.6, 500.0)
    source = Shrunk(files[:1], [box], 32)
    wanted = thumbnail(pixels(*SIDES[0])[20:96, 10:91], 32)
    height, width = source.shapes[0]
    np.testing.assert_array_equal(source.load(0)[:height, :width], wanted)


@pytest.mark.parametrize("box", [(200, 0, 300, 50), (5, 5, 5, 9), (-9, -9, 0, 5)])
def test_a_box_outside_of_its_image_is_said(box):
    with pytest.raises(UserError, match=r"the box .* of a\.jpg is not within its 128x96 pixels"):
        inside(box, 128, 96, of="a.jpg")


@pytest.mark.parametrize("square", [False, True])
def test_a_box_outside_of_its_image_is_no_unreadable_image(files, square):
    source = Shrunk(files[:1], [(200.0, 0.0, 300.0, 50.0)], 32, square=square)
    for found in (lambda: source.shapes, lambda: source.load(0)):
        with pytest.raises(
            UserError, match=r"0\.png is not within its 128x96 pixels: mend the box"
        ):
            found()


def test_what_is_required_and_cannot_be_read_is_an_error(tmp_path, files):
    source = Required(open_source(str(tmp_path)))
    np.testing.assert_array_equal(source.load(0), pixels(*SIDES[0]))
    assert (len(source), source.name(1), source.labels) == (len(SIDES), "1.png", None)
    assert source.content_key() == open_source(str(tmp_path)).content_key()
    files[1].write_bytes(b"no image")
    with pytest.raises(UserError, match=r"cannot read 1\.png \(.*\): copy it again, or remove it"):
        source.load(1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_that_lies_on_its_side_is_turned(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "turned.jpg", pixels(60, 90), exif=exif)
    source = Shrunk([path], [None], 30)
    assert source.shapes == [(30, 20) if orientation > 4 else (20, 30)]
    assert source.load(0)[:20, :20].any()


def test_squares_are_stretched(files):
    source = Shrunk(files, [None] * len(files), 48, square=True)
    assert set(source.shapes) == {(48, 48)}
    np.testing.assert_array_equal(source.load(0), resize_image(pixels(*SIDES[0]), 48, 48))
    folder = open_source(str(files[0].parent))
    stretched = Stretched(folder, 48)
    assert (len(stretched), stretched.name(0)) == (len(folder), folder.name(0))
    for index in range(len(folder)):
        np.testing.assert_array_equal(stretched.load(index), source.load(index))


def test_what_features_depend_on_is_in_the_key(files):
    boxes = [None] * len(files)
    keys = [
        Shrunk(files, boxes, 64).content_key(),
        Shrunk(files, boxes, 65).content_key(),
        Shrunk(files, boxes, 64, square=True).content_key(),
        Shrunk(files, [(0, 0, 9, 9), *boxes[1:]], 64).content_key(),
        Shrunk(files[1:], boxes[1:], 64).content_key(),
    ]
    assert Shrunk(files, boxes, 64).content_key() == keys[0]
    assert Shrunk(files, boxes, 64).part(np.arange(1, len(files))).content_key() == keys[-1]
    folder = open_source(str(files[0].parent))
    keys += [Stretched(folder, side).content_key() for side in (32, 33)]
    saved(files[0], pixels(50, 50))
    keys.append(Shrunk(files, boxes, 64).content_key())
    assert len(set(keys)) == len(keys)


def test_damage_is_an_unreadable_image(tmp_path):
    whole = saved(tmp_path / "whole.jpg", pixels(64, 64))
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[:-500])
    source = Shrunk([cut], [None], 32)
    assert source.shapes == [(32, 32)]
    with pytest.raises(UnreadableImageError):
        source.load(0)
    (tmp_path / "none.jpg").write_bytes(b"no image")
    with pytest.raises(UnreadableImageError, match=r"none\.jpg"):
        _ = Shrunk([tmp_path / "none.jpg"], [None], 32).shapes
    with pytest.raises(UnreadableImageError):
        Shrunk([tmp_path / "absent.jpg"], [None], 32).load(0)
