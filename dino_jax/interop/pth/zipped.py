"""The zip that `torch.save` writes: its directory, read strictly.

Whatever two readers could understand differently is refused: bytes before the first entry, between
entries and behind the directory, one name twice, headers that disagree, a compressed entry.
"""

import stat
import struct
from typing import NamedTuple

from dino_jax.interop.pth.filling import Place
from dino_jax.interop.pth.limits import FOREIGN, MAX_ENTRIES, Budget, RefusedError, quoted
from dino_jax.interop.pth.source import Source

LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
END64 = struct.Struct("<4sQ2H2I4Q")
LOCATOR = struct.Struct("<4sIQI")
FULL, FULL_SHORT = 0xFFFFFFFF, 0xFFFF
ENTRY_COST = 1024
"""Bytes charged for an entry: its name and its numbers, twice."""
MAX_NAME_BYTES = 1024
DESCRIPTORS = (12, 16, 20, 24)
"""Bytes of a data descriptor: with and without its signature, of 32 and of 64 bits."""


class Entry(NamedTuple):
    """One file of the archive as the directory says, by the offset of its local header."""

    header: int
    name: bytes
    flags: int
    size: int
    crc: int


def read_directory(source: Source, budget: Budget) -> dict[str, Place]:
    """Where the bytes of every entry lie, by name.

    Raises:
        RefusedError: anything that `torch.save` would not have written.
    """
    begin, size, count = _end(source)
    if count > MAX_ENTRIES or count * CENTRAL.size > size:
        raise RefusedError(f"its zip directory claims {count} entries in {size} bytes")
    budget.spend(size + ENTRY_COST * count)
    entries = _entries(source.read(begin, size), count)
    places: dict[str, Place] = {}
    entries.sort()
    free = 0  # behind the entry before
    described = False
    for entry in entries:
        gap = entry.header - free
        if gap and not (described and gap in DESCRIPTORS):
            raise RefusedError(
                f"its zip entries overlap or leave a gap before {quoted(entry.name)}"
            )
        # As text a name may take four bytes for each of its own.
        budget.spend(4 * len(entry.name))
        offset = _data(source, entry)
        free, described = offset + entry.size, bool(entry.flags & 8)
        name = _checked_name(entry.name)
        if name in places:
            raise RefusedError(f"its zip has two entries named {quoted(name)}", FOREIGN)
        places[name] = Place(offset, entry.size, entry.crc)
    if begin - free not in (0, *(DESCRIPTORS if described else ())):
        raise RefusedError("its zip entries do not reach to its directory")
    return places


def _end(source: Source) -> tuple[int, int, int]:
    """Offset, bytes and entries of the directory, which ends where the end records begin."""
    at = source.size - END.size
    if at < 0:
        raise RefusedError("it is a zip file cut short")
    signature, disk, first, here, count, size, begin, comment = END.unpack(
        source.read(at, END.size)
    )
    if signature != b"PK\5\6" or comment:
        raise RefusedError("it is a zip file cut short, or with something behind its end")
    if disk or first or here != count:
        raise RefusedError("it is one of several zip files")
    if at >= LOCATOR.size:
        mark, disk, end64, disks = LOCATOR.unpack(source.read(at - LOCATOR.size, LOCATOR.size))
        if mark == b"PK\6\7":
            at = at - LOCATOR.size - END64.size
            if end64 != at or disk or disks != 1:
                raise RefusedError("its zip end records disagree")
            short = (count, size, begin)
            count, size, begin = _end64(source.read(max(at, 0), END64.size))
            for old, new, full in zip(
                short, (count, size, begin), (FULL_SHORT, FULL, FULL), strict=True
            ):
                if old not in (new, full):
                    raise RefusedError("its zip end records disagree")
    if begin + size != at:
        raise RefusedError("its zip directory is not where its end record says")
    return begin, size, count


def _end64(data: bytes) -> tuple[int, int, int]:
    mark, length, _, _, disk, first, here, count, size, begin = END64.unpack(data)
    if mark != b"PK\6\6" or length != END64.size - 12 or disk or first or here != count:
        raise RefusedError("its zip end records disagree")
    return count, size, begin


def _entries(data: bytes, count: int) -> list[Entry]:
    entries, at = [], 0
    for _ in range(count):
        if at + CENTRAL.size > len(data):
            raise RefusedError("its zip directory is cut short")
        fields = CENTRAL.unpack_from(data, at)
        mark, _, _, flags, method, _, _, crc, packed, size, named, extra, comment = fields[:13]
        disk, _, attributes, header = fields[13:]
        name = data[at + CENTRAL.size : at + CENTRAL.size + named]
        extras = data[at + CENTRAL.size + named : at + CENTRAL.size + named + extra]
        at += CENTRAL.size + named + extra + comment
        if mark != b"PK\1\2" or disk or comment or at > len(data):
            raise RefusedError("its zip directory is damaged")
        packed, size, header = _widened(extras, size, packed, header)
        _check_kind(name, flags, method, attributes >> 16)
        if packed != size:
            raise RefusedError(f"its zip entry {quoted(name)} has two sizes")
        entries.append(Entry(header, name, flags, size, crc))
    if at != len(data):
        raise RefusedError("its zip directory holds more than its entries")
    return entries


def _widened(extras: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """Packed size, size and header offset, from the zip64 field where 32 bits did not do."""
    wide: list[int] = []
    at = 0
    while at + 4 <= len(extras):
        kind, length = struct.unpack_from("<2H", extras, at)
        if kind == 1 and not wide:
            body = extras[at + 4 : at + 4 + length]
            wide = list(struct.unpack(f"<{len(body) // 8}Q", body[: len(body) // 8 * 8]))
        at += 4 + length
    found = []
    for value in (size, packed, header):
        if value == FULL:
            if not wide:
                raise RefusedError("its zip directory lacks a size of 64 bits")
            value = wide.pop(0)
        found.append(value)
    return found[1], found[0], found[2]


def _check_kind(name: bytes, flags: int, method: int, mode: int) -> None:
    if flags & 1:
        raise RefusedError(f"its zip entry {quoted(name)} is encrypted")
    if method:
        raise RefusedError(
            f"its zip entry {quoted(name)} is compressed (method {method})",
            "PyTorch never writes that: pack it again without compression, or save it in PyTorch",
        )
    if flags & ~0x0808:
        raise RefusedError(f"its zip entry {quoted(name)} has the flags {flags:#06x}")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise RefusedError(f"its zip entry {quoted(name)} is not a regular file", FOREIGN)


def _data(source: Source, entry: Entry) -> int:
    """The offset of an entry's bytes, its local header checked against the directory."""
    fields = LOCAL.unpack(source.read(entry.header, LOCAL.size))
    mark, _, flags, method, _, _, crc, packed, size, named, extra = fields
    if mark != b"PK\3\4" or flags != entry.flags or method or named != len(entry.name):
        raise RefusedError(f"its zip headers of {quoted(entry.name)} disagree")
    if source.read(entry.header + LOCAL.size, named) != entry.name:
        raise RefusedError(
            f"its zip names {quoted(entry.name)} otherwise in another place", FOREIGN
        )
    # Behind a data descriptor the local header says nothing, or a field of 64 bits does.
    described = bool(flags & 8)
    for local, said in ((crc, entry.crc), (packed, entry.size), (size, entry.size)):
        if local != said and not (described and local == 0) and local != FULL:
            raise RefusedError(f"its zip headers of {quoted(entry.name)} disagree")
    offset = entry.header + LOCAL.size + named + extra
    if offset + entry.size > source.size:
        raise RefusedError(f"its zip entry {quoted(entry.name)} reaches over its end")
    return offset


def _checked_name(name: bytes) -> str:
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    steps = text.split("/")
    bad = len(name) > MAX_NAME_BYTES or "\\" in text or "\0" in text or ":" in text[1:2]
    if bad or any(step in ("", ".", "..") for step in steps):
        raise RefusedError(f"its zip has an entry named {quoted(name)}", FOREIGN)
    return text
