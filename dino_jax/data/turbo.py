"""JPEG files to pixels for training: by libjpeg-turbo without Pillow, smaller where that is asked.

The only file that knows simplejpeg. The pixels are those of `decode` bit for bit (both leave the
work to libjpeg-turbo), in three quarters of the time or less. Whatever is not a plain grey or
colour JPEG, stands or lies otherwise than its EXIF says, or raises as much as a warning goes to
`decode`, so that errors and every other format are the same with and without it.
"""

import importlib
import importlib.util
import io
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dino_jax.config import CropsConfig
from dino_jax.data.decode import decode

AVAILABLE = importlib.util.find_spec("simplejpeg") is not None
_SIMPLEJPEG: Any = importlib.import_module("simplejpeg") if AVAILABLE else None
_START = b"\xff\xd8\xff"
_APPLICATION_1, _SCAN = 0xE1, 0xDA
_SPACES = ("YCbCr", "Gray", "RGB")
_LARGEST = 64 << 20  # pixels; beyond them Pillow asks whether somebody means harm
_ORIENTATION = 0x0112
_TURNS = (b"\x01\x12", b"\x12\x01", b"rientation")  # without one of them nothing is turned
_ENLARGED = 0.7  # a mean crop of the smaller image has at least this share of the crop's side


class Picture(NamedTuple):
    """A decoded image, and the height and width that it has when it is not decoded smaller."""

    pixels: UInt8[np.ndarray, "h w c"]
    height: int
    width: int


def picture(content: bytes, channels: int, crops: CropsConfig | None = None) -> Picture:
    """Decode one image file as `decode` does, and with the same errors.

    With `crops`, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size where crops of mean area still
    find 0.7 of their own pixels a side there (`data.decode = fast`). Three channels may lie in
    memory with a fourth byte between them.
    """
    found = _turbo(content, crops) if channels == 3 else None
    if found is None:
        pixels = decode(content, channels)
        found = Picture(pixels, *pixels.shape[:2])
    return found


def eighths(height: int, width: int, crops: CropsConfig) -> int:
    """The size to decode at: 8, 4, 2 or 1 eighths, the smallest that `picture` may take."""
    asked = [(crops.global_size, crops.global_scale)]
    if crops.local_number:
        asked.append((crops.local_size, crops.local_scale))
    return next(
        (
            part
            for part in (1, 2, 4)
            if all(
                math.sqrt(sum(scale) / 2 * height * width) * part >= 8 * _ENLARGED * size
                for size, scale in asked
            )
        ),
        8,
    )


def _turbo(content: bytes, crops: CropsConfig | None) -> Picture | None:
    if _SIMPLEJPEG is None or not content.startswith(_START):
        return None
    try:
        height, width, space, _ = _SIMPLEJPEG.decode_jpeg_header(content)
        if space not in _SPACES or height * width > _LARGEST or _turned(content):
            return None
        least = {}
        if crops is not None:
            part = eighths(height, width, crops)
            least = {"min_height": -(-height * part // 8), "min_width": -(-width * part // 8)}
        pixels = _SIMPLEJPEG.decode_jpeg(content, "RGBX", **least)
    except Exception:  # a damaged file: Pillow says what is wrong with it, or makes the best of it
        return None
    return Picture(pixels[:, :, :3], height, width)


def _turned(content: bytes) -> bool:
    """Whether the metadata, which most files have none of, turn or mirror the picture."""
    if not any(sign in data for data in _metadata(content) for sign in _TURNS):
        return False
    with Image.open(io.BytesIO(content)) as image:
        try:
            return image.getexif().get(_ORIENTATION, 1) in range(2, 9)
        except Exception:  # `decode` takes damaged metadata for none
            return False


def _metadata(content: bytes) -> Iterator[bytes]:
    """The segments before the first scan that may hold EXIF or XMP."""
    place = 2
    while place + 4 <= len(content) and content[place] == 0xFF:
        kind = content[place + 1]
        if kind == _SCAN:
            return
        # Bytes of filling stand before a marker without a length of their own.
        after = place + (1 if kind == 0xFF else 2 + int.from_bytes(content[place + 2 : place + 4]))
        if kind == _APPLICATION_1:
            yield content[place:after]
        place = after
