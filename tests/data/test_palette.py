"""Labels of indexed PNG files: as stored, whatever the depth and the colours."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from dino_jax.config import UserError
from dino_jax.data.palette import DAVIS_PALETTE, read_indexed, write_indexed
from tests.shared import unpacked

GREY, PALETTE = 0, 3


def png(labels, *, depth, kind):
    """The bytes of a PNG file, written here so that Pillow's own choices play no part."""

    def chunk(name, content):
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    height, width = labels.shape
    bits = np.unpackbits(labels[:, :, None], axis=2)[:, :, 8 - depth :].reshape(height, -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in bits)
    colours = np.random.default_rng(0).integers(0, 256, 3 * 2**depth).astype(np.uint8).tobytes()
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
        + (chunk(b"PLTE", colours) if kind == PALETTE else b"")
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", [GREY, PALETTE])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_labels_are_read_as_stored(tmp_path, kind, depth):
    labels = np.random.default_rng(depth).integers(0, 2**depth, (7, 13)).astype(np.uint8)
    path = tmp_path / "mask.png"
    path.write_bytes(png(labels, depth=depth, kind=kind))
    found = read_indexed(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize("highest", [0, 1, 3, 20, 255])
def test_what_is_written_is_read_again_and_shown_in_the_colours_of_davis(tmp_path, highest):
    labels = np.random.default_rng(0).integers(0, highest + 1, (5, 9)).astype(np.uint8)
    path = tmp_path / "sequence" / "00000.png"
    write_indexed(path, labels)
    np.testing.assert_array_equal(read_indexed(path), labels)
    with Image.open(path) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), DAVIS_PALETTE[labels])


def test_a_palette_of_ones_own(tmp_path):
    palette = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    write_indexed(tmp_path / "a.png", np.eye(4, dtype=np.uint8), palette)
    np.testing.assert_array_equal(read_indexed(tmp_path / "a.png"), np.eye(4))
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image.convert("L")), 255 * np.eye(4))


def test_first_colours_are_those_of_voc_and_davis():
    assert DAVIS_PALETTE[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert DAVIS_PALETTE[255].tolist() == [224, 224, 192]


def test_a_palette_is_that_of_real_files():
    path = unpacked("davis_video.tar") / "DAVIS/Annotations/480p/libby/00000.png"
    with Image.open(path) as image:
        np.testing.assert_array_equal(image.getpalette(), DAVIS_PALETTE.ravel())
        np.testing.assert_array_equal(read_indexed(path), np.asarray(image))


def test_what_is_no_mask_is_refused_with_its_path(tmp_path):
    with pytest.raises(UserError, match=r"there is no mask .*none\.png"):
        read_indexed(tmp_path / "none.png")
    Image.new("RGB", (3, 3)).save(tmp_path / "colour.png")
    with pytest.raises(UserError, match=r"colour\.png holds RGB pixels, not labels"):
        read_indexed(tmp_path / "colour.png")
    Image.fromarray(np.ones((3, 3), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(UserError, match=r"deep\.png holds I;16 pixels, not labels"):
        read_indexed(tmp_path / "deep.png")
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(UserError, match=r"text\.png cannot be read"):
        read_indexed(tmp_path / "text.png")
    (tmp_path / "cut.png").write_bytes(
        png(np.zeros((50, 50), np.uint8), depth=8, kind=PALETTE)[:-30]
    )
    with pytest.raises(UserError, match=r"cut\.png cannot be read"):
        read_indexed(tmp_path / "cut.png")
