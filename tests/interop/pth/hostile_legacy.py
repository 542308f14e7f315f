"""Older files that lie, and files that are something else (formats.md 6.8, 81 to 86)."""

import gzip
import io
import struct
import tarfile
from collections.abc import Iterator

from dino_jax.interop.pth.write import scalar
from tests.interop.pth.build import (
    VALUES,
    call,
    legacy,
    name,
    numbers,
    old_tensor,
    pickle,
    storage,
    tensor,
)
from tests.interop.pth.hostile import Case


def listed(*keys: object) -> bytes:
    """The fifth pickle."""
    return b"](" + b"".join(map(scalar, keys)) + b"e"


def _storages() -> Iterator[Case]:
    for count in (5, 7, -1, 2**62, -(2**63)):
        data = struct.pack("<q", count) + VALUES
        yield Case(81, str(count), legacy(old_tensor(), storages=data), "elements where")
    huge = tensor(held=storage(count=2**40, view=b"N"))
    yield Case(81, "claim", legacy(huge), "claims")
    yield Case(81, "short", legacy(old_tensor(), storages=b"\6"), "too early")
    right = struct.pack("<q", 6) + VALUES
    yield Case(81, "shorter", legacy(old_tensor(), storages=right[:-1]), "storages end|too early")
    yield Case(81, "none", legacy(old_tensor(), storages=b""), "too early")
    yield Case(81, "longer", legacy(old_tensor(), storages=right + b"x"), "storages end")
    for keys in ((), ("1",), ("0", "1"), ("0", "0"), (0,), (None,)):
        yield Case(82, str(keys), legacy(old_tensor(), listed(*keys)), "list of storages")
    for keys_ in (b"N", b"}", numbers("0"), b"]]a", scalar("0")):
        yield Case(82, "kind", legacy(old_tensor(), keys_), "list of storages")
    for view in (
        *(numbers("v", -1, 3), numbers("v", 0, 7), numbers("v", 6, 1), numbers("v", 2**62, 2**62)),
        *(numbers("v", 0), numbers(0, 0, 6), numbers("v", "0", 6), scalar("v"), b"]", b"}"),
    ):
        yield Case(84, "view", legacy(old_tensor(view)), "part of a storage")
    self_reference = legacy(tensor(held=storage(view=b"(]q\0h\0a" + numbers(0) + b"t")))
    yield Case(84, "self", self_reference, "part of a storage")
    smaller = old_tensor(numbers("v", 1, 4))
    yield Case(84, "view-end", legacy(smaller), "over the end")


def _heads() -> Iterator[Case]:
    right = legacy(old_tensor())
    for magic in (scalar(0x1950A86A20F9469CFC6D), b"N", b"\x8a\x0b" + b"\1" * 11, b"]"):
        yield Case(83, "magic", legacy(old_tensor(), magic=magic), "not one of torch.save")
    yield Case(83, "magic-length", legacy(old_tensor(), magic=b"\x8a\x20" + b"\1" * 32), "32 bytes")
    for protocol in (scalar(1000), scalar(1002), b"N", scalar("1001"), scalar(1001.5)):
        yield Case(83, "protocol", legacy(old_tensor(), protocol=protocol), "protocol is not 1001")
    for system in (b"N", b"]", b"}", b"}" + scalar("little_endian") + b"\x89s", scalar(1)):
        yield Case(83, "system", legacy(old_tensor(), system=system), "little-endian")
    yield Case(83, "system-code", legacy(old_tensor(), system=call(name("os", "getcwd"))), "asks")
    yield Case(83, "keys-code", legacy(old_tensor(), call(name("os", "getcwd"))), "asks for")
    for part in range(1, 16):
        yield Case(77, f"old-{part}/16", right[: len(right) * part // 16], "early|storages end")
    yield Case(83, "a-pickle", pickle(b"}" + scalar("state_dict") + b"}s"), "not one of torch.save")


def _others() -> Iterator[Case]:
    for member in ("storages", "../../storages", "/etc/cron.d/x"):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for part in (member, "tensors", "pickle"):
                tar.addfile(tarfile.TarInfo(part), io.BytesIO())
        yield Case(85, member, file.getvalue(), "tar checkpoint")
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    for label, data, said in (
        ("empty", b"", "empty"),
        ("gzip", gzip.compress(legacy(old_tensor())), "gzip"),
        ("7z", b"7z\xbc\xaf\x27\x1c\0\4", "7z"),
        ("ELF", b"\x7fELF\2\1\1" + b"\0" * 57, "a program"),
        ("HTML", b"<!DOCTYPE html><title>404</title>", "web page"),
        ("XML", b"<?xml version='1.0'?><Error/>", "web page"),
        ("LFS", pointer, "Git LFS"),
        ("text", b"Not Found", "begins with b'Not Found'"),
        ("numpy", b"\x93NUMPY\1\0", "numpy"),
        ("safetensors", struct.pack("<Q", 20) + b'{"a":{}}', "safetensors"),
        ("zeros", bytes(4096), "begins with"),
        ("protocol-0", b"cos\nsystem\n(S'true'\ntR.", "begins with"),
        ("0x80", b"\x80", "ends too early"),
    ):
        yield Case(86, label, data, said)


def cases() -> Iterator[Case]:
    """Every row."""
    for rows in (_storages, _heads, _others):
        yield from rows()
