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
        self._made: dict[str, tuple[Tensor, np.ndarray]] = {}

    def of(self, tensor: Tensor) -> np.ndarray:
        """The array of `tensor`, C-contiguous and writable; its values come with `fill`."""
        known = self._made.get(tensor.identity)
        if known is None:
            self._budget.spend(tensor.nbytes)
            known = tensor, np.empty(tensor.size, tensor.dtype)
            self._made[tensor.identity] = known
        return known[1]

    def fill(self, source: Source, locate: Callable[[str], Place]) -> None:
        """Read every storage that is needed, once, into its arrays."""
        views: dict[str, list[tuple[Tensor, np.ndarray]]] = {}
        for tensor, array in self._made.values():
            if tensor.nbytes:
                views.setdefault(tensor.key, []).append((tensor, array))
        jobs = sorted((locate(key), key) for key in views)
        whole: list[tuple[Place, np.ndarray]] = []
        parts: list[tuple[Place, list[tuple[Tensor, np.ndarray]]]] = []
        for place, key in jobs:
            first, array = views[key][0]
            if len(views[key]) == 1 and first.contiguous and first.nbytes == place.size:
                whole.append((place, array))
            else:
                parts.append((place, views[key]))

        def read(job: tuple[Place, np.ndarray]) -> None:
            place, array = job
            source.fill(_bytes(array), place.offset, place.crc)

        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(read, whole):
                pass
        for place, targets in parts:
            self._fill_parts(source, place, targets)
        for tensor, array in self._made.values():
            if array.dtype == np.dtype("?") and array.size and array.view(np.uint8).max() > 1:
                raise RefusedError(
                    f"the storage {quoted(tensor.key)} of booleans has others than 0, 1"
                )

    def _fill_parts(
        self, source: Source, place: Place, targets: list[tuple[Tensor, np.ndarray]]
    ) -> None:
        self._budget.spend(place.size)
        held = np.empty(place.size, np.uint8)
        source.fill(held.data, place.offset, place.crc)
        for tensor, array in targets:
            # Checked by `rebuild_tensor` to lie within the storage.
            unit = tensor.dtype.itemsize
            steps = tuple(step * unit for step in tensor.stride)
            view = np.ndarray(tensor.size, tensor.dtype, held, tensor.begin, steps)
            array[...] = view
        self._budget.spend(-place.size)


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(array.size).view(np.uint8).data
