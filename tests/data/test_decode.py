import io

import numpy as np
import pytest
from PIL import Image

from dino_jax.data.decode import UnreadableImageError, decode, is_image_name
from tests.data.images import encoded, pixels

RGB = pixels()
GREY = pixels(1, (20, 30))


@pytest.mark.parametrize(
    ("suffix", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("BMP", {}), ("PPM", {})],
)
def test_lossless_formats_keep_every_pixel(suffix: str, options: dict) -> None:
    np.testing.assert_array_equal(decode(encoded(RGB, suffix, **options)), RGB)


def test_jpeg_is_what_pillow_decodes() -> None:
    content = encoded(RGB, "JPEG", quality=90)
    np.testing.assert_array_equal(decode(content), np.asarray(Image.open(io.BytesIO(content))))


def test_grey_becomes_three_equal_channels() -> None:
    image = decode(encoded(GREY))
    assert image.shape == (20, 30, 3)
    np.testing.assert_array_equal(image, np.repeat(GREY[:, :, None], 3, axis=2))


def test_palette_is_looked_up() -> None:
    palette = Image.fromarray(RGB).quantize(16)
    np.testing.assert_array_equal(decode(encoded(palette)), np.asarray(palette.convert("RGB")))


def test_transparency_is_dropped_as_convert_does() -> None:
    rgba = np.dstack([RGB, pixels(2, (20, 30))])
    np.testing.assert_array_equal(decode(encoded(rgba)), RGB)
    palette = Image.fromarray(RGB).quantize(16)
    content = encoded(palette, transparency=bytes(range(16)))
    np.testing.assert_array_equal(decode(content), np.asarray(palette.convert("RGB")))


def test_cmyk_and_bilevel_convert() -> None:
    cmyk = Image.fromarray(RGB).convert("CMYK")
    np.testing.assert_array_equal(decode(encoded(cmyk, "TIFF")), np.asarray(cmyk.convert("RGB")))
    assert decode(encoded(cmyk, "JPEG")).shape == (20, 30, 3)
    bilevel = decode(encoded(Image.fromarray(GREY > 128)))
    np.testing.assert_array_equal(bilevel[:, :, 0], np.where(GREY > 128, 255, 0))


@pytest.mark.parametrize("suffix", ["PNG", "TIFF"])
@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_16_bits_are_scaled_and_not_clipped(suffix: str, order: str) -> None:
    deep = np.linspace(500, 40000, 600).reshape(20, 30).round().astype(np.uint16)
    mode = "I;16" if order == "<u2" else "I;16B"
    image = Image.frombytes(mode, (30, 20), deep.astype(order).tobytes())
    ours = decode(encoded(image, suffix))[:, :, 1]
    np.testing.assert_allclose(ours, deep / 257, atol=0.5001)
    assert len(np.unique(ours)) > 150


def test_floats_in_the_unit_range_are_scaled_and_others_stretched() -> None:
    ramp = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
    unit = decode(encoded(ramp * np.float32(0.5), "TIFF"))[:, :, 0]
    assert unit.max() == 128
    stretched = decode(encoded(ramp * np.float32(3000) - np.float32(1000), "TIFF"))[:, :, 0]
    assert (stretched.min(), stretched.max()) == (0, 255)
    with pytest.raises(UnreadableImageError, match="not finite"):
        decode(encoded(np.where(ramp > 0.5, np.float32("nan"), ramp), "TIFF"))


@pytest.mark.parametrize("suffix", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(suffix: str, orientation: int) -> None:
    upright = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.transpose(1, 0, 2),
        6: RGB.transpose(1, 0, 2)[:, ::-1],
        7: RGB.transpose(1, 0, 2)[::-1, ::-1],
        8: RGB.transpose(1, 0, 2)[::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "WEBP" else {}
    ours = decode(encoded(RGB, suffix, exif=exif, **options))
    np.testing.assert_array_equal(ours, upright)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_metadata_does_not_lose_the_picture() -> None:
    content = encoded(RGB, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05garbage")
    assert decode(content).shape == (20, 30, 3)


def test_other_numbers_of_channels() -> None:
    np.testing.assert_array_equal(decode(encoded(GREY), 1), GREY[:, :, None])
    rgba = np.dstack([RGB, GREY])
    np.testing.assert_array_equal(decode(encoded(rgba), 4), rgba)
    assert decode(encoded(Image.fromarray(rgba).convert("LA")), 2).shape == (20, 30, 2)
    pages = [Image.fromarray(pixels(seed, (20, 30))) for seed in range(5)]
    stack = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(decode(stack, 5), np.dstack(pages))
    with pytest.raises(UnreadableImageError, match="3 channels where 5"):
        decode(encoded(RGB), 5)
    wider = Image.fromarray(pixels(9, (20, 31)))
    odd = encoded(pages[0], "TIFF", save_all=True, append_images=[wider])
    with pytest.raises(UnreadableImageError, match="differ in size"):
        decode(odd, 2)


@pytest.mark.parametrize(
    "content",
    [b"", b"no image", encoded(RGB, "JPEG")[:300], encoded(RGB)[:200], encoded(RGB)[:20]],
    ids=["empty", "text", "half a JPEG", "half a PNG", "only a header"],
)
def test_damaged_files_are_unreadable_in_one_line(content: bytes) -> None:
    with pytest.raises(UnreadableImageError) as caught:
        decode(content)
    assert str(caught.value)
    assert "\n" not in str(caught.value)
    assert "0x" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.jpg", "b/c.JPEG", "d.PNG", "e.webp", "f.tif", "g.tiff"])
def test_image_names(name: str) -> None:
    assert is_image_name(name)


@pytest.mark.parametrize("name", ["a.txt", "b", ".hidden.jpg", "x/._y.jpg", "jpg", "a.npy"])
def test_other_names(name: str) -> None:
    assert not is_image_name(name)
