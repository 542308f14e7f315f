"""The cache of downloaded files: where it is, and what is checked of a file before it is used.

`NAME.sha256` beside a file says what it was at its first use, and every later use checks that.
"""

import hashlib
import logging
import os
import pathlib
from typing import NamedTuple

from dino_jax.config import UserError
from dino_jax.interop.pth import read_pth

CACHE = "DINO_JAX_CACHE"

log = logging.getLogger("dino_jax")


class Remote(NamedTuple):
    """A published file: its address, and what is known of its contents."""

    url: str
    sha256: str = ""
    """First digits of the checksum, as its publisher gives them; empty: none is published."""
    md5: str = ""
    """First digits as others noted them: a difference is said, not refused."""

    @property
    def name(self) -> str:
        """The file's name, in the cache too."""
        return self.url.rsplit("/", 1)[1]


def cache_folder() -> pathlib.Path:
    """Where files are kept: `$DINO_JAX_CACHE`, else `dino_jax` in the user's cache folder."""
    if own := os.environ.get(CACHE):
        return pathlib.Path(os.path.expanduser(own))
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return pathlib.Path(os.path.expanduser(user)) / "dino_jax"


def check(path: pathlib.Path, remote: Remote, *, known_whole: bool = False) -> None:
    """Check a file of the cache against what is published, and against its first use.

    At its first use it is read through, unless it is `known_whole`; what cannot be is not noted.

    Raises:
        UserError: it is not what it has to be.
    """
    check_contents(path, remote)
    digest = sha256(path)
    check_published(digest, remote)
    record = path.with_name(path.name + ".sha256")
    if record.is_file():
        noted = record.read_text().split()[:1]
        if noted != [digest]:
            raise UserError(
                f"{path} is not what it was at its first use (SHA-256 {digest[:12]}…, then "
                f"{''.join(noted)[:12]}…): remove it and {record.name}, and it is fetched anew"
            )
        return
    if not known_whole:
        check_whole(path, remote)
    _note(record, f"{digest}  {path.name}\n")
    if not remote.sha256:
        log.info(
            "%s: no checksum is published; its SHA-256 %s… is noted beside it and checked from "
            "now on", path.name, digest[:12],
        )  # fmt: skip
    if remote.md5 and not _md5(path).startswith(remote.md5):
        log.warning(
            "%s: its MD5 does not begin with %s, as others noted; compare it with another copy",
            path.name, remote.md5,
        )  # fmt: skip


def check_contents(path: pathlib.Path, remote: Remote) -> None:
    """Refuse what is no `.pth` at a glance."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(512)
        file.seek(max(0, size - (1 << 16) - 22))  # where a zip's last record may begin
        end = file.read()
    if start.lstrip()[:1] == b"<":
        raise UserError(page(f"{remote.name} from {remote.url}"))
    zipped = start.startswith(b"PK\x03\x04")
    if (zipped and b"PK\x05\x06" not in end) or not (zipped or start.startswith(b"\x80")):
        what = "is cut short" if zipped or not size else "is no .pth file"
        raise UserError(f"{remote.name} {what} ({size} bytes at {path}): {_again(remote)}")


def check_whole(path: pathlib.Path, remote: Remote) -> None:
    """Refuse what does not read as a `.pth`, all of it; only a zip has a checksum of its bytes."""
    try:
        read_pth(path)
    except UserError as error:
        raise UserError(
            f"{remote.name} does not read as a .pth file ({error}): {_again(remote)}"
        ) from error


def check_published(digest: str, remote: Remote) -> None:
    """Refuse another checksum than the published one, as far as there is one."""
    if not digest.startswith(remote.sha256):
        raise UserError(
            f"{remote.name} has the SHA-256 {digest[:12]}… and its publisher says "
            f"{remote.sha256}…: {_again(remote)}"
        )


def _again(remote: Remote) -> str:
    return f"it is not used; remove it if it is still there, and download {remote.url} again"


def _note(record: pathlib.Path, text: str) -> None:
    own = record.with_name(f"{record.name}.{os.getpid()}")
    try:
        own.write_text(text)
        own.replace(record)
    except OSError as error:  # a cache that others keep
        log.warning("cannot note the checksum in %s (%s)", record, error.strerror)


def sha256(path: pathlib.Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _md5(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        weak = hashlib.md5(usedforsecurity=False)
        return hashlib.file_digest(file, lambda: weak).hexdigest()


def page(what: str) -> str:
    """The message about a page of HTML where weights were expected."""
    return (
        f"{what} is a web page and no weights: does this network want a login, or is the address "
        "out of date?"
    )
