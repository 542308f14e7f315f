"""`.pth` files put together by hand, with every part free to be wrong."""

import dataclasses
import struct
import zlib
from collections.abc import Mapping, Sequence

from dino_jax.interop.pth.write import scalar

V2 = b"ctorch._utils\n_rebuild_tensor_v2\n"
ORDERED = b"ccollections\nOrderedDict\n)R"
NAMESPACE = b"cargparse\nNamespace\n"
VALUES = struct.pack("<6f", *range(6))
"""The bytes of the storage "0", of six floats, that `pth` puts into a file."""


def name(module: str, attribute: str) -> bytes:
    """GLOBAL."""
    return f"c{module}\n{attribute}\n".encode()


def stack_name(module: str, attribute: str) -> bytes:
    """STACK_GLOBAL."""
    return scalar(module) + scalar(attribute) + b"\x93"


def group(*parts: bytes) -> bytes:
    """A tuple."""
    return b"(" + b"".join(parts) + b"t"


def call(function: bytes, *arguments: bytes) -> bytes:
    """REDUCE."""
    return function + group(*arguments) + b"R"


def numbers(*values: object) -> bytes:
    """A tuple of plain values."""
    return group(*map(scalar, values))


def storage(
    key: object = "0", count: object = 6, *, kind: str = "torch FloatStorage", view: bytes = b""
) -> bytes:
    """A storage by its persistent id; `view` is the sixth part of older files."""
    parts = (scalar("storage"), name(*kind.split()), scalar(key), scalar("cpu"), scalar(count))
    return group(*parts, *([view] if view else [])) + b"Q"


def tensor(
    size: Sequence[object] = (6,),
    stride: Sequence[object] = (1,),
    offset: object = 0,
    *,
    held: bytes | None = None,
) -> bytes:
    """A tensor of the storage `held`."""
    held = storage() if held is None else held
    rest = (scalar(offset), numbers(*size), numbers(*stride), scalar(False), ORDERED)
    return call(V2, held, *rest)


def pickle(body: bytes) -> bytes:
    """A pickle of protocol 2."""
    return b"\x80\x02" + body + b"."


@dataclasses.dataclass
class Entry:
    """One file of a zip; what is None is what it should be."""

    name: str | bytes
    data: bytes
    method: int = 0
    flags: int = 0
    crc: int | None = None
    size: int | None = None
    local_name: bytes | None = None
    local_size: int | None = None
    header: int | None = None
    attributes: int = 0
    extra: bytes = b""
    central_extra: bytes = b""
    hidden: bytes = b""
    """Bytes behind the data that no header mentions."""


def archive(
    entries: Sequence[Entry],
    *,
    prefix: bytes = b"",
    gap: bytes = b"",
    end: Mapping[str, int] | None = None,
    tail: bytes = b"",
    comment: bytes = b"",
) -> bytes:
    """A zip; `end` replaces numbers of the end record, `tail` stands before that record."""
    data, directory = bytearray(prefix), bytearray()
    for entry in entries:
        known = entry.name if isinstance(entry.name, bytes) else entry.name.encode()
        header = len(data) if entry.header is None else entry.header
        size = len(entry.data) if entry.size is None else entry.size
        local = size if entry.local_size is None else entry.local_size
        crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
        there = known if entry.local_name is None else entry.local_name
        how = (entry.flags, entry.method, 0, 33, crc)
        numbers = (*how, local, local, len(there), len(entry.extra))
        data += struct.pack("<4sH4H3I2H", b"PK\3\4", 20, *numbers) + there + entry.extra
        data += entry.data + entry.hidden
        lengths = (len(known), len(entry.central_extra), 0, 0, 0, entry.attributes, header)
        directory += struct.pack("<4s2H4H3I5H2I", b"PK\1\2", 20, 20, *how, size, size, *lengths)
        directory += known + entry.central_extra
    data += gap
    fields = {"disk": 0, "first": 0, "here": len(entries), "count": len(entries)}
    fields |= {"size": len(directory), "begin": len(data), "comment": len(comment)} | dict(
        end or {}
    )
    return bytes(
        data + directory + tail + struct.pack("<4s4H2IH", b"PK\5\6", *fields.values()) + comment
    )


def entries(
    data: bytes, storages: Mapping[str, bytes] | None = None, root: str = "w"
) -> list[Entry]:
    """What a file of torch holds, around the pickle `data`."""
    storages = {"0": VALUES} if storages is None else storages
    return [
        Entry(f"{root}/data.pkl", data),
        Entry(f"{root}/byteorder", b"little"),
        *(Entry(f"{root}/data/{key}", held) for key, held in storages.items()),
        Entry(f"{root}/version", b"3\n"),
    ]


def pth(body: bytes, storages: Mapping[str, bytes] | None = None) -> bytes:
    """A right zip around the pickle of `body`."""
    return archive(entries(pickle(body), storages))


MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"
SYSTEM = b"}(" + scalar("protocol_version") + scalar(1001) + scalar("little_endian") + b"\x88u"


def legacy(
    body: bytes,
    keys: bytes = b"](" + scalar("0") + b"e",
    storages: bytes = struct.pack("<q", 6) + VALUES,
    *,
    magic: bytes = MAGIC,
    protocol: bytes = scalar(1001),
    system: bytes = SYSTEM,
) -> bytes:
    """A file of the older format."""
    return b"".join(map(pickle, (magic, protocol, system, body, keys))) + storages


def old_tensor(view: bytes = b"N", **options: object) -> bytes:
    """A tensor as the older format refers to it, with six parts."""
    return tensor(held=storage(view=view), **options)  # type: ignore[arg-type]
