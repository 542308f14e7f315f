"""Write a `.pth` file without torch, one that every `torch.load` opens, mapped too.

The opcodes of pickle protocol 2 are written here by hand, in the form `torch.save` gives them.
"""

import itertools
import os
import pathlib
import struct
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from dino_jax.interop.pth.tensors import DTYPES, STORAGES, c_strides

ALIGNMENT = 64
"""Bytes that tensors begin at a multiple of, as torch's do."""
PADDING = 0x4246
"""The zip field, "FB", that torch pads by."""
DATE = (1980, 1, 1, 0, 0, 0)
"""Always this one, so that equal trees give equal files."""

Storage = tuple[str, np.ndarray]


def write_pth(path: str | os.PathLike[str], tree: Any) -> None:
    """Write nested dict, list, tuple, str, int, float, bool, None and numpy arrays to `path`.

    A dict is written as an OrderedDict when all its values are arrays, which makes it a state dict,
    else as a dict; its keys are str or int. An array object met twice is stored once. Arrays are
    of the dtypes torch has but complex ones; numpy's own numbers become Python's. The file appears
    under its name when it is complete.

    Raises:
        TypeError: the tree holds something else.
    """
    path = pathlib.Path(path)
    pickle = _Pickle()
    data = b"\x80\x02" + b"".join(pickle.emit(tree)) + b"."
    partial = path.with_name(path.name + ".partial")
    try:
        with zipfile.ZipFile(partial, "w", allowZip64=True) as archive:
            root = path.stem or "archive"
            _add(archive, f"{root}/data.pkl", data)
            _add(archive, f"{root}/byteorder", b"little")
            for key, array in enumerate(pickle.arrays):
                _add(archive, f"{root}/data/{key}", _raw(array))
            _add(archive, f"{root}/version", b"3\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _add(archive: zipfile.ZipFile, name: str, data: bytes | memoryview) -> None:
    entry = zipfile.ZipInfo(name, DATE)
    entry.file_size = len(data)
    wide = len(data) * 1.05 > zipfile.ZIP64_LIMIT
    begin = archive.start_dir + 30 + len(name.encode()) + 4 + (20 if wide else 0)
    padding = -begin % ALIGNMENT
    entry.extra = struct.pack("<2H", PADDING, padding) + b"Z" * padding
    with archive.open(entry, "w") as file:
        file.write(data)


def _raw(array: np.ndarray) -> memoryview:
    """The bytes in C order, little-endian."""
    dense = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    return dense.reshape(dense.size).view(np.uint8).data


class _Pickle:
    """The opcodes of a tree, and the arrays it mentions in the order of their storages' keys."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []
        self._keys: dict[int, int] = {}

    def emit(self, value: Any) -> Iterator[bytes]:
        if isinstance(value, np.ndarray):
            yield from self._tensor(value)
        elif isinstance(value, dict):
            yield from self._dict(value)
        elif type(value) in (list, tuple):
            yield b"](" if type(value) is list else b"("
            yield from itertools.chain.from_iterable(map(self.emit, value))
            yield b"e" if type(value) is list else b"t"
        else:
            yield scalar(value.item() if isinstance(value, np.generic) else value)

    def _dict(self, value: dict[Any, Any]) -> Iterator[bytes]:
        state = value and all(isinstance(item, np.ndarray) for item in value.values())
        yield b"ccollections\nOrderedDict\n)R(" if state else b"}("
        for key, item in value.items():
            if type(key) not in (str, int):
                raise TypeError(f"a .pth file has keys of text and whole numbers, not {key!r}")
            yield scalar(key)
            yield from self.emit(item)
        yield b"u"

    def _tensor(self, array: np.ndarray) -> Iterator[bytes]:
        name = _torch_name(array.dtype)
        key = self._keys.setdefault(id(array), len(self.arrays))
        if key == len(self.arrays):
            self.arrays.append(array)
        kinds = {dtype: kind for kind, dtype in STORAGES.items()}
        kind = kinds.get(DTYPES[name])
        count = array.size if kind else array.nbytes
        storage = f"ctorch\n{kind}\n" if kind else "ctorch.storage\nUntypedStorage\n"
        yield f"ctorch._utils\n_rebuild_tensor_v{2 if kind else 3}\n((".encode()
        yield scalar("storage") + storage.encode() + scalar(str(key)) + scalar("cpu")
        yield scalar(count) + b"tQ" + scalar(0)
        for numbers in (array.shape, c_strides(array.shape)):
            yield b"(" + b"".join(map(scalar, numbers)) + b"t"
        yield b"\x89ccollections\nOrderedDict\n)R"
        yield b"tR" if kind else f"ctorch\n{name}\ntR".encode()


def _torch_name(dtype: np.dtype) -> str:
    for name, known in DTYPES.items():
        if dtype.newbyteorder("<") == known:
            return name
    raise TypeError(f"a .pth file of ours holds no arrays of {dtype}")


def scalar(value: Any) -> bytes:
    """The opcodes of one string, number, boolean or None.

    Raises:
        TypeError: it is none of them, or a whole number of over 16 bytes.
    """
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if type(value) is str:
        text = value.encode()
        return b"X" + struct.pack("<I", len(text)) + text
    if type(value) is float:
        return b"G" + struct.pack(">d", value)
    if type(value) is int:
        return _whole(value)
    raise TypeError(f"a .pth file of ours holds no {type(value).__name__}")


def _whole(value: int) -> bytes:
    for code, form, least, most in (
        (b"K", "<B", 0, 0xFF),
        (b"M", "<H", 0, 0xFFFF),
        (b"J", "<i", -(1 << 31), (1 << 31) - 1),
    ):
        if least <= value <= most:
            return code + struct.pack(form, value)
    size = value.bit_length() // 8 + 1
    if size > 16:
        raise TypeError(f"a .pth file of ours holds no whole number of {size} bytes")
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
