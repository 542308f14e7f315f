"""numpy's scalars and arrays within a pickle: whole numbers, floats and booleans only."""

import dataclasses
import math
from typing import Any

import numpy as np

from dino_jax.interop.pth.limits import FOREIGN, Budget, RefusedError, quoted
from dino_jax.interop.pth.tensors import extents

CODES = frozenset("b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8".split())


@dataclasses.dataclass(slots=True, eq=False)
class NumpyDtype:
    """The stand-in of a `numpy.dtype`, little-endian always."""

    dtype: np.dtype


@dataclasses.dataclass(slots=True, eq=False)
class NumpyArray:
    """The stand-in of an array, which its BUILD fills."""

    array: np.ndarray | None = None


def dtype(arguments: tuple[Any, ...]) -> NumpyDtype:
    """`numpy.dtype(code, align, copy)`."""
    code = arguments[0] if arguments else None
    if type(code) is not str or code not in CODES:
        raise RefusedError(f"it holds numpy values of the type {quoted(code)}", FOREIGN)
    if any(type(flag) not in (bool, int) for flag in arguments[1:]) or len(arguments) > 3:
        raise RefusedError("it describes a numpy type in an unknown way", FOREIGN)
    return NumpyDtype(np.dtype("?" if code == "b1" else f"<{code}"))


def check_dtype_state(state: Any) -> None:
    """The state of a dtype without fields, `(3, order, None, None, None, -1, -1, flags)`."""
    plain = type(state) is tuple and len(state) in (7, 8) and state[2:7] == (None,) * 3 + (-1, -1)
    if not plain or type(state[0]) is not int or state[7:] not in ((), (0,)):
        raise RefusedError("it describes a numpy type in an unknown way", FOREIGN)
    if state[1] not in ("<", "|", "="):
        raise RefusedError("it holds numpy values that are not little-endian")


def scalar(arguments: tuple[Any, ...]) -> bool | int | float:
    """`numpy.core.multiarray.scalar(dtype, bytes)`, as Python's own number."""
    if len(arguments) != 2 or type(arguments[0]) is not NumpyDtype:
        raise RefusedError("it describes a numpy number in an unknown way", FOREIGN)
    return array_of(arguments[1], arguments[0].dtype, ()).item()


def reconstruct(arguments: tuple[Any, ...], kind: object) -> NumpyArray:
    """`numpy.core.multiarray._reconstruct(ndarray, (0,), b"b")`; `kind` stands for ndarray.

    Python 2 wrote the last as a string, which it made no difference to.
    """
    forms = (((0,), b"b"), ((0,), "b"))
    if len(arguments) != 3 or arguments[0] is not kind or arguments[1:] not in forms:
        raise RefusedError("it describes a numpy array in an unknown way", FOREIGN)
    return NumpyArray()


def set_array(target: NumpyArray, state: Any, budget: Budget) -> None:
    """The state of an array, `(1, shape, dtype, fortran, bytes)`."""
    if type(state) is not tuple or len(state) != 5 or target.array is not None:
        raise RefusedError("it describes a numpy array in an unknown way", FOREIGN)
    _, shape, kind, fortran, data = state
    if type(shape) is not tuple or type(kind) is not NumpyDtype or type(fortran) is not bool:
        raise RefusedError("it describes a numpy array in an unknown way", FOREIGN)
    shape = extents(shape, "a numpy array")
    budget.spend(2 * len(data) if type(data) in (bytes, str) else 0)
    target.array = array_of(data, kind.dtype, shape, "F" if fortran else "C")


def array_of(data: Any, kind: np.dtype, shape: tuple[int, ...], order: Any = "C") -> np.ndarray:
    """A writable array in C order of raw bytes in the given order."""
    if type(data) is str:  # Python 2 made no difference
        data = encode((data, "latin1"))
    if type(data) is not bytes or len(data) != math.prod(shape) * kind.itemsize:
        raise RefusedError("the bytes of a numpy value do not fit its shape and type")
    if kind == np.dtype("?") and data.strip(b"\0\1"):
        raise RefusedError("a numpy boolean is neither 0 nor 1")
    return np.array(np.frombuffer(data, kind).reshape(shape, order=order), order="C")


def encode(arguments: tuple[Any, ...]) -> bytes:
    """`_codecs.encode(text, "latin1")`, which is how protocol 2 writes bytes."""
    if len(arguments) != 2 or type(arguments[0]) is not str or arguments[1] != "latin1":
        raise RefusedError("it encodes something otherwise than text to latin1", FOREIGN)
    try:
        return arguments[0].encode("latin-1")
    except UnicodeEncodeError:
        raise RefusedError("it encodes text that is not latin1") from None
