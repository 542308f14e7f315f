"""Masks stored as indexed PNG files: the labels themselves, never the colours that show them."""

import os
import pathlib

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dino_jax.config import UserError

Labels = UInt8[np.ndarray, "h w"]

_STRETCH = {"L;2": 85, "L;4": 17}
"""Pillow stretches greys of two and four bits over the whole byte: by how much, by raw mode."""


def _colour_map() -> UInt8[np.ndarray, "256 3"]:
    """The map of PASCAL VOC, which DAVIS uses too: the bits of a label spread over the channels."""
    labels = np.arange(256)[:, None]
    channel = np.arange(3)[None, :]
    colours = np.zeros((256, 3), np.int64)
    for bit in range(8):
        # Of every three bits one goes to red, one to green, one to blue, the lowest weighing most.
        colours |= (((labels >> channel) >> (3 * bit)) & 1) << (7 - bit)
    return colours.astype(np.uint8)


DAVIS_PALETTE = _colour_map()
"""Colour of each label, that of the files of DAVIS and PASCAL VOC alike (0 black, 255 beige)."""


def read_indexed(path: str | os.PathLike[str]) -> Labels:
    """Read the labels of a palette or grey image exactly as they are stored.

    Returns uint8 of shape (height, width): palette indices, or grey levels at the file's own
    depth (a one-bit file holds 0 and 1). Raises `UserError` where the file is missing, is no
    image, or holds colours instead of labels.
    """
    try:
        with Image.open(path) as image:
            rawmode = str(image.tile[0][3]) if image.tile else ""
            mode, pixels = image.mode, np.array(image)
    except FileNotFoundError:
        raise UserError(f"there is no mask {path}") from None
    except Exception as error:  # a damaged file makes decoders raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"the mask {path} cannot be read: {reason}") from error
    if mode not in ("P", "L", "1"):
        raise UserError(
            f"{path} holds {mode} pixels, not labels: a mask is a PNG with a palette, or a grey "
            "one of at most 8 bits"
        )
    return pixels.astype(np.uint8) // np.uint8(_STRETCH.get(rawmode, 1))


def write_indexed(
    path: str | os.PathLike[str],
    labels: Labels,
    palette: UInt8[np.ndarray, "colours 3"] = DAVIS_PALETTE,
) -> None:
    """Write labels as a PNG with a palette; `read_indexed` returns them unchanged.

    `palette` gives the red, green and blue of each label from 0. The folder is made if missing.
    """
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.ascontiguousarray(labels))
    image.putpalette(palette.tobytes())
    image.save(path, format="PNG")
