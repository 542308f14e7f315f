"""JPEGs decoded for training: Pillow's pixels, Pillow's errors, and smaller where that is asked."""

import numpy as np
import pytest
from PIL import Image

from dino_jax.config import CropsConfig
from dino_jax.data import turbo
from dino_jax.data.decode import UnreadableImageError, decode
from dino_jax.data.turbo import eighths, picture
from tests.data.images import encoded, pixels

needed = pytest.mark.skipif(not turbo.AVAILABLE, reason="simplejpeg is not installed")
CROPS = CropsConfig(global_size=32, global_scale=(0.4, 1.0), local_size=12, local_scale=(0.1, 0.4))


def photograph(height: int = 90, width: int = 121) -> Image.Image:
    noise = Image.fromarray(pixels(3, (12, 16, 3)))
    return noise.resize((width, height), Image.Resampling.BICUBIC)


def oriented(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quality": 35},
        {"quality": 95, "subsampling": 0},
        {"subsampling": 1},
        {"progressive": True},
        {"exif": oriented(1)},
        {"exif": oriented(3)},
        {"exif": oriented(6)},
        {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x05garbage"},
        {"comment": b"of no importance"},
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_pixels_are_pillows_to_the_last_bit(mode: str, options: dict) -> None:
    content = encoded(photograph().convert(mode), "JPEG", **options)
    found = picture(content, 3)
    expected = decode(content)
    np.testing.assert_array_equal(found.pixels, expected)
    assert (found.height, found.width) == expected.shape[:2]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_other_formats_and_channels_are_as_ever(channels: int) -> None:
    for suffix in ("PNG", "WEBP", "JPEG"):
        content = encoded(photograph(), suffix)
        np.testing.assert_array_equal(picture(content, channels).pixels, decode(content, channels))


def test_every_truncation_fails_as_it_does_in_pillow() -> None:
    content = encoded(photograph(), "JPEG")
    for length in (*range(0, 700, 61), len(content) // 2, len(content) - 20):
        with pytest.raises(UnreadableImageError) as theirs:
            decode(content[:length])
        with pytest.raises(UnreadableImageError) as ours:
            picture(content[:length], 3, CROPS)
        assert str(ours.value) == str(theirs.value)


@needed
def test_a_large_image_is_decoded_smaller_and_keeps_its_size() -> None:
    content = encoded(photograph(480, 642), "JPEG", quality=95)
    found = picture(content, 3, CROPS)
    assert (found.height, found.width) == (480, 642)
    assert found.pixels.shape == (60, 81, 3)
    assert picture(content, 3).pixels.shape == (480, 642, 3)


@pytest.mark.parametrize(
    ("side", "expected"), [(20, 8), (52, 8), (56, 4), (107, 4), (110, 2), (215, 1), (4000, 1)]
)
def test_mean_crops_keep_seven_tenths_of_their_pixels(side: int, expected: int) -> None:
    # The mean view of a square has 0.837 of its side; 0.7 x 32 pixels are to be left of it.
    assert eighths(side, side, CROPS) == expected


def test_a_picture_turned_by_xmp_is_turned_as_in_pillow() -> None:
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf='
        b'"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    content = encoded(photograph(), "JPEG", xmp=packet)
    assert decode(content).shape == (121, 90, 3)
    np.testing.assert_array_equal(picture(content, 3).pixels, decode(content))
