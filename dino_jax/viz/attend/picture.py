"""Photographs at the size that a network looks at them, of any shape and kind of file.

As the original does it (`visualize_attention.py`): resized by a bilinear filter, then cut at the
right and at the bottom to whole patches. Here the aspect is kept unless it is asked to be square.
"""

import logging
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dino_jax.config import UserError
from dino_jax.data.crops import resize_image
from dino_jax.data.decode import UnreadableImageError, decode
from dino_jax.data.sources import FORMS, open_source
from dino_jax.data.tar import is_archive_path
from dino_jax.interop.encoder import Encoder
from dino_jax.viz.attend.room import check_room

log = logging.getLogger(__name__)

SIZE = 480
"""Pixels of the short side: the original's."""


class Picture(NamedTuple):
    """One photograph: as it is shown, and what the network reads, of the same pixels."""

    name: str
    image: UInt8[np.ndarray, "height width 3"]
    pixels: UInt8[np.ndarray, "height width channels"]
    """Both sides are multiples of the patch."""


def open_pictures(
    path: str | pathlib.Path, encoder: Encoder, *, size: int = SIZE, square: bool = False
) -> Iterator[Picture]:
    """Read an image file, or every image of a folder (or another source) in its order.

    Of several images those that cannot be read, or be shown at this size, are named in the log and
    left out.

    Raises:
        UserError: there is nothing to read, or nothing that can be read.
    """
    for (picture,) in open_rows(path, [encoder], size=size, square=square):
        yield picture


def open_rows(
    path: str | pathlib.Path,
    encoders: Sequence[Encoder],
    *,
    size: int = SIZE,
    square: bool = False,
) -> Iterator[tuple[Picture, ...]]:
    """The same, every photograph as each of several networks reads it.

    Raises:
        UserError: as `open_pictures`; or the networks read other numbers of channels.
    """
    channels = _channels(encoders)
    for encoder in encoders:
        _check_size(encoder, size)

    def row(image: UInt8[np.ndarray, "h w c"], name: str) -> tuple[Picture, ...]:
        return tuple(
            pictured(image, encoder, size=size, square=square, name=name) for encoder in encoders
        )

    file = pathlib.Path(path).expanduser()
    if file.is_file() and not is_archive_path(str(path)):
        image = _decoded(file, channels)
        _say_first_of_several(file, channels)
        yield row(image, file.name)
        return
    if not file.exists() and ":" not in str(path):
        raise UserError(f"there is no file or folder {path}: name an image, a folder, or {FORMS}")
    source = open_source(str(path), channels=channels)
    shown = 0
    for index in range(len(source)):
        try:
            pictures = row(source.load(index), source.name(index))
        except UnreadableImageError as error:
            source.name_unreadable(index, error)
        except UserError as error:
            log.warning("left out: %s", error)
        else:
            shown += 1
            _say_first_of_several(file / source.name(index), channels)
            yield pictures
    if not shown:
        raise UserError(f"none of the {len(source)} images of {path} can be shown")


def _channels(encoders: Sequence[Encoder]) -> int:
    first = encoders[0]
    for encoder in encoders:
        if encoder.channels != first.channels:
            raise UserError(
                f"{encoder.name} reads images of {encoder.channels} channels and {first.name} of "
                f"{first.channels}: they cannot be shown side by side"
            )
    return first.channels


def _decoded(file: pathlib.Path, channels: int) -> UInt8[np.ndarray, "h w c"]:
    try:
        return decode(file.read_bytes(), channels)
    except (UnreadableImageError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(
            f"{file} cannot be read as an image ({reason}): give a JPEG, PNG, TIFF or WebP file"
        ) from error


def _say_first_of_several(file: pathlib.Path, channels: int) -> None:
    """Name in the log a file of several images, of which the first alone is shown.

    Not the second photograph that a telephone hides in a JPEG, nor a TIFF whose pages are channels.
    """
    if channels not in (1, 3, 4) or not file.is_file():
        return
    try:
        with Image.open(file) as image:
            count = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
    except (OSError, EOFError, SyntaxError, ValueError):  # the others are damaged
        return
    if count > 1:
        log.warning(
            "%s holds %d images: the first is shown (a folder of them as frames makes a film, "
            "--video)", file.name, count,
        )  # fmt: skip


def pictured(
    image: UInt8[np.ndarray, "h w c"],
    encoder: Encoder,
    *,
    size: int = SIZE,
    square: bool = False,
    name: str = "",
) -> Picture:
    """Resize an upright image: short side to `size` pixels, or with `square` both, and cut it.

    The long side is rounded down (torchvision's `Resize`), then both to multiples of the patch.

    Raises:
        UserError: the size is less than a patch, or more than there is memory for.
    """
    height, width = shape_at(image.shape[0], image.shape[1], size=size, square=square)
    _check_size(encoder, size)
    patch = encoder.patch_size
    rows, columns = height // patch, width // patch
    check_room(encoder, rows, columns, name=name or "an image", shape=image.shape[:2])
    resized = resize_image(image, height, width, Image.Resampling.BILINEAR)
    pixels = np.ascontiguousarray(resized[: rows * patch, : columns * patch])
    return Picture(name, shown(pixels), pixels)


def _check_size(encoder: Encoder, size: int) -> None:
    if size < encoder.patch_size:
        raise UserError(
            f"--size={size}: less than a patch of {encoder.name}, {encoder.patch_size} pixels"
        )


def shape_at(height: int, width: int, *, size: int, square: bool = False) -> tuple[int, int]:
    """Height and width of an image once its short side, or with `square` both, has `size`."""
    if square:
        return size, size
    short = min(height, width)
    return int(size * height / short), int(size * width / short)


def shown(pixels: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w 3"]:
    """Three channels to look at: the first three, or a grey of the first."""
    if pixels.shape[2] >= 3:
        return pixels[..., :3]
    return np.repeat(pixels[..., :1], 3, axis=2)
