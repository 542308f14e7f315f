"""One process at a time writes into a working directory."""

import contextlib
import errno
import fcntl
import os
import pathlib
from collections.abc import Iterator

from dino_jax.config import UserError


@contextlib.contextmanager
def claimed(workdir: pathlib.Path) -> Iterator[None]:
    """Keep other runs out of the folder `workdir` until the block or the process ends.

    The lock lies on the folder itself and leaves no file behind, however the process ends.

    Raises:
        UserError: another process holds it.
    """
    folder = os.open(workdir, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise UserError(
                    f"another process is training in {workdir}: wait for its end or choose "
                    "another --workdir"
                ) from error
            # Some network file systems have no locks: then nobody is kept out.
        yield
    finally:
        os.close(folder)
