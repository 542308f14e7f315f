"""Zips that two readers understand differently, or that are none (formats.md 6.8, 66 to 80)."""

import dataclasses
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

from tests.interop.pth.build import Entry, archive, entries, pickle, pth, tensor
from tests.interop.pth.hostile import Case

RIGHT = pickle(tensor())
TENSOR = 2
"""The place of the tensor's bytes among the entries."""


def changed(place: int = TENSOR, **fields: Any) -> bytes:
    """The right zip with one entry otherwise."""
    held = entries(RIGHT)
    held[place] = dataclasses.replace(held[place], **fields)
    return archive(held)


def beside(*more: Entry, **options: Any) -> bytes:
    """The right zip with more entries."""
    return archive([*entries(RIGHT), *more], **options)


def _compressed() -> Iterator[Case]:
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as made:
            for entry in entries(RIGHT):
                made.writestr(str(entry.name), entry.data + b"\0" * 1_000_000)
        yield Case(
            66 if method == 8 else 67, "bomb", file.getvalue(), f"compressed .method {method}"
        )
    for method in (1, 9, 14, 93, 95, 99):
        yield Case(67, "method", changed(method=method), f"compressed .method {method}")
    for flags, said in ((1, "encrypted"), (0x41, "encrypted"), (0x20, "flags"), (0x2000, "flags")):
        yield Case(67, "flags", changed(flags=flags), said)


def _layouts() -> Iterator[Case]:
    yield Case(68, "same-header", changed(header=0), "overlap|disagree|another place")
    quoting = [Entry(f"w/data/{i}", b"", header=0) for i in range(1, 100)]
    yield Case(68, "quoting", beside(*quoting), "overlap|disagree|otherwise")
    yield Case(68, "larger", changed(size=200), "overlap|disagree")
    yield Case(68, "gap", changed(hidden=b"hidden bytes that no one reads"), "gap")
    yield Case(68, "end-gap", archive(entries(RIGHT), gap=b"hidden"), "reach to its directory")
    yield Case(69, "pickle", beside(Entry("w/data.pkl", pickle(b"N"))), "two entries")
    yield Case(69, "tensor", beside(Entry("w/data/0", b"x")), "two entries")
    yield Case(70, "roots", beside(Entry("v/data.pkl", RIGHT)), "2 folders")
    yield Case(
        70, "no-root", archive([Entry("data.pkl", RIGHT), Entry("version", b"3")]), "folders"
    )
    yield Case(70, "one-bare", archive([Entry("data.pkl", RIGHT)]), "no data.pkl")
    for bad in (
        *("/w/x", "w/../x", "../x", "w//x", "w/./x", "w\\x", "C:/x", "w/x/", "w/\0", ""),
        "w/" + "x" * 60_000,
        b"w/\xff\xfe",
    ):
        yield Case(71, "name", beside(Entry(bad, b"")), "an entry named|folders")
    for other in (b"w/data/O", b"W/data/0", "w/dàta/0".encode()[:8], b"w/data/00", b""):
        yield Case(72, "local-name", changed(local_name=other), "otherwise|disagree|overlap")
    yield Case(73, "local-size", changed(local_size=23), "disagree")
    yield Case(73, "both-sizes", changed(size=23), "overlap|gap|disagree")
    yield Case(74, "tensor", changed(crc=1), "checksum")
    yield Case(74, "pickle", changed(0, crc=1), "checksum")
    yield Case(74, "described", changed(flags=8, crc=1), "checksum")
    flipped = bytearray(archive(entries(RIGHT)))
    flipped[flipped.index(entries(RIGHT)[TENSOR].data) + 5] ^= 1
    yield Case(74, "flip", bytes(flipped), "checksum")


def _ends() -> Iterator[Case]:
    right = entries(RIGHT)
    size = len(archive(right))
    for end in (
        {"begin": size + 1},
        {"begin": 2**32 - 1},
        {"begin": 0},
        {"begin": 40},
        {"size": 2**32 - 1},
        {"size": 0},
        {"count": 65535, "here": 65535},
        {"count": 5, "here": 5},
        {"count": 3, "here": 3},
        {"count": 0, "here": 0},
    ):
        yield Case(
            75, str(end), archive(right, end=end), "director|claims|cut short|64 bits|folders"
        )
    for end in ({"disk": 1}, {"first": 1}, {"here": 3}, {"disk": 65535, "first": 65535}):
        yield Case(80, str(end), archive(right, end=end), "several zip files")
    directory = len(archive(right)) - 22
    for record in (
        struct.pack("<4sIQI", b"PK\6\7", 0, 2**63, 1),
        struct.pack("<4sIQI", b"PK\6\7", 0, directory, 1),
        struct.pack("<4sIQI", b"PK\6\7", 1, 0, 1),
        b"\0" * 56 + struct.pack("<4sIQI", b"PK\6\7", 0, directory, 1),
        _end64(0, count=2**60) + struct.pack("<4sIQI", b"PK\6\7", 0, directory, 1),
        _end64(2**63, count=4) + struct.pack("<4sIQI", b"PK\6\7", 0, directory, 1),
        _end64(0, count=4, disk=2) + struct.pack("<4sIQI", b"PK\6\7", 0, directory, 1),
    ):
        yield Case(75, "zip64", archive(right, tail=record), "end records|director|cut short")
    wide = struct.pack("<2HQ", 1, 8, 2**63)
    yield Case(75, "entry64", changed(size=2**32 - 1, central_extra=wide), "64 bits|disagree")
    yield Case(
        75,
        "entry64-both",
        changed(size=2**32 - 1, central_extra=wide[:2] + b"\x10\0" + wide[4:] * 2),
        "overlap|reaches|disagree|early",
    )
    yield Case(76, "prefix", archive(right, prefix=b"MZ" + b"\0" * 60), "program")
    yield Case(76, "gif", archive(right, prefix=b"GIF89a;"), "begins with")
    hidden = archive(right)
    yield Case(76, "zip-before-zip", archive(right, prefix=hidden), "gap|overlap")
    yield Case(76, "behind", archive(right) + b"behind", "behind its end")
    yield Case(76, "comment", archive(right, comment=archive(right)), "director")
    yield Case(76, "comment-short", archive(right, comment=b"c"), "behind its end")
    for part in range(16):
        cut = size * part // 16
        yield Case(77, f"{part}/16", archive(right)[:cut], "cut short|empty|begins with|director")
    for attributes in (0o120777, 0o040755, 0o010644, 0o060644):
        yield Case(78, oct(attributes), changed(attributes=attributes << 16), "not a regular file")
    yield Case(78, "folder", beside(Entry("w/folder/", b"")), "an entry named")


def _end64(begin: int, *, count: int, disk: int = 0) -> bytes:
    return struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, disk, 0, count, count, 1, begin)


def _contents() -> Iterator[Case]:
    yield Case(79, "empty-pickle", changed(0, data=b""), "ends too early")
    yield Case(79, "no-pickle", archive(entries(RIGHT)[1:]), "no data.pkl")
    yield Case(79, "no-version", archive(entries(RIGHT)[:-1]), "no version")
    yield Case(79, "no-entries", archive([]), "empty zip")
    yield Case(79, "constants", beside(Entry("w/constants.pkl", b"\x80\x02).")), "TorchScript")
    code = Entry("w/code/__torch__.py", b"import os")
    yield Case(79, "code", beside(code), "TorchScript")
    yield Case(79, "spreadsheet", archive([Entry("xl/workbook.xml", b"<x/>")]), "no data.pkl")
    yield Case(79, "wrapped", archive([Entry("w/w.pth", archive(entries(RIGHT)))]), "no data.pkl")


def _legible() -> Iterator[Case]:
    """Large claims of a small file, which must not be believed."""
    huge = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65535, 65535, 2**32 - 1, 0, 0)
    yield Case(75, "claims", b"PK\3\4" + huge, "director|claims")
    noise = random.Random(0).randbytes(4096)
    yield Case(75, "noise", b"PK\3\4" + noise, "cut short")
    yield Case(66, "zlib", zlib.compress(pth(tensor())), "begins with")


def cases() -> Iterator[Case]:
    """Every row."""
    for rows in (_compressed, _layouts, _ends, _contents, _legible):
        yield from rows()
