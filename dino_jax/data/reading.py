"""Reading examples: from memory the second time if they fit, and past those that are damaged."""

import dataclasses

import numpy as np
from jaxtyping import UInt8

from dino_jax.config import UserError
from dino_jax.data.decode import UnreadableImageError
from dino_jax.data.source import Source

CACHE_BYTES = 1 << 30


@dataclasses.dataclass(frozen=True)
class Example:
    """One decoded image, its index, and the unreadable index it stands in for (or -1)."""

    image: UInt8[np.ndarray, "h w c"]
    index: int
    replaced: int = -1


class Reader:
    """Decodes the examples of a source, each once if all of them fit into memory.

    Images are kept when as many of their size as there are examples fit into `cache_bytes`
    (tiny images, where decoding would cost more than cropping), and never beyond that.
    """

    def __init__(self, source: Source, cache_bytes: int = CACHE_BYTES) -> None:
        """Read `source`, keeping at most `cache_bytes` of decoded images."""
        self.source = source
        self._limit = cache_bytes
        self._held = 0
        self._kept: dict[int, np.ndarray] = {}

    def load(self, index: int) -> UInt8[np.ndarray, "h w c"]:
        """One decoded image, not to be written to; raises `UnreadableImageError`."""
        image = self._kept.get(index)
        if image is None:
            image = self.source.load(index)
            small = image.nbytes * len(self.source) <= self._limit
            if small and self._held + image.nbytes <= self._limit:
                self._kept[index] = image
                self._held += image.nbytes
        return image

    def read(self, index: int) -> Example:
        """The example of this index, or the first readable one that follows it in the source.

        The search goes round the end to the beginning. Raises `UserError` with the first reason
        if no example can be read.
        """
        reason = ""
        for k in range(len(self.source)):
            other = (index + k) % len(self.source)
            try:
                return Example(self.load(other), other, index if k else -1)
            except UnreadableImageError as error:
                reason = reason or f"{self.source.name(other)}: {error}"
        raise UserError(
            f"none of the {len(self.source)} images of {self.source.spec} can be read "
            f"({reason}); give images that Pillow opens"
        )
