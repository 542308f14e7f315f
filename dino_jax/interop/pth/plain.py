"""From what the pickle left to plain data: no stand-in, no cycle, no bomb is left in it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from dino_jax.interop.pth.allowed import Namespace, Ordered
from dino_jax.interop.pth.limits import FOREIGN, MAX_DEPTH, RefusedError, quoted
from dino_jax.interop.pth.scalars import NumpyArray
from dino_jax.interop.pth.tensors import Tensor, TorchDtype

CONTAINERS = (dict, Ordered, Namespace, list, tuple)
LEAVES = (str, int, float, bool, type(None))


@dataclasses.dataclass(frozen=True, slots=True)
class Finished:
    """A container in plain data, with what a walk over it as a tree visits and how deep it goes."""

    value: Any
    visits: int
    depth: int


def plain(root: Any, array: Callable[[Tensor], np.ndarray], *, most: int) -> Any:
    """`root` in dicts, lists, tuples, arrays and Python's own values.

    A container met twice is one object in the result too. What comes after may walk the result as
    the tree it looks like, so a tree of more than `most` values is refused, and so is a cycle.
    Nothing recurses here; each container is done once.
    """
    if type(root) not in CONTAINERS:
        return _leaf(root, array)
    finished: dict[int, Finished] = {}
    begun: set[int] = set()
    work = [root]
    while work:
        node = work[-1]
        if id(node) in finished:
            work.pop()
        elif id(node) in begun:  # all within it is finished
            begun.discard(id(work.pop()))
            finished[id(node)] = _finish(node, finished, array, most)
        else:
            begun.add(id(node))
            inner = [child for child in _children(node) if type(child) in CONTAINERS]
            if any(id(child) in begun for child in inner):
                raise RefusedError("it holds a container that contains itself", FOREIGN)
            work.extend(child for child in inner if id(child) not in finished)
    return finished[id(root)].value


def _children(node: Any) -> list[Any]:
    return list(node.values()) if isinstance(node, dict) else list(node)


def _finish(
    node: Any, finished: dict[int, Finished], array: Callable[[Tensor], np.ndarray], most: int
) -> Finished:
    visits, depth, values = 1, 0, []
    for child in _children(node):
        if type(child) in CONTAINERS:
            done = finished[id(child)]
            visits, depth = visits + done.visits, max(depth, done.depth)
            values.append(done.value)
        else:
            visits += 1
            values.append(_leaf(child, array))
    if visits > most:
        raise RefusedError("it repeats its containers so that they unfold beyond its size", FOREIGN)
    if depth >= MAX_DEPTH:
        raise RefusedError(f"it nests containers over {MAX_DEPTH} deep", FOREIGN)
    if isinstance(node, dict):
        return Finished(dict(zip(node, values, strict=True)), visits, depth + 1)
    return Finished(type(node)(values), visits, depth + 1)


def _leaf(value: Any, array: Callable[[Tensor], np.ndarray]) -> Any:
    if type(value) in LEAVES:
        return value
    if type(value) is Tensor:
        return array(value)
    if type(value) is TorchDtype:
        return f"torch.{value.name}"
    if type(value) is NumpyArray and value.array is not None:
        return value.array
    raise RefusedError(f"it holds {quoted(value)} as a value, which is not plain data", FOREIGN)
