"""Held-out images, decoded once and kept in memory where they fit."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from jaxtyping import Int

from dino_jax.data.evaluation import EvalBatch
from dino_jax.data.source import Source

KEPT_BYTES = 1 << 30
_SPLIT_SEED = 0


class HeldOut:
    """Batches `{"images": uint8 (b, ..., H, W, C), "index": int32 (b,)}` of readable images.

    `open_batches` is called at every pass, until a pass came to less than `kept_bytes`: that one
    is kept and given out again. After a pass `index` says which example each row was.
    """

    def __init__(
        self, open_batches: Callable[[], Iterable[EvalBatch]], *, kept_bytes: int = KEPT_BYTES
    ) -> None:
        """Take what opens the batches; nothing is read yet."""
        self._open, self._limit = open_batches, kept_bytes
        self._kept: list[dict[str, np.ndarray]] | None = None
        self._index: np.ndarray | None = None

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Batches in order, without the rows of images that could not be read."""
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[dict[str, np.ndarray]] = []
        indices, size = [np.zeros(0, np.int32)], 0
        for batch in self._open():
            readable = batch.index >= 0
            rows = {
                "images": batch.images if readable.all() else batch.images[readable],
                "index": batch.index[readable].astype(np.int32),
            }
            indices.append(rows["index"])
            size += rows["images"].nbytes
            if size <= self._limit:
                kept.append(rows)
            else:
                kept.clear()
            if len(rows["index"]):
                yield rows
        self._index = np.concatenate(indices)
        if size <= self._limit:
            self._kept = [rows for rows in kept if len(rows["index"])]

    @property
    def index(self) -> Int[np.ndarray, " n"]:
        """The example of every row, in order; reads the images if that was not done yet."""
        if self._index is None:
            for _ in self:
                pass
        return np.zeros(0, np.int32) if self._index is None else self._index

    def images(self) -> np.ndarray:
        """All images in one uint8 array; for sets that fit into memory."""
        return np.concatenate([batch["images"] for batch in self])


def split(
    bank: Source, queries: Source, *, bank_size: int | None, query_size: int | None
) -> tuple[Int[np.ndarray, " bank"], Int[np.ndarray, " queries"]]:
    """Choose which examples an evaluation uses: at most so many of each, or all of them (None).

    The first of a permutation of either source, the same in every run; numpy has frozen the stream
    it comes from, and the stored runs of the original used it.
    """
    random = np.random.RandomState(_SPLIT_SEED)
    orders = random.permutation(len(bank)), random.permutation(len(queries))
    return orders[0][:bank_size], orders[1][:query_size]
