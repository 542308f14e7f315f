"""Pictures of every kind of file and of every shape: right, or refused in one line."""

import dataclasses
import io
import logging

import numpy as np
import pytest
from PIL import Image, ImageOps

from dino_jax.config import UserError
from dino_jax.viz.attend import room
from dino_jax.viz.attend.maps import attention_maps
from dino_jax.viz.attend.picture import open_pictures, open_rows, pictured, shape_at, shown
from tests.viz.attend.networks import HEADS, PATCH, fine, vit

ORIENTATION = 0x0112


def levels(height=20, width=30, channels=3, seed=0):
    """Smooth enough to survive a JPEG file."""
    random = np.random.default_rng(seed).integers(0, 256, (3, 4, channels), dtype=np.uint8)
    planes = [Image.fromarray(random[..., k]).resize((width, height)) for k in range(channels)]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)


def written(path, image, **options):
    image.save(path, **options)
    return path


def rgb():
    return Image.fromarray(levels())


def sixteen():
    deep = (levels(channels=1)[..., 0].astype(np.uint16) * 257).astype("<u2")
    return Image.frombytes("I;16", (30, 20), deep.tobytes())


def on_its_side():
    image = rgb().transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return image, exif


KINDS = {
    "grey.png": lambda: Image.fromarray(levels(channels=1)[..., 0]),
    "rgba.png": lambda: Image.fromarray(levels(channels=4), "RGBA"),
    "palette.gif": lambda: rgb().quantize(64),
    "cmyk.jpg": lambda: rgb().convert("CMYK"),
    "cmyk.tif": lambda: rgb().convert("CMYK"),
    "deep.png": sixteen,
    "bits.png": lambda: rgb().convert("1"),
    "real.tif": lambda: Image.fromarray(levels(channels=1)[..., 0].astype(np.float32) / 255),
}


@pytest.mark.parametrize("name", ["film.gif", "film.webp", "pages.tif", "film.png", "one.gif"])
@pytest.mark.parametrize("in_folder", [False, True])
def test_of_several_images_in_a_file_the_first_is_shown_and_said(name, in_folder, tmp_path, caplog):
    frames = [Image.fromarray(levels(seed=seed)) for seed in range(3 if name != "one.gif" else 1)]
    path = written(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
    with caplog.at_level(logging.WARNING, logger="dino_jax"):
        (picture,) = open_pictures(tmp_path if in_folder else path, vit(), size=20)
    assert np.abs(picture.image[:16].astype(int) - levels()[:16, :24]).mean() < 20
    told = [each.getMessage() for each in caplog.records]
    wanted = f"{name} holds 3 images: the first is shown"
    assert [line.startswith(wanted) for line in told] == [True] * (name != "one.gif")


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_is_shown_as_it_looks(name, tmp_path):
    made = KINDS[name]()
    (picture,) = open_pictures(written(tmp_path / name, made), vit(), size=16)
    assert picture.name == name
    assert picture.image.shape == (16, 24, 3)
    assert picture.pixels.dtype == np.uint8
    if name in ("deep.png", "real.tif"):  # 16 bits and real numbers, scaled to 8
        wanted = Image.fromarray(levels(channels=1)[..., 0]).convert("RGB")
    else:
        with Image.open(tmp_path / name) as read:
            wanted = read.convert("RGB")
    wanted = np.asarray(wanted.resize((24, 16), Image.Resampling.BILINEAR))
    assert np.abs(picture.image.astype(int) - wanted).max() <= 1
    assert attention_maps(vit(), picture.pixels).shape == (1, HEADS, 2, 3)


def test_a_photograph_taken_upright_is_upright(tmp_path):
    image, exif = on_its_side()
    path = written(tmp_path / "a.png", image, exif=exif)
    (picture,) = open_pictures(path, vit(), size=16)
    with Image.open(path) as read:
        upright = ImageOps.exif_transpose(read)
    assert upright.size == (30, 20)
    np.testing.assert_array_equal(
        picture.pixels, np.asarray(upright.resize((24, 16), Image.Resampling.BILINEAR))
    )


def test_it_is_resized_and_cut_as_the_original_does(tmp_path):
    """Bilinear, short side to the size, the rest cut at the right and at the bottom."""
    image = Image.fromarray(levels(21, 50))
    picture = pictured(np.asarray(image), vit(), size=20)
    wanted = image.resize((int(20 * 50 / 21), 20), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(picture.pixels, np.asarray(wanted)[:16, :40])
    square = pictured(np.asarray(image), vit(), size=20, square=True)
    stretched = image.resize((20, 20), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(square.pixels, np.asarray(stretched)[:16, :16])


@pytest.mark.parametrize(
    ("shape", "size", "wanted"),
    [((100, 200), 50, (50, 100)), ((333, 100), 60, (199, 60)), ((1, 7), 8, (8, 56))],
)
def test_the_aspect_is_kept(shape, size, wanted):
    assert shape_at(*shape, size=size) == wanted
    assert shape_at(*shape, size=size, square=True) == (size, size)


def test_one_pixel_wide_and_a_single_pixel(tmp_path):
    (tall,) = open_pictures(
        written(tmp_path / "a.png", Image.fromarray(levels(5, 1))), vit(), size=8
    )
    assert tall.image.shape == (40, 8, 3)
    (dot,) = open_pictures(
        written(tmp_path / "b.png", Image.fromarray(levels(1, 1))), vit(), size=16
    )
    assert dot.pixels.shape == (16, 16, 3)
    assert attention_maps(vit(), tall.pixels).shape == (1, HEADS, 5, 1)


def test_6000_pixels_are_read_at_the_size_asked_for(tmp_path):
    path = tmp_path / "wide.jpg"
    Image.new("RGB", (6000, 4000), (200, 30, 30)).save(path)
    (picture,) = open_pictures(path, vit(), size=24)
    assert picture.image.shape == (24, 32, 3)


def test_what_is_too_large_is_refused_before_it_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "available", lambda: room.needed(vit(), 40 * 40))
    path = written(tmp_path / "line.png", Image.fromarray(levels(1, 6000)))
    with pytest.raises(UserError) as refused:
        list(open_pictures(path, vit(), size=480))
    told = str(refused.value)
    assert told.startswith("line.png of 6000 x 1 pixels: 60 x 360000 patches of 8 pixels need")
    assert told.endswith("no --size fits its shape, --square stretches it")
    assert "\n" not in told
    with pytest.raises(UserError, match=r"--size=320 fits$"):
        pictured(levels(30, 30), vit(), size=800)
    assert pictured(levels(30, 30), vit(), size=320).pixels.shape == (320, 320, 3)
    with pytest.raises(UserError, match=r"--size=320 fits$"):
        pictured(levels(30, 30), vit(), size=328)


def test_a_size_below_the_patch_is_one_line():
    with pytest.raises(UserError, match="--size=7: less than a patch of small, 8 pixels"):
        pictured(levels(), vit(), size=7)


def test_a_folder_in_order_without_what_cannot_be_read(tmp_path, caplog):
    for name in ("b.png", "a/z.png", "c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        written(tmp_path / name, rgb())
    (tmp_path / "bad.png").write_bytes(b"no image")
    assert [each.name for each in open_pictures(tmp_path, vit(), size=16)] == [
        "a/z.png", "b.png", "c.png",
    ]  # fmt: skip
    assert "skipped unreadable image bad.png" in caplog.text


def test_of_a_folder_what_is_too_large_is_left_out(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(room, "available", lambda: room.needed(vit(), 40 * 40))
    written(tmp_path / "line.png", Image.fromarray(levels(1, 6000)))
    with pytest.raises(UserError, match=r"none of the 1 images of .* can be shown"):
        list(open_pictures(tmp_path, vit(), size=80))
    written(tmp_path / "a.png", rgb())
    assert [each.name for each in open_pictures(tmp_path, vit(), size=80)] == ["a.png"]
    assert "left out: line.png of 6000 x 1 pixels" in caplog.text


def test_each_network_reads_whole_patches_of_its_own(tmp_path):
    path = written(tmp_path / "a.png", Image.fromarray(levels(20, 30)))
    ((coarse, small),) = open_rows(path, [vit(), fine()], size=20)
    assert coarse.pixels.shape == (16, 24, 3)
    assert small.pixels.shape == (20, 28, 3)
    np.testing.assert_array_equal(small.pixels[:16, :24], coarse.pixels)


def test_networks_of_other_channels_are_not_compared(tmp_path):
    path = written(tmp_path / "a.png", rgb())
    grey = dataclasses.replace(vit(), channels=1, name="grey")
    with pytest.raises(UserError, match="grey reads images of 1 channels and small of 3"):
        list(open_rows(path, [vit(), grey]))


def test_what_cannot_be_read_is_one_line(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"a.png cannot be read as an image \(its content is no"):
        list(open_pictures(tmp_path / "a.png", vit()))
    with pytest.raises(UserError, match=r"there is no file or folder .*absent.jpg: name an image"):
        list(open_pictures(tmp_path / "absent.jpg", vit()))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no images"):
        list(open_pictures(tmp_path / "empty", vit()))
    cut_short = io.BytesIO()
    rgb().save(cut_short, "JPEG")
    (tmp_path / "a.jpg").write_bytes(cut_short.getvalue()[:-200])
    with pytest.raises(UserError, match="cannot be read as an image"):
        list(open_pictures(tmp_path / "a.jpg", vit()))


@pytest.mark.parametrize(
    ("channels", "of"), [(1, (0, 0, 0)), (2, (0, 0, 0)), (3, (0, 1, 2)), (5, (0, 1, 2))]
)
def test_three_channels_are_shown(channels, of):
    image = levels(channels=channels)
    np.testing.assert_array_equal(shown(image), image[..., list(of)])


def test_grey_networks_read_grey(tmp_path):
    path = written(tmp_path / "a.png", rgb())
    grey = dataclasses.replace(vit(), channels=1)
    (picture,) = open_pictures(path, grey, size=16)
    assert picture.pixels.shape == (16, 24, 1)
    assert picture.image.shape == (16, 24, 3)


def test_the_room_that_is_needed_grows_with_the_square_of_the_tokens():
    assert room.needed(vit(), 99) == room.COPIES * 4 * HEADS * 100 * 100
    linear = dataclasses.replace(vit(), arch="xcit_small_12")
    assert room.needed(linear, 99) == room.COPIES * 4 * HEADS * 100
    assert room.available() > 1 << 28


@pytest.mark.parametrize(("rows", "columns", "at_most"), [(40, 60, 600), (60, 40, 600), (9, 3, 2)])
def test_the_largest_size_fits_and_the_next_does_not(rows, columns, at_most):
    limit = room.needed(vit(), at_most)
    size = room.largest_size(vit(), rows, columns, limit)
    short, long = sorted((rows, columns))
    count = size // PATCH
    assert count * (count * long // short) <= at_most < (count + 1) * ((count + 1) * long // short)
