"""Every name a pickle may mention, each with a stand-in of ours; every other name is refused.

The names are keys of a table. None is ever imported, and no attribute is ever looked up.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from dino_jax.interop.pth import scalars, tensors
from dino_jax.interop.pth.limits import FIELD_COST, FOREIGN, Budget, RefusedError, quoted
from dino_jax.interop.pth.tensors import (
    Storage,
    StorageClass,
    Storages,
    TorchDtype,
    extent,
    extents,
)


class Ordered(dict[Any, Any]):
    """An OrderedDict while the pickle runs; a dict in the result."""


class Namespace(dict[Any, Any]):
    """An argparse.Namespace while the pickle runs; a dict in the result."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Function:
    """The stand-in of a function or class that REDUCE may call: ours is called."""

    name: str
    apply: Callable[[tuple[Any, ...]], Any]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Marker:
    """The stand-in of a name that only stands in an argument, or is refused when used."""

    name: str


def _ordered(arguments: tuple[Any, ...]) -> Ordered:
    if arguments:
        raise RefusedError("it makes an OrderedDict of arguments", FOREIGN)
    return Ordered()


def _size(arguments: tuple[Any, ...]) -> tuple[int, ...]:
    if len(arguments) != 1 or type(arguments[0]) is not tuple:
        raise RefusedError("it describes a torch.Size in an unknown way", FOREIGN)
    return extents(arguments[0], "a torch.Size")


def _device(arguments: tuple[Any, ...]) -> str:
    kinds = [type(value) for value in arguments]
    if kinds not in ([str], [str, int]) or len(arguments[0]) > 64:
        raise RefusedError("it describes a torch.device in an unknown way", FOREIGN)
    return ":".join(str(extent(v, "a device") if type(v) is int else v) for v in arguments)


NDARRAY = Marker("numpy.ndarray")
NAMESPACE = Marker("argparse.Namespace")


def _table() -> dict[tuple[str, str], Any]:
    functions: dict[tuple[str, str], Callable[[tuple[Any, ...]], Any]] = {
        ("collections", "OrderedDict"): _ordered,
        ("torch._utils", "_rebuild_tensor"): tensors.rebuild_tensor,
        ("torch._utils", "_rebuild_tensor_v2"): tensors.rebuild_tensor_v2,
        ("torch._utils", "_rebuild_tensor_v3"): tensors.rebuild_tensor_v3,
        ("torch._utils", "_rebuild_parameter"): tensors.rebuild_parameter,
        ("torch.nn.parameter", "Parameter"): tensors.rebuild_parameter,
        ("torch", "Size"): _size,
        ("torch", "device"): _device,
        ("_codecs", "encode"): scalars.encode,
        ("numpy", "dtype"): scalars.dtype,
    }
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        functions[module, "scalar"] = scalars.scalar
        functions[module, "_reconstruct"] = lambda given: scalars.reconstruct(given, NDARRAY)
    table: dict[tuple[str, str], Any] = {
        key: Function(".".join(key), apply) for key, apply in functions.items()
    }
    table["numpy", "ndarray"] = NDARRAY
    table["argparse", "Namespace"] = NAMESPACE
    for name, dtype in tensors.STORAGES.items():
        for module in ("torch", "torch.cuda"):
            table[module, name] = StorageClass(name, dtype)
    for name in ("UntypedStorage", "TypedStorage"):
        table["torch.storage", name] = StorageClass(name, None)
    for name, dtype in tensors.DTYPES.items():
        table["torch", name] = TorchDtype(name, dtype)
    return table


ALLOWED = _table()
"""By module and name."""


class Values:
    """What the opcodes that name, call, make, set and refer come to, for one file."""

    def __init__(self, storages: Storages, budget: Budget) -> None:
        self._storages = storages
        self._budget = budget

    def find(self, module: str, name: str) -> Any:
        """The stand-in of `module.name`."""
        found = ALLOWED.get((module, name))
        if found is None:
            raise RefusedError(f"its pickle asks for {quoted(f'{module}.{name}')}", FOREIGN)
        return found

    def call(self, function: Any, arguments: Any) -> Any:
        """REDUCE."""
        if type(function) is not Function or type(arguments) is not tuple:
            name = function.name if type(function) is Marker else quoted(function)
            raise RefusedError(f"its pickle calls {name}", FOREIGN)
        # What is recalled from the memo again and again would be made again and again.
        self._budget.spend(sum(2 * len(a) for a in arguments if type(a) in (str, bytes)))
        return function.apply(arguments)

    def make(self, kind: Any, arguments: Any) -> Any:
        """NEWOBJ, known of a Namespace only."""
        if kind is not NAMESPACE or arguments != ():
            name = kind.name if type(kind) in (Function, Marker) else quoted(kind)
            raise RefusedError(f"its pickle makes an object of {name}", FOREIGN)
        return Namespace()

    def build(self, target: Any, state: Any) -> None:
        """BUILD: sets what `target` is made with, never an attribute."""
        if type(target) is Namespace:
            self._budget.spend(FIELD_COST * len(state) if type(state) is dict else 0)
            target.update(_fields(state))
        elif type(target) is Ordered:
            # PyTorch hangs the versions of its layers on a state dict.
            if set(_fields(state)) - {"_metadata"}:
                raise RefusedError("its pickle sets attributes of an OrderedDict", FOREIGN)
        elif type(target) is scalars.NumpyDtype:
            scalars.check_dtype_state(state)
        elif type(target) is scalars.NumpyArray:
            scalars.set_array(target, state, self._budget)
        else:
            raise RefusedError(f"its pickle sets the state of {quoted(target)}", FOREIGN)

    def persistent(self, identity: Any) -> Storage:
        """BINPERSID."""
        return self._storages.persistent(identity)

    def settable(self, target: Any) -> bool:
        """Whether items may be set in `target`."""
        return type(target) in (dict, Ordered)


def _fields(state: Any) -> dict[str, Any]:
    if type(state) is not dict or any(type(key) is not str for key in state):
        raise RefusedError(f"its pickle sets the state of an object by {quoted(state)}", FOREIGN)
    for key in state:
        if key.startswith("__"):
            raise RefusedError(f"its pickle sets the attribute {quoted(key)}", FOREIGN)
    return state
