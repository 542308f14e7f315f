"""One image as it is read for its patches, at any size and aspect, and where each of them lies."""

import dataclasses
import pathlib

import numpy as np
from jaxtyping import Float, Int, UInt8

from dino_jax.config import UserError
from dino_jax.data.crops import resize_image
from dino_jax.data.decode import UnreadableImageError, decode

MOST_PATCHES = 16384
"""More would need gigabytes for the attention between them."""


@dataclasses.dataclass(frozen=True)
class Photograph:
    """An image resized and cut to whole patches.

    `corner` is the top left of the cut, (x, y) in resized pixels; `scale` original pixels to a
    resized one, by axis.
    """

    name: str
    original: UInt8[np.ndarray, "height width c"]
    pixels: UInt8[np.ndarray, "h w c"]
    patch_size: int
    corner: tuple[int, int]
    scale: tuple[float, float]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        height, width = self.pixels.shape[:2]
        return height // self.patch_size, width // self.patch_size

    def centres(self, patches: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n 2"]:
        """(x, y) of the patches' centres in the original; the first pixel's centre is (0, 0)."""
        rows, columns = np.divmod(patches, self.grid[1])
        places = np.stack([columns, rows], axis=1) + 0.5
        resized = places * self.patch_size + np.array(self.corner)[None]
        return resized * np.array(self.scale)[None] - 0.5

    def positions(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """(x, y) of the original in patches: (0, 0) is the first one's corner."""
        resized = (points + 0.5) / np.array(self.scale)[None]
        return (resized - np.array(self.corner)[None]) / self.patch_size


def open_photograph(file: str, *, size: int, patch_size: int, channels: int) -> Photograph:
    """Read an image file as `photographed` makes of it.

    Raises:
        UserError: no such file, no image, or too few or too many patches.
    """
    path = pathlib.Path(file).expanduser()
    try:
        original = decode(path.read_bytes(), channels)
    except OSError as error:
        raise UserError(
            f"cannot read {file}: {error.strerror}; expected the path of an image file"
        ) from error
    except UnreadableImageError as error:
        raise UserError(f"cannot read {file}: {error}") from error
    return photographed(original, path.name, size=size, patch_size=patch_size)


def photographed(
    original: UInt8[np.ndarray, "height width c"], name: str, *, size: int, patch_size: int
) -> Photograph:
    """Resize an image's short side to `size` and cut its middle to whole patches.

    Raises:
        UserError: too few or too many patches.
    """
    height, width = original.shape[:2]
    least = min(height, width)
    sides = size * height // least, size * width // least
    rows, columns = (side // patch_size for side in sides)
    if not rows or not columns:
        raise UserError(f"--size={size} is less than a patch, {patch_size} pixels")
    if rows * columns > MOST_PATCHES:
        raise UserError(
            f"{name} at --size={size} has {rows} x {columns} patches, more than {MOST_PATCHES}: "
            "give a smaller --size"
        )
    resized = resize_image(original, *sides)
    top = (sides[0] - rows * patch_size) // 2
    left = (sides[1] - columns * patch_size) // 2
    return Photograph(
        name=name,
        original=original,
        pixels=resized[top : top + rows * patch_size, left : left + columns * patch_size],
        patch_size=patch_size,
        corner=(left, top),
        scale=(width / sides[1], height / sides[0]),
    )
