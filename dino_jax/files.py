"""Folders that one process at a time writes into, and files that are whole or not there."""

import contextlib
import errno
import fcntl
import os
import pathlib
import tempfile
from collections.abc import Iterator

from dino_jax.config import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Of writing, whatever file the error names, or none."""


class UnwritableError(OSError, UserError):
    """A file cannot be written: the system's error, as one line for the user."""

    def __str__(self) -> str:
        """What cannot be written, and why."""
        reason = "it is a folder" if self.errno == errno.EISDIR else self.strerror
        return f"{self.filename} cannot be written ({reason}): write elsewhere, or make room there"


def made(folder: pathlib.Path, *, flag: str = "--out", instead: str = "another") -> pathlib.Path:
    """Make a folder, with those above it, and see that it can be written into.

    Raises:
        UserError: it cannot; `instead` says what to name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror
        raise UserError(
            f"{flag}={folder} cannot be written into ({reason}): name {instead}"
        ) from error


@contextlib.contextmanager
def claimed(folder: pathlib.Path, *, flag: str = "--out") -> Iterator[None]:
    """Keep other processes out of a folder, which exists, until the block or the process ends.

    The lock lies on the folder itself and leaves no file behind, however the process ends.

    Raises:
        UserError: another process holds it.
    """
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise UserError(
                    f"another process is writing into {folder}: wait for its end or choose "
                    f"another {flag}"
                ) from error
            # Some network file systems have no locks: then nobody is kept out.
        yield
    finally:
        os.close(held)


@contextlib.contextmanager
def writing(path: pathlib.Path, *parts: pathlib.Path) -> Iterator[None]:
    """Around what writes `path`, or `parts` that become it: the system's refusal is one line.

    Errors about other files, which the block may read, go on as they are.

    Raises:
        UnwritableError: the disk is full, or one of these paths cannot be written.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, UnwritableError) or error.errno is None:
            raise
        ours = str(error.filename) in map(str, (path, *parts))
        if not ours and error.errno not in _FULL:
            raise
        raise UnwritableError(error.errno, error.strerror, str(path)) from error


@contextlib.contextmanager
def whole(path: pathlib.Path, *, mark: str | None = None) -> Iterator[pathlib.Path]:
    """Yield where to write a file that then takes the name `path`, on the disk with all it holds.

    If the block fails there is nothing new, and a file of before is as it was. The other name ends
    as `path` does, for writers that look at it, after a `mark`: the process's number, or a word
    where no other process writes, so that what a killed one left is written over.

    Raises:
        UnwritableError: the disk is full, `path` is a folder, or its own folder is gone.
    """
    unfinished = path.with_name(f"{path.stem}.{mark or os.getpid()}{path.suffix}")
    try:
        with writing(path, unfinished):
            yield unfinished
            with open(unfinished, "rb") as file:
                os.fsync(file.fileno())
            unfinished.replace(path)
    finally:
        with contextlib.suppress(OSError):  # what went wrong before is said, not this
            unfinished.unlink(missing_ok=True)
