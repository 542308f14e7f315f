"""The order of examples, a pure function of the global step.

An epoch is floor(N / global batch) steps, each epoch has its own permutation, and no batch
straddles two of them. So the step is the whole position of the data pipeline, and the number of
workers, processes and devices may change between one run and its continuation.
"""

import threading
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from dino_jax.config import UserError
from dino_jax.data.randomness import permutation

_KEPT = 2  # readers run ahead of each other across the border of two epochs


class Rows(NamedTuple):
    """Some rows of one global batch: the epoch, and the examples in it."""

    epoch: int
    examples: Int[np.ndarray, "rows"]


class Order:
    """Which examples a step takes, for `length` examples in global batches of `batch_size`."""

    def __init__(self, length: int, batch_size: int, seed: int) -> None:
        """Raise `UserError` if there are fewer examples than one batch takes."""
        if length < batch_size:
            raise UserError(
                f"{length} images are fewer than one batch of {batch_size}; set batch_size to "
                f"{length} or less, or give more images"
            )
        self.steps_per_epoch = length // batch_size
        self._length, self._batch_size, self._seed = length, batch_size, seed
        self._permutations: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def rows(self, step: int, first: int = 0, last: int | None = None) -> Rows:
        """Rows `first` up to `last` (all by default) of the global batch of one step."""
        epoch, place = divmod(step, self.steps_per_epoch)
        start = place * self._batch_size
        stop = start + (self._batch_size if last is None else last)
        return Rows(epoch, self._permutation(epoch)[start + first : stop])

    def _permutation(self, epoch: int) -> Int[np.ndarray, "n"]:
        with self._lock:
            if epoch not in self._permutations:
                while len(self._permutations) >= _KEPT:
                    del self._permutations[next(iter(self._permutations))]
                self._permutations[epoch] = permutation(self._seed, epoch, self._length)
            return self._permutations[epoch]

    def __getstate__(self) -> dict[str, Any]:
        """A copy for a worker works out its permutations for itself."""
        return {**self.__dict__, "_permutations": {}, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Give the copy its own lock."""
        self.__dict__.update(state, _lock=threading.Lock())
