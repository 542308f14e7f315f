"""The arrays of a result: made while the result is, filled afterwards in the order of the file."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from dino_jax.interop.pth.limits import Budget, RefusedError, quoted
from dino_jax.interop.pth.source import Source
from dino_jax.interop.pth.tensors import Tensor

THREADS = 4
"""Readers at once: one's checksum runs while the other reads."""


class Place(NamedTuple):
    """Where bytes lie in a file, and their CRC-32 where the format has one."""

    offset: int
    size: int
    crc: int | None


class Arrays:
    """One array for every different view of a storage: what is tied in the file is tied here."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._made: dict[Tensor, np.ndarray] = {}

    def of(self, tensor: Tensor) -> np.ndarray:
        """The array of `tensor`, C-contiguous and writable; its values come with `fill`."""
        if tensor not in self._made:
            self._budget.spend(tensor.nbytes)
            self._made[tensor] = np.empty(tensor.size, tensor.dtype)
        return self._made[tensor]

    def fill(self, source: Source, locate: Callable[[str], Place]) -> None:
        """Read every storage that is needed, once, into its arrays."""
        views: dict[str, list[Tensor]] = {}
        for tensor in self._made:
            if tensor.nbytes:
                views.setdefault(tensor.key, []).append(tensor)
        jobs = sorted((locate(key), key) for key in views)
        whole: list[tuple[Place, list[Tensor]]] = []
        parts: list[tuple[Place, list[Tensor]]] = []
        for place, key in jobs:
            first = views[key][0]
            alone = len(views[key]) == 1 and first.contiguous and first.nbytes == place.size
            (whole if alone else parts).append((place, views[key]))

        def read(job: tuple[Place, list[Tensor]]) -> None:
            place, (tensor,) = job
            source.fill(_bytes(self._made[tensor]), place.offset, place.crc)

        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(read, whole):
                pass
        for place, tensors in parts:
            self._fill_parts(source, place, tensors)
        for tensor, array in self._made.items():
            if array.dtype == np.dtype("?") and array.size and array.view(np.uint8).max() > 1:
                raise RefusedError(
                    f"the storage {quoted(tensor.key)} of booleans has others than 0, 1"
                )

    def _fill_parts(self, source: Source, place: Place, tensors: list[Tensor]) -> None:
        self._budget.spend(place.size)
        held = np.empty(place.size, np.uint8)
        source.fill(held.data, place.offset, place.crc)
        for tensor in tensors:
            # Checked by `rebuild_tensor` to lie within the storage.
            unit = tensor.dtype.itemsize
            steps = tuple(step * unit for step in tensor.stride)
            view = np.ndarray(tensor.size, tensor.dtype, held, tensor.begin, steps)
            self._made[tensor][...] = view
        self._budget.spend(-place.size)


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(array.size).view(np.uint8).data
