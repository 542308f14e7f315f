"""A pickle by itself, not one of `torch.save`: plain values and numpy arrays, nothing executed."""

import os
import pathlib
from typing import Any

import numpy as np

from dino_jax.config import UserError
from dino_jax.interop.pth.allowed import Function, Values
from dino_jax.interop.pth.limits import MAX_PICKLE, Budget, RefusedError
from dino_jax.interop.pth.machine import Machine
from dino_jax.interop.pth.plain import plain
from dino_jax.interop.pth.reader import UNFORESEEN
from dino_jax.interop.pth.source import Source
from dino_jax.interop.pth.tensors import Storages, Tensor
from dino_jax.interop.pth.text import binary

ADVICE = "nothing of it was run; give what it should hold as JSON"
MOST = 1 << 30
"""Bytes a reading may take: long lists of small numbers take far more than the file."""


def read_pickle(path: str | os.PathLike[str]) -> Any:
    """The value of a pickle of protocol 0 to 5, of Python 2 or 3, by the allow-list of `read_pth`.

    It is made of dict, list, tuple, str, int, float, bool, None and numpy arrays.

    Raises:
        UserError: the file is not there, damaged, or asks for anything else; one line.
    """
    shown = str(path) if str(path).isprintable() else ascii(str(path))
    try:
        with Source(pathlib.Path(path)) as source:
            return _read(source)
    except RefusedError as refusal:
        raise UserError(f"cannot read {shown}: {refusal.found}; {ADVICE}") from None
    except OSError as error:
        raise UserError(f"cannot read {shown}: {error.strerror}; give a pickle") from None
    except MemoryError:
        raise UserError(f"cannot read {shown}: no memory is left; free some") from None
    except UNFORESEEN as error:
        found = f"{type(error).__name__}: {error}"[:100].encode("unicode_escape").decode()
        raise UserError(f"cannot read {shown}: it is no pickle ({found}); {ADVICE}") from error


def _read(source: Source) -> Any:
    if source.size > MAX_PICKLE:
        raise RefusedError(f"it has {source.size} bytes")
    data = source.read(0, source.size)
    if not data:
        raise RefusedError("it is empty")
    budget = Budget(MOST)
    if data[0] != 0x80:
        data = binary(data)
    machine = Machine(data, _Values(Storages(lambda key: None), budget), budget)
    value = machine.run()
    if machine.position != len(data):
        raise RefusedError("its pickle goes on behind its end")
    return plain(value, _no_tensor, most=max(1000, len(data)))


class _Values(Values):
    """The stand-ins of checkpoints, and how protocol 2 and below write bytes where there are none.

    numpy's arrays without elements end in that.
    """

    def find(self, module: str, name: str) -> Any:
        """The stand-in of `module.name`."""
        if (module, name) == ("__builtin__", "bytes"):
            return Function("bytes", _no_bytes)
        return super().find(module, name)


def _no_bytes(arguments: tuple[Any, ...]) -> bytes:
    if arguments:
        raise RefusedError("it makes bytes of something")
    return b""


def _no_tensor(tensor: Tensor) -> np.ndarray:
    raise RefusedError(f"it holds a tensor of PyTorch, whose bytes {tensor.key!r} are elsewhere")
