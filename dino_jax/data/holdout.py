"""Held-out images for a run that names none of its own."""

import numpy as np
from jaxtyping import Int, UInt8

from dino_jax.config import UserError
from dino_jax.data.embedded import EmbeddedSource
from dino_jax.data.source import Source
from dino_jax.data.sources import open_source

SHARE, MOST = 20, 500
"""One image in `SHARE` is held out, `MOST` at most: what view retrieval looks at."""


class Subset(Source):
    """Some examples of another source, in a given order."""

    def __init__(self, source: Source, indices: Int[np.ndarray, "n"]) -> None:
        """Show the examples `indices` of `source` as 0, 1, 2 and so on."""
        super().__init__(source.spec, source.channels, source.class_names)
        self._source, self._indices = source, indices

    def __len__(self) -> int:
        """The number of chosen examples."""
        return len(self._indices)

    def load(self, index: int) -> UInt8[np.ndarray, "h w c"]:
        """Decode one example, as its source does."""
        return self._source.load(int(self._indices[index]))

    def content(self, index: int) -> bytes | None:
        """The file of one example, where its source has files."""
        return self._source.content(int(self._indices[index]))

    def name(self, index: int) -> str:
        """The name its source gives it."""
        return self._source.name(int(self._indices[index]))

    def may_be_shown(self, index: int) -> bool:
        """What its source says of it."""
        return self._source.may_be_shown(int(self._indices[index]))

    @property
    def labels(self) -> Int[np.ndarray, "n"] | None:
        """The classes of the chosen examples."""
        labels = self._source.labels
        return None if labels is None else labels[self._indices]


def train_and_held_out(train: str, val: str | None, *, channels: int) -> tuple[Source, Source]:
    """Open the training images and the images held out from them.

    With `val` those are its images; the embedded photographs have a held-out part of their own;
    from anything else one image in twenty is held out, 500 at most and 1 at least, evenly spaced in
    the source's order, so that it depends on nothing but the number of images. Raises `UserError`
    where there is only one.
    """
    source = open_source(train, channels=channels)
    if val is not None:
        return source, open_source(val, channels=channels)
    if isinstance(source, EmbeddedSource):
        return source, source.held_out()
    if len(source) < 2:
        raise UserError(
            f"{train} holds one image: give more, since one in {SHARE} is held out, at least one"
        )
    count = max(1, min(MOST, len(source) // SHARE))
    chosen = np.unique(np.linspace(0, len(source) - 1, count + 2)[1:-1].round().astype(np.int64))
    kept = np.setdiff1d(np.arange(len(source)), chosen)
    return Subset(source, kept), Subset(source, chosen)
