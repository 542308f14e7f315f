"""The bytes of a file, read where they are asked for; always as many as were asked for."""

import os
import pathlib
import stat
from types import TracebackType

from dino_jax.interop.pth.checksum import Checksum
from dino_jax.interop.pth.limits import RefusedError

CHUNK = 1 << 18
"""Bytes read at once: the checksum is then taken of what still lies in the processor's cache."""


class Source:
    """A regular file, open for reading. Its size is taken once; a shorter read is refused."""

    def __init__(self, path: pathlib.Path) -> None:
        """Open `path`; OSError where the system does not, RefusedError for no regular file."""
        # A named pipe without a writer would block; a terminal must not become ours.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
        self._descriptor = os.open(path, flags)
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(self._descriptor)
            raise RefusedError("it is not a regular file", "give the .pth file itself")
        self.size = found.st_size

    def __enter__(self) -> "Source":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def read(self, offset: int, size: int) -> bytes:
        """The `size` bytes from `offset`.

        Raises:
            RefusedError: they reach over the file's end.
        """
        if offset < 0 or size < 0 or offset + size > self.size:
            raise RefusedError("it ends too early")
        data = os.pread(self._descriptor, size, offset)
        while len(data) < size:
            more = os.pread(self._descriptor, size - len(data), offset + len(data))
            if not more:
                raise RefusedError("it became shorter while it was read", "read it again")
            data += more
        return data

    def fill(self, target: memoryview, offset: int, crc: int | None) -> None:
        """Read into all of `target`, bytes, from `offset`, and check their CRC-32 unless None.

        Raises:
            RefusedError: the bytes reach over the file's end, or have another checksum.
        """
        if offset < 0 or offset + len(target) > self.size:
            raise RefusedError("it ends too early")
        found = Checksum(len(target))
        for begin in range(0, len(target), CHUNK):
            part = target[begin : begin + CHUNK]
            self._fill(part, offset + begin)
            if crc is not None:
                found.update(part)
        if crc is not None and found.value != crc:
            raise RefusedError("the checksum of a tensor's bytes is wrong (CRC-32)")

    def _fill(self, part: memoryview, offset: int) -> None:
        done = 0
        while done < len(part):
            count = os.preadv(self._descriptor, [part[done:]], offset + done)
            if not count:
                raise RefusedError("it became shorter while it was read", "read it again")
            done += count
