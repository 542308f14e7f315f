"""Storages and tensors as the pickle describes them: numbers, checked before any byte is read."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from dino_jax.interop.pth.limits import (
    FOREIGN,
    MAX_AXES,
    MAX_ENTRIES,
    MAX_EXTENT,
    MAX_NAME,
    RefusedError,
    quoted,
)

RESAVE = "save it again in PyTorch as plain dense tensors on the CPU"

STORAGES: dict[str, np.dtype] = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
"""What a storage class of torch holds."""

DTYPES: dict[str, np.dtype] = {
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "int64": np.dtype("<i8"),
    "int32": np.dtype("<i4"),
    "int16": np.dtype("<i2"),
    "int8": np.dtype("i1"),
    "uint64": np.dtype("<u8"),
    "uint32": np.dtype("<u4"),
    "uint16": np.dtype("<u2"),
    "uint8": np.dtype("u1"),
    "bool": np.dtype("?"),
}
"""By torch's names."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class StorageClass:
    """The stand-in of a storage class; without a dtype it counts bytes."""

    name: str
    dtype: np.dtype | None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class TorchDtype:
    """The stand-in of `torch.float32` and its like."""

    name: str
    dtype: np.dtype


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """`length` elements from `start` of the file's storage `key`; bytes where there is no dtype."""

    key: str
    dtype: np.dtype | None
    start: int
    length: int


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A view of the storage `key`: `begin` in bytes, `size` and `stride` in elements.

    The stride of an axis with fewer than two places is 0, as it is never stepped.
    """

    key: str
    dtype: np.dtype
    begin: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def identity(self) -> str:
        """The same for the same view only. Text, as hashes of tuples of numbers can be chosen."""
        return f"{self.begin} {self.dtype.name} {self.size} {self.stride} {self.key}"

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor on its own."""
        return math.prod(self.size) * self.dtype.itemsize

    @property
    def contiguous(self) -> bool:
        """Whether its elements lie in C order without gaps."""
        return all(
            count < 2 or step == expected
            for count, step, expected in zip(
                self.size, self.stride, c_strides(self.size), strict=True
            )
        )


class Storages:
    """The storages that one file's tensors name, each always with the same class and length.

    `nbytes` says how many bytes the file holds under a key, None where there is no such key, and
    `bound` (formats whose storages come after the pickle) that it does not know yet.
    """

    def __init__(self, nbytes: Callable[[str], int | None], bound: int | None = None) -> None:
        self._nbytes = nbytes
        self._bound = bound
        self.known: dict[str, tuple[np.dtype | None, int]] = {}

    def persistent(self, identity: Any) -> Storage:
        """The storage of `("storage", class, key, location, elements[, view])`."""
        if type(identity) is not tuple or len(identity) not in (5, 6):
            raise RefusedError(f"it refers to something outside by {quoted(identity)}", FOREIGN)
        if identity[0] == "module":
            raise RefusedError("it holds a whole pickled module, code and all", FOREIGN)
        kind, key, location, count = identity[1:5]
        if identity[0] != "storage" or type(kind) is not StorageClass:
            raise RefusedError(
                f"it refers to {quoted(identity[0])} outside, not to a storage", FOREIGN
            )
        if type(key) is not str or not 0 < len(key) <= MAX_NAME or type(location) is not str:
            raise RefusedError(f"it names a storage by {quoted(key)}", FOREIGN)
        dtype, length = self.known.setdefault(
            key, (kind.dtype, extent(count, "a storage's length"))
        )
        # `==` would do for no two dtypes of the table, but None: to numpy that is float64.
        if dtype is not kind.dtype or length != count:
            raise RefusedError(f"it describes the storage {quoted(key)} in two ways")
        self._check_length(key, count * (1 if kind.dtype is None else kind.dtype.itemsize))
        start, length = self._part(identity[5:], count)
        return Storage(key, kind.dtype, start, length)

    def _check_length(self, key: str, claimed: int) -> None:
        if len(self.known) > MAX_ENTRIES:
            raise RefusedError(f"it has over {MAX_ENTRIES} storages", FOREIGN)
        if self._bound is not None:
            if claimed > self._bound:
                raise RefusedError(f"it claims {claimed} bytes for the storage {quoted(key)}")
            return
        held = self._nbytes(key)
        if held is None:
            raise RefusedError(f"it lacks the storage {quoted(key)}")
        if held != claimed:
            raise RefusedError(
                f"its storage {quoted(key)} has {held} bytes where {claimed} are claimed"
            )

    @staticmethod
    def _part(rest: tuple[Any, ...], count: int) -> tuple[int, int]:
        """The part that torch before 1.0 named in a sixth place: (key, start, length)."""
        if not rest or rest[0] is None:
            return 0, count
        part = rest[0]
        if type(part) is not tuple or len(part) != 3 or type(part[0]) is not str:
            raise RefusedError(f"it describes a part of a storage by {quoted(part)}")
        start, length = (extent(value, "a part of a storage") for value in part[1:])
        if start + length > count:
            raise RefusedError("a part of a storage reaches over the storage's end")
        return start, length


def extent(value: Any, what: str) -> int:
    """`value` where it is a whole number from 0 to 2**48; else refused as `what`."""
    if type(value) is not int or not 0 <= value < MAX_EXTENT:
        shown = value if type(value) is int else quoted(value)
        raise RefusedError(f"it gives {what} as {shown}")
    return value


def extents(size: tuple[Any, ...], what: str) -> tuple[int, ...]:
    """`size` where it is one of an array: few axes, the places of those not empty below 2**48."""
    if len(size) > MAX_AXES:
        raise RefusedError(f"{what} has {len(size)} axes", RESAVE)
    checked = tuple(extent(value, f"the size of {what}") for value in size)
    # numpy multiplies them like this too, also where one is 0.
    if math.prod(max(1, value) for value in checked) >= MAX_EXTENT:
        raise RefusedError(f"{what} has the size {checked}")
    return checked


def c_strides(size: tuple[int, ...]) -> tuple[int, ...]:
    """Steps in elements of an array in C order, as torch gives them (an empty axis counts as 1)."""
    return tuple(
        math.prod(max(1, later) for later in size[axis + 1 :]) for axis in range(len(size))
    )


def rebuild_tensor(arguments: tuple[Any, ...]) -> Tensor:
    """`torch._utils._rebuild_tensor(storage, offset, size, stride)`."""
    if len(arguments) != 4:
        raise RefusedError(f"it describes a tensor by {len(arguments)} values")
    return _view(arguments, None)


def rebuild_tensor_v2(arguments: tuple[Any, ...]) -> Tensor:
    """`_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])`."""
    if len(arguments) not in (6, 7):
        raise RefusedError(f"it describes a tensor by {len(arguments)} values")
    _check_rest(*arguments[4:6], *arguments[6:])
    return _view(arguments[:4], None)


def rebuild_tensor_v3(arguments: tuple[Any, ...]) -> Tensor:
    """`_rebuild_tensor_v3(storage, …, hooks, dtype[, metadata])`, for dtypes without a class."""
    if len(arguments) not in (7, 8) or type(arguments[6]) is not TorchDtype:
        raise RefusedError(
            f"it describes a tensor by {len(arguments)} values, or without its dtype"
        )
    _check_rest(*arguments[4:6], *arguments[7:])
    return _view(arguments[:4], arguments[6].dtype)


def rebuild_parameter(arguments: tuple[Any, ...]) -> Tensor:
    """`_rebuild_parameter(tensor, requires_grad, hooks)`, also the class of old files."""
    if not 1 <= len(arguments) <= 3 or type(arguments[0]) is not Tensor:
        raise RefusedError("it describes a parameter by what is not a tensor")
    _check_rest(*(arguments[1:] or (False,)))
    return arguments[0]


def _check_rest(requires_grad: Any, hooks: Any = None, metadata: Any = None) -> None:
    if type(requires_grad) is not bool:
        raise RefusedError(f"it says whether a tensor is trained by {quoted(requires_grad)}")
    if not (hooks is None or (isinstance(hooks, dict) and not hooks)):
        raise RefusedError("a tensor comes with hooks, which are code", FOREIGN)
    if not (metadata is None or (type(metadata) is dict and not metadata)):
        raise RefusedError("a tensor is conjugated or negated lazily, or has metadata", RESAVE)


def _view(arguments: tuple[Any, ...], dtype: np.dtype | None) -> Tensor:
    storage, offset, size, stride = arguments
    if type(storage) is not Storage:
        raise RefusedError(f"it describes a tensor without a storage, by {quoted(storage)}")
    if storage.dtype is not None and dtype is not None and dtype is not storage.dtype:
        raise RefusedError("a tensor has another dtype than its storage")
    dtype = storage.dtype if dtype is None else dtype
    if dtype is None:
        raise RefusedError("a tensor has no dtype")
    if type(size) is not tuple or type(stride) is not tuple or len(size) != len(stride):
        raise RefusedError(
            "it gives a tensor's size and stride in other ways than two equal tuples"
        )
    size = extents(size, "a tensor")
    offset = extent(offset, "a tensor's offset")
    stride = tuple(extent(value, "a tensor's stride") for value in stride)
    length, unit = storage.length, dtype.itemsize
    if storage.dtype is None:
        length //= unit
    last = sum((count - 1) * step for count, step in zip(size, stride, strict=True))
    if offset + (last + 1 if 0 not in size else 0) > length:
        raise RefusedError("a tensor reaches over the end of its storage")
    if math.prod(size) > length:
        raise RefusedError("a tensor repeats its storage's elements", RESAVE)
    start = storage.start * (1 if storage.dtype is None else storage.dtype.itemsize)
    stride = tuple(step if count > 1 else 0 for count, step in zip(size, stride, strict=True))
    return Tensor(storage.key, dtype, start + offset * unit, size, stride)
