"""Files from the network into a cache: resumed, checked, and never seen half-written.

The only file that opens a connection. A download goes into `NAME.part`, which is locked, so that a
second process waits for the first, and which a later call goes on with where the server can send
the rest of the very same file; it is renamed when it is whole and checked.
"""

import contextlib
import errno
import http.client
import io
import logging
import os
import pathlib
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from tqdm import tqdm

from dino_jax.config import UserError
from dino_jax.interop.cached import (
    CACHE,
    Remote,
    cache_folder,
    check,
    check_contents,
    check_published,
    check_whole,
    page,
    sha256,
)

try:
    import fcntl
except ImportError:  # not on Windows, where two downloads at once are not told apart
    fcntl = None  # type: ignore[assignment]

OFFLINE = "DINO_JAX_OFFLINE"
MOST = 8_000_000_000
"""Bytes of a file at most; a full checkpoint of ViT-B has about 1.7 GB by its tensors."""
_CHUNK = 1 << 20
_LATER = (408, 429, 500, 502, 503, 504)
"""Answers of a server that may well be another a moment later."""

log = logging.getLogger("dino_jax")


class Patience(NamedTuple):
    """How long a download waits, in seconds, and how often it begins again."""

    timeout: float = 30.0
    attempts: int = 4
    pause: float = 1.0


PATIENT = Patience()


def fetch(remote: Remote, *, offline: bool = False, patience: Patience = PATIENT) -> pathlib.Path:
    """The file in the cache, downloaded where it is not there yet, and checked.

    A file put there by hand is used as if it had been downloaded. With `offline`, or
    `DINO_JAX_OFFLINE=1`, nothing is downloaded.

    Raises:
        UserError: it cannot be had, or is not what it was or has to be.
    """
    path, fresh = cache_folder() / remote.name, False
    offline = offline or os.environ.get(OFFLINE, "") not in ("", "0")
    with _in_one_line(path, remote):
        if not path.is_file():
            if offline:
                raise UserError(
                    f"{remote.name} is not there and this run is offline: {_hand(path, remote)}"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            _download(remote, path, patience)
            fresh = True
        check(path, remote, known_whole=fresh)
    return path


def _hand(path: pathlib.Path, remote: Remote) -> str:
    return f"download {remote.url} elsewhere and put it at {path}"


@contextlib.contextmanager
def _in_one_line(path: pathlib.Path, remote: Remote) -> Iterator[None]:
    """Whatever the disk or the network says, as one line."""
    try:
        yield
    except UserError:
        raise
    except urllib.error.HTTPError as error:
        error.close()
        reason = f"the server answered {error.code} {error.reason}"
        raise UserError(f"cannot download {remote.url}: {reason}; {_hand(path, remote)}") from error
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        ConnectionError,
        TimeoutError,
    ) as error:
        inner = getattr(error, "reason", None) or error
        text = " ".join(str(inner).split()) or type(error).__name__
        raise UserError(f"cannot download {remote.url} ({text}); {_hand(path, remote)}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"no space left in {path.parent} for {remote.name}: make some, or name another "
                f"folder by {CACHE}; the download goes on where it stopped"
            ) from error
        raise UserError(
            f"cannot keep {remote.name} in {path.parent} ({error.strerror or error}): name another "
            f"folder by {CACHE}"
        ) from error


def _download(remote: Remote, path: pathlib.Path, patience: Patience) -> None:
    """Fill `path` by way of its `.part`; whoever comes second waits for the first."""
    part = path.with_name(path.name + ".part")
    with _locked(part) as file:
        if path.is_file():  # the other process has finished it
            return
        for attempt in range(patience.attempts):
            try:
                _receive(remote, part, file, patience.timeout)
                break
            except (OSError, http.client.HTTPException) as error:
                if attempt + 1 == patience.attempts or not _passing(error):
                    raise
                if isinstance(error, urllib.error.HTTPError):
                    error.close()
                log.info("%s: %s; going on where it stopped", remote.name, error)
                time.sleep(patience.pause * 2**attempt)
        file.flush()
        os.fsync(file.fileno())
        try:
            check_contents(part, remote)
            if remote.sha256:
                check_published(sha256(part), remote)
            check_whole(part, remote)
        except UserError:
            part.unlink()
            _tag(part).unlink(missing_ok=True)
            raise
        part.replace(path)
        _tag(part).unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(part: pathlib.Path) -> Iterator[IO[bytes]]:
    """The part, open for going on with, and held by this process alone."""
    while True:
        with open(part, "ab") as file:
            if fcntl is not None:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    log.info("waiting for another process that downloads %s", part.stem)
                    fcntl.flock(file, fcntl.LOCK_EX)
            final = part.with_suffix("")
            if not (final.is_file() or _is_still(file, part)):
                continue  # it was renamed or removed while this one waited
            try:
                yield file
            finally:
                file.flush()
                if _is_still(file, part) and (final.is_file() or part.stat().st_size == 0):
                    part.unlink()
            return


def _is_still(file: IO[bytes], part: pathlib.Path) -> bool:
    """Whether the open file is the one of that name: the process before may have renamed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), part.stat())
    except FileNotFoundError:
        return False


def _passing(error: Exception) -> bool:
    """Whether another attempt may do better: not after a 404, a bad certificate, a full disk."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in _LATER
    if isinstance(error, urllib.error.URLError):
        return isinstance(error.reason, ConnectionError | TimeoutError)
    return isinstance(error, ConnectionError | TimeoutError | http.client.HTTPException)


class _OnlyToHttps(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only where nobody can change what comes."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.startswith("https://"):
            fp.close()
            raise UserError(
                f"{req.full_url} redirects to {newurl[:200]!r}, which is not https: refused"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _tag(part: pathlib.Path) -> pathlib.Path:
    return part.with_name(part.name + ".tag")


def _receive(remote: Remote, part: pathlib.Path, file: IO[bytes], timeout: float) -> None:
    """Append what is missing to the part, or begin anew where the server sends all of it."""
    held = file.seek(0, io.SEEK_END)
    tag = _tag(part).read_text() if held and _tag(part).is_file() else ""
    request = urllib.request.Request(remote.url, headers={"User-Agent": "dino_jax"})
    if tag:  # without it nobody can say that the rest is of the same file
        request.add_header("Range", f"bytes={held}-")
        request.add_header("If-Range", tag)
    opener = urllib.request.build_opener(_OnlyToHttps)
    try:
        response = opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not tag:
            raise
        error.close()
        _tag(part).unlink(missing_ok=True)
        raise ConnectionResetError("the server does not know the part held") from error
    with response:
        _refuse_apage(response, remote)
        if response.status == 206 and not (tag and _starts_at(response, held)):
            _tag(part).unlink(missing_ok=True)
            raise ConnectionResetError("the server sent a part that was not asked for")
        if response.status != 206:
            file.truncate(0)
            held = file.seek(0)
            _tag(part).write_text(_validator(response))
        total = _total(response, held)
        _check_space(part, held, total, remote)
        try:
            _refuse_more(total or 0, remote)
            _copy(response, file, held, total, remote)
        except UserError:
            file.truncate(0)  # an empty part is removed
            _tag(part).unlink(missing_ok=True)
            raise


def _total(response: Any, held: int) -> int | None:
    """Bytes of the whole file, None where the server does not say."""
    length = response.headers.get("Content-Length", "")
    whole = response.headers.get("Content-Range", "").rpartition("/")[2]
    if response.status == 206 and whole.isdigit():
        return int(whole)
    return held + int(length) if length.isdigit() else None


def _refuse_more(held: int, remote: Remote) -> None:
    if held > MOST:
        raise UserError(f"{remote.url} sends more than {MOST / 1e9:g} GB: none of ours does")


def _starts_at(response: Any, held: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {held}-")


def _validator(response: Any) -> str:
    """What identifies the very file for `If-Range`: a strong tag, else its date, else nothing."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _refuse_apage(response: Any, remote: Remote) -> None:
    if response.headers.get_content_type() == "text/html":
        raise UserError(page(remote.url))


def _check_space(part: pathlib.Path, held: int, total: int | None, remote: Remote) -> None:
    if total is None:
        log.info("downloading %s", remote.url)
        return
    log.info("downloading %s (%.1f MB)", remote.url, (total - held) / 1e6)
    if shutil.disk_usage(part.parent).free < total - held:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _copy(response: Any, file: IO[bytes], held: int, total: int | None, remote: Remote) -> None:
    with tqdm(
        desc=remote.name, total=total, initial=held, unit="B", unit_scale=True, disable=None
    ) as bar:
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            held += len(chunk)
            _refuse_more(held, remote)
            bar.update(len(chunk))
    if total is not None and held < total:  # http.client takes an early end for the end
        raise ConnectionResetError(f"the connection ended after {held} of {total} bytes")
