"""A source without files, some of whose examples are damaged."""

from collections.abc import Collection

import numpy as np

from dino_jax.data.decode import UnreadableImageError
from dino_jax.data.source import Source
from tests.data.images import pixels


class FakeSource(Source):
    """Random images, each of a size of its own if asked."""

    def __init__(
        self, length: int, *, damaged: Collection[int] = (), sizes: int = 1, channels: int = 3
    ) -> None:
        super().__init__("fake", channels)
        self._length, self._damaged, self._sizes = length, frozenset(damaged), sizes
        self.loads = 0

    def __len__(self) -> int:
        return self._length

    def load(self, index: int) -> np.ndarray:
        self.loads += 1
        if index in self._damaged:
            raise UnreadableImageError("damaged")
        return pixels(index, (20, 30 + index % self._sizes, self.channels))

    def name(self, index: int) -> str:
        return f"number {index}"

    @property
    def labels(self) -> None:
        return None
