"""Images as the evaluations of retrieval and copy detection read them: shrunk whole, or stretched.

Both are sources of square images, so that they go the way of all others; those of retrieval keep
their aspect and lie in the upper left corner of the square.
"""

import functools
import hashlib
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from dino_jax.config import UserError
from dino_jax.data.crops import resize_image
from dino_jax.data.decode import UnreadableImageError, decode, upright_size
from dino_jax.data.source import Source

Box = tuple[float, float, float, float]
"""Left, upper, right and lower edge in pixels."""


class Stretched(Source):
    """The images of another source, each stretched to a square (bicubic, antialiased)."""

    def __init__(self, source: Source, side: int) -> None:
        """Take the source and the side of the squares in pixels."""
        super().__init__(source.spec, source.channels, source.class_names)
        self._source, self._side = source, side

    def __len__(self) -> int:
        """As many as the other source has."""
        return len(self._source)

    def load(self, index: int) -> UInt8[np.ndarray, "side side c"]:
        """One square; raises `UnreadableImageError`."""
        return resize_image(self._source.load(index), self._side, self._side)

    def name(self, index: int) -> str:
        """The name in the other source."""
        return self._source.name(index)

    @property
    def labels(self) -> Int[np.ndarray, "n"] | None:
        """Those of the other source."""
        return self._source.labels

    def content_key(self) -> str:
        """That of the other source, and the square."""
        return f"{self._source.content_key()} stretched {self._side}"


class Required(Source):
    """The images of another source, none of which can be done without."""

    def __init__(self, source: Source) -> None:
        """Take the source."""
        super().__init__(source.spec, source.channels, source.class_names)
        self._source = source

    def __len__(self) -> int:
        """As many as the other source has."""
        return len(self._source)

    def load(self, index: int) -> UInt8[np.ndarray, "h w c"]:
        """One image; raises `UserError` where it cannot be read."""
        try:
            return self._source.load(index)
        except UnreadableImageError as error:
            raise UserError(
                f"cannot read {self.name(index)} ({error}): copy it again, or remove it"
            ) from error

    def name(self, index: int) -> str:
        """The name in the other source."""
        return self._source.name(index)

    @property
    def labels(self) -> Int[np.ndarray, "n"] | None:
        """Those of the other source."""
        return self._source.labels

    def content_key(self) -> str:
        """That of the other source."""
        return self._source.content_key()


class Shrunk(Source):
    """Image files cut to their boxes, shrunk to a longest side, on squares of that side.

    `boxes` has None for an image that is taken whole. An image is never enlarged (reference:
    eval_image_retrieval.py, Pillow's `thumbnail` by the Lanczos filter). With `square` it is
    stretched to the whole square instead.
    """

    def __init__(
        self,
        files: Sequence[pathlib.Path],
        boxes: Sequence[Box | None],
        longest: int,
        *,
        channels: int = 3,
        square: bool = False,
    ) -> None:
        """Take the files, as many boxes, and the longest side in pixels."""
        super().__init__(f"{len(files)} files", channels)
        self._files, self._boxes = list(files), list(boxes)
        self._longest, self._square = longest, square

    def __len__(self) -> int:
        """The number of files."""
        return len(self._files)

    def part(self, indices: Int[np.ndarray, " part"]) -> "Shrunk":
        """Some of the images, as a source of their own."""
        numbers = indices.tolist()
        return Shrunk(
            [self._files[number] for number in numbers],
            [self._boxes[number] for number in numbers],
            self._longest,
            channels=self.channels,
            square=self._square,
        )

    @functools.cached_property
    def shapes(self) -> list[tuple[int, int]]:
        """Height and width of every image on its square, by the headers of the files.

        Raises `UnreadableImageError` for the first that is no image, and `UserError` for a box that
        lies outside of its image.
        """
        return [self._shape(index) for index in range(len(self))]

    def load(self, index: int) -> UInt8[np.ndarray, "side side c"]:
        """One image on its square, zeros beside it; raises `UnreadableImageError`."""
        try:
            content = self._files[index].read_bytes()
        except OSError as error:
            raise UnreadableImageError(error.strerror or str(error)) from error
        image = decode(content, self.channels)
        if (box := self._boxes[index]) is not None:
            left, upper, right, lower = inside(
                box, image.shape[1], image.shape[0], of=self.name(index)
            )
            image = image[upper:lower, left:right]
        if self._square:
            return resize_image(image, self._longest, self._longest)
        image = thumbnail(image, self._longest)
        if image.shape[:2] != self.shapes[index]:
            raise UnreadableImageError("its header gives another size than its content has")
        square = np.zeros((self._longest, self._longest, self.channels), np.uint8)
        square[: image.shape[0], : image.shape[1]] = image
        return square

    def name(self, index: int) -> str:
        """The path of the file."""
        return str(self._files[index])

    @property
    def labels(self) -> Int[np.ndarray, "n"] | None:
        """There are none."""
        return None

    def content_key(self) -> str:
        """What changes when the files, the boxes or the squares do."""
        told = f"{super().content_key()} {self._boxes} {self._longest} {self._square}"
        return hashlib.sha256(told.encode()).hexdigest()

    def _stamp(self, index: int) -> object:
        found = os.stat(self._files[index])
        return found.st_size, found.st_mtime_ns

    def _shape(self, index: int) -> tuple[int, int]:
        box = self._boxes[index]
        if self._square and box is None:
            return self._longest, self._longest
        try:
            with Image.open(self._files[index]) as image:
                height, width = upright_size(image)
        except Exception as error:  # a damaged file makes decoders raise nearly anything
            raise UnreadableImageError(f"cannot read {self.name(index)}: {error}") from error
        if box is not None:
            left, upper, right, lower = inside(box, width, height, of=self.name(index))
            width, height = right - left, lower - upper
        if self._square:
            return self._longest, self._longest
        # Asked of Pillow itself, whose rounding it is; a picture of one bit a pixel is small.
        small = Image.new("1", (width, height))
        small.thumbnail((self._longest, self._longest), Image.Resampling.NEAREST)
        return small.height, small.width


def thumbnail(
    image: UInt8[np.ndarray, "h w c"], longest: int
) -> UInt8[np.ndarray, "height width c"]:
    """The image with sides of at most `longest` pixels, its aspect kept; never enlarged."""
    colours = image.shape[2] == 3
    # Other than three channels go one by one: a fourth would weigh the others as transparency.
    parts = [image] if colours else [image[:, :, c] for c in range(image.shape[2])]
    planes = []
    for part in parts:
        plane = Image.fromarray(np.ascontiguousarray(part))
        plane.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        planes.append(np.asarray(plane))
    return planes[0] if colours else np.stack(planes, axis=2)


def inside(box: Box, width: int, height: int, *, of: str) -> tuple[int, int, int, int]:
    """Left, upper, right and lower edge in whole pixels, within the image `of` that name.

    Raises `UserError` where nothing of the box lies within it.
    """
    sides = (width, height, width, height)
    edges = [min(max(round(edge), 0), side) for edge, side in zip(box, sides, strict=True)]
    left, upper, right, lower = edges
    if not (left < right and upper < lower):
        raise UserError(
            f"the box {box} of {of} is not within its {width}x{height} pixels: mend the box, or "
            "take the image whole"
        )
    return left, upper, right, lower
