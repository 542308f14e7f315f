"""The format of before torch 1.6: five pickles back to back, then the storages' raw bytes."""

from collections.abc import Iterator
from typing import Any

from dino_jax.interop.pth.allowed import Values
from dino_jax.interop.pth.filling import Arrays, Place
from dino_jax.interop.pth.limits import MAX_PICKLE, Budget, EndedError, RefusedError, quoted
from dino_jax.interop.pth.machine import Machine
from dino_jax.interop.pth.plain import plain
from dino_jax.interop.pth.source import Source
from dino_jax.interop.pth.tensors import Storages

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
FIRST = 1 << 20
"""Bytes read first: nearly every file's pickles end within them."""
RESAVE = "open it once in PyTorch and save it again"


def read_legacy(source: Source, budget: Budget) -> Any:
    """The object of the fourth pickle, its storages as the fifth orders them.

    Raises:
        RefusedError: anything that an older `torch.save` would not have written.
    """
    size = min(FIRST, source.size)
    while True:
        left = Budget(budget.left)
        try:
            return _read(source, source.read(0, size), left)
        except EndedError:
            if size >= min(MAX_PICKLE, source.size):
                raise
            # Begun anew with more: at most twice the work in all.
            size = min(2 * size, MAX_PICKLE, source.size)


def _read(source: Source, data: bytes, budget: Budget) -> Any:
    budget.spend(len(data))
    storages = Storages(lambda key: None, bound=source.size)
    values = Values(storages, budget)
    pickles = _pickles(data, values, budget)
    if next(pickles)[0] != MAGIC:
        raise RefusedError("it is a pickle, but not one of torch.save", RESAVE)
    protocol = next(pickles)[0]
    if protocol != PROTOCOL:
        raise RefusedError("its protocol is not 1001, the only one there was")
    system = next(pickles)[0]
    if type(system) is not dict or system.get("little_endian") is not True:
        raise RefusedError("it does not say to be from a little-endian machine")
    value = next(pickles)[0]
    visits = len(data)
    keys, position = next(pickles)
    places = _places(source, storages, _keys(keys, storages), position)
    arrays = Arrays(budget)
    result = plain(value, arrays.of, most=max(1000, visits))
    arrays.fill(source, places.__getitem__)
    return result


def _pickles(data: bytes, values: Values, budget: Budget) -> Iterator[tuple[Any, int]]:
    """Each pickle's value, and where the next begins."""
    position = 0
    while True:
        machine = Machine(data, values, budget, position)
        value = machine.run()
        position = machine.position
        yield value, position


def _keys(keys: Any, storages: Storages) -> list[str]:
    if type(keys) is not list or any(type(key) is not str for key in keys):
        raise RefusedError("its list of storages is none")
    if len(set(keys)) != len(keys) or set(keys) != set(storages.known):
        raise RefusedError("its list of storages is not that of its tensors")
    return keys


def _places(source: Source, storages: Storages, keys: list[str], position: int) -> dict[str, Place]:
    """Each storage's bytes, behind its number of elements, one after the other to the end."""
    places = {}
    for key in keys:
        dtype, count = storages.known[key]
        found = int.from_bytes(source.read(position, 8), "little", signed=True)
        if found != count:
            raise RefusedError(
                f"its storage {quoted(key)} has {found} elements where it claims {count}"
            )
        size = count * (dtype.itemsize if dtype else 1)
        places[key] = Place(position + 8, size, None)
        position += 8 + size
    if position != source.size:
        raise RefusedError(f"it has {source.size} bytes where its storages end at {position}")
    return places
