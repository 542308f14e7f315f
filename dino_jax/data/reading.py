"""Reading examples: from memory the second time if they fit, and past those that are damaged."""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8

from dino_jax.config import UserError
from dino_jax.data.decode import UnreadableImageError
from dino_jax.data.source import Source
from dino_jax.data.turbo import Picture

CACHE_BYTES = 1 << 30

Decoder = Callable[[bytes, int], Picture]
"""How the content of a file becomes an image of a number of channels."""


@dataclasses.dataclass(frozen=True)
class Example:
    """One decoded image, its index, and the unreadable index it stands in for (or -1)."""

    image: UInt8[np.ndarray, "h w c"]
    index: int
    replaced: int = -1
    full: tuple[int, int] | None = None
    """Height and width of an image that was decoded smaller than it is."""


class Reader:
    """Decodes the examples of a source, each once if all of them fit into memory.

    Images are kept when as many of their size as there are examples fit into `cache_bytes`
    (tiny images, where decoding would cost more than cropping), and never beyond that.
    """

    def __init__(
        self, source: Source, cache_bytes: int = CACHE_BYTES, decoder: Decoder | None = None
    ) -> None:
        """Read `source`, keeping at most `cache_bytes` of decoded images.

        The files of a source that has files are decoded by `decoder`, where one is given.
        """
        self.source = source
        self._decoder = decoder
        self._limit = cache_bytes
        self._held = 0
        self._kept: dict[int, Picture] = {}

    def load(self, index: int) -> UInt8[np.ndarray, "h w c"]:
        """One decoded image, not to be written to; raises `UnreadableImageError`."""
        return self._picture(index).pixels

    def _picture(self, index: int) -> Picture:
        found = self._kept.get(index)
        if found is None:
            found = self._decoded(index)
            size = found.pixels.nbytes
            if size * len(self.source) <= self._limit and self._held + size <= self._limit:
                found = found._replace(pixels=np.ascontiguousarray(found.pixels))
                self._kept[index] = found
                self._held += size
        return found

    def _decoded(self, index: int) -> Picture:
        content = None if self._decoder is None else self.source.content(index)
        if self._decoder is None or content is None:
            pixels = self.source.load(index)
            return Picture(pixels, *pixels.shape[:2])
        return self._decoder(content, self.source.channels)

    def read(self, index: int) -> Example:
        """The example of this index, or the first readable one that follows it in the source.

        The search goes round the end to the beginning. Raises `UserError` with the first reason
        if no example can be read.
        """
        reason = ""
        for k in range(len(self.source)):
            other = (index + k) % len(self.source)
            try:
                pixels, height, width = self._picture(other)
                full = None if pixels.shape[:2] == (height, width) else (height, width)
                return Example(pixels, other, index if k else -1, full)
            except UnreadableImageError as error:
                reason = reason or f"{self.source.name(other)}: {error}"
        raise UserError(
            f"none of the {len(self.source)} images of {self.source.spec} can be read "
            f"({reason}); give images that Pillow opens"
        )
