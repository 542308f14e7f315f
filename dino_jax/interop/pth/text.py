"""Pickles of protocol 0 and 1, as Python 2 wrote them by default, in the opcodes of protocol 2."""

import pickletools
import struct
from collections.abc import Iterator

from dino_jax.interop.pth.limits import RefusedError

PROTOCOL = b"\x80\x02"
_MOST = 1 << 20
_EMPTY = {"DICT": b"}", "LIST": b"]", "TUPLE": b")"}


def binary(data: bytes) -> bytes:
    """The same pickle in binary opcodes; what is binary in it already stays, known or not.

    Nothing is run or looked up. Text, numbers and the memo are all that is written otherwise; a
    dict or a list is begun empty, as Python's picklers do.

    Raises:
        RefusedError: it cannot be taken apart, or is written as no pickler does.
    """
    found = bytearray(PROTOCOL)
    before = ""
    end = 0
    for name, argument, start, end in _steps(data):
        if before == "MARK" and name in _EMPTY:
            found[-1:] = _EMPTY[name]
        elif name in ("DICT", "LIST"):
            raise RefusedError(f"its pickle does not begin a {name.lower()} empty")
        else:
            found += _written(name, argument, data[start:end])
        before = name
    if end != len(data):
        raise RefusedError("its pickle goes on behind its end")
    return bytes(found)


def _steps(data: bytes) -> Iterator[tuple[str, object, int, int]]:
    """Each opcode's name, argument, and where it begins and ends."""
    last: tuple[str, object, int] | None = None
    try:
        for opcode, argument, position in pickletools.genops(data):
            if last is not None:
                yield (*last, position or 0)
            last = opcode.name, argument, position or 0
    except Exception as error:  # whatever it makes of foreign bytes
        raise RefusedError("it is no pickle, or cut short") from error
    if last is not None:
        yield (*last, last[2] + 1)  # the STOP


def _written(name: str, argument: object, raw: bytes) -> bytes:
    if name in ("INT", "LONG") and isinstance(argument, bool):
        return b"\x88" if argument else b"\x89"
    if name in ("INT", "LONG") and isinstance(argument, int):
        size = argument.bit_length() // 8 + 1
        if size > 255:
            raise RefusedError(f"its pickle holds a whole number of {size} bytes")
        return b"\x8a" + bytes([size]) + argument.to_bytes(size, "little", signed=True)
    if name == "FLOAT" and isinstance(argument, float):
        return b"G" + struct.pack(">d", argument)
    if name in ("STRING", "UNICODE") and isinstance(argument, str):
        text = argument.encode("utf-8", "surrogatepass")
        return b"X" + struct.pack("<I", len(text)) + text
    if name in ("PUT", "GET") and isinstance(argument, int) and 0 <= argument < _MOST:
        return (b"r" if name == "PUT" else b"j") + struct.pack("<I", argument)
    return raw
