"""Read a `.pth` file: which of the formats it is, and its result in plain data."""

import os
import pathlib
import struct
from typing import Any

from dino_jax.config import UserError
from dino_jax.interop.pth.allowed import Values
from dino_jax.interop.pth.filling import Arrays, Place
from dino_jax.interop.pth.legacy import read_legacy
from dino_jax.interop.pth.limits import DAMAGED, FOREIGN, MAX_PICKLE, Budget, RefusedError, quoted
from dino_jax.interop.pth.machine import Machine
from dino_jax.interop.pth.plain import plain
from dino_jax.interop.pth.source import Source
from dino_jax.interop.pth.tensors import Storages
from dino_jax.interop.pth.zipped import read_directory

AGAIN = "download or copy it again"
UNPACK = "unpack it, and give the .pth file inside"
OTHERS: tuple[tuple[int, bytes, str, str], ...] = (
    (257, b"ustar", "it is a tar checkpoint of torch 0.1", "open it once in PyTorch and save it"),
    (0, b"\x1f\x8b", "it is gzip-compressed", UNPACK),
    (0, b"7z\xbc\xaf", "it is a 7z archive", UNPACK),
    (0, b"BZh", "it is bzip2-compressed", UNPACK),
    (0, b"\xfd7zXZ", "it is xz-compressed", UNPACK),
    (0, b"\x7fELF", "it is a program", "give a .pth file"),
    (0, b"MZ", "it is a program", "give a .pth file"),
    (0, b"\x93NUMPY", "it is a numpy file", "give a .pth file"),
    (0, b"\x89HDF", "it is an HDF5 file", "give a .pth file"),
    (0, b"version https://git-lfs", "it is a Git LFS pointer", "fetch the file: git lfs pull"),
    (0, b"<", "it is a web page", AGAIN + ": the address gave a page instead"),
    (0, b"PK\5\6", "it is an empty zip", AGAIN),
    (8, b'{"', "it is a safetensors file", "give it the ending .safetensors"),
)
"""What begins otherwise: where, by what, what it is and what to do."""
UNFORESEEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What a mistake of this reader would raise."""


def read_pth(path: str | os.PathLike[str]) -> Any:
    """Read what `torch.save` wrote, without torch and without running anything of it.

    The result is made of dict, list, tuple, str, int, float, bool, None and numpy arrays, which
    are C-contiguous, writable and hold what is tied in the file once; bfloat16 is that of
    ml_dtypes. An OrderedDict and an argparse.Namespace become dicts, numpy's numbers Python's,
    a device and a dtype their names. Takes up to twice the file's size in memory and 32 MB; checks
    the CRC-32 of every tensor, which torch.load does not.

    Raises:
        UserError: the file is not there, damaged, of another format, or asks for anything that
        weights do not need; one line with what was found and what to do.
    """
    shown = str(path) if str(path).isprintable() else ascii(str(path))
    try:
        if "\0" in str(path):
            raise RefusedError("its name holds a null byte", "give a .pth file")
        with Source(pathlib.Path(path)) as source:
            return _read(source)
    except RefusedError as refusal:
        raise UserError(f"cannot read {shown}: {refusal.found}; {refusal.advice}") from None
    except OSError as error:
        raise UserError(f"cannot read {shown}: {error.strerror}; give a .pth file") from None
    except MemoryError:
        raise UserError(f"cannot read {shown}: no memory is left; free some") from None
    except UNFORESEEN as error:
        # None of these is known to come; kept as the cause, so that the tests see it if one does.
        found = f"{type(error).__name__}: {error}"[:100].encode("unicode_escape").decode()
        raise UserError(
            f"cannot read {shown}: it is unlike all known ({found}); {DAMAGED}"
        ) from error


def _read(source: Source) -> Any:
    head = source.read(0, min(512, source.size))
    if not head:
        raise RefusedError("it is empty", AGAIN)
    if head.startswith(b"PK\3\4"):
        return _read_zip(source, Budget.of(source.size))
    for offset, mark, found, advice in OTHERS:
        if head[offset:].startswith(mark):
            raise RefusedError(found, advice)
    if head[0] != 0x80:
        raise RefusedError(f"it begins with {quoted(head[:16])}, as no .pth file does", AGAIN)
    return read_legacy(source, Budget.of(source.size))


def _read_zip(source: Source, budget: Budget) -> Any:
    places = read_directory(source, budget)
    root = _root(places)
    version = _small(source, places, f"{root}/version")
    if not version.strip().isdigit() or not 1 <= int(version) <= 10:
        raise RefusedError(
            f"its format version is {quoted(version)}", "save it by a current PyTorch"
        )
    if f"{root}/byteorder" in places:
        order = _small(source, places, f"{root}/byteorder")
        if order != b"little":
            raise RefusedError(
                f"its byte order is {quoted(order)}", "save it on a little-endian machine"
            )

    def nbytes(key: str) -> int | None:
        place = places.get(f"{root}/data/{key}")
        return None if place is None else place.size

    data = _pickle(source, places[f"{root}/data.pkl"], budget)
    machine = Machine(data, Values(Storages(nbytes), budget), budget)
    value = machine.run()
    if machine.position != len(data):
        raise RefusedError("its pickle goes on behind its end", FOREIGN)
    arrays = Arrays(budget)
    result = plain(value, arrays.of, most=max(1000, len(data)))
    arrays.fill(source, lambda key: places[f"{root}/data/{key}"])
    return result


def _root(places: dict[str, Place]) -> str:
    """The one folder that all entries lie in."""
    roots = {name.partition("/")[0] for name in places}
    if len(roots) != 1:
        raise RefusedError(f"its zip holds {len(roots)} folders where a .pth file has one")
    (root,) = roots
    if f"{root}/constants.pkl" in places or any(n.startswith(f"{root}/code/") for n in places):
        raise RefusedError("it is a TorchScript program", "save the model's state_dict in PyTorch")
    for needed in ("data.pkl", "version"):
        if f"{root}/{needed}" not in places:
            raise RefusedError(f"its zip has no {needed}, as every .pth file has")
    return root


def _small(source: Source, places: dict[str, Place], name: str) -> bytes:
    place = places[name]
    if place.size > 64:
        raise RefusedError(f"its {quoted(name)} has {place.size} bytes", FOREIGN)
    return _checked(source, place)


def _pickle(source: Source, place: Place, budget: Budget) -> bytes:
    if place.size > MAX_PICKLE:
        raise RefusedError(f"its pickle has {place.size} bytes", FOREIGN)
    budget.spend(2 * place.size)
    return _checked(source, place)


def _checked(source: Source, place: Place) -> bytes:
    data = bytearray(place.size)
    source.fill(memoryview(data), place.offset, place.crc)
    return bytes(data)
