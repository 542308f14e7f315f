"""`tar:PATH`: images inside a tar archive, read in any order without unpacking it."""

import lzma
import os
import tarfile
import threading
import zlib
from typing import Any

from dino_jax.config import UserError
from dino_jax.data.decode import is_image_name
from dino_jax.data.source import FileSource, only_images

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_MEMORY_LIMIT = 4 << 30
_SHOWN = 5


class TarSource(FileSource):
    """Images of one archive; the class is the name of the folder they lie in.

    A plain `.tar` is indexed once and read by offset. A compressed one has no random access, so
    its image files, still encoded, are held in memory (at most 4 GiB).
    """

    def __init__(self, spec: str, path: str, channels: int) -> None:
        """Index the archive; a folder inside it may follow its path, as in `photos.tgz/train`.

        Raises `UserError` if it is missing, no archive, or has no such folder, or no images there.
        """
        self._archive, inner = _split(os.path.abspath(os.path.expanduser(path)))
        if not os.path.isfile(self._archive):
            raise UserError(f"there is no file {path}; give tar:PATH with PATH a tar archive")
        try:
            places, contents = _index(self._archive, inner)
        except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
            raise UserError(
                f"{self._archive} cannot be read as a tar archive ({reason}); expected one of "
                f"{', '.join(SUFFIXES)}"
            ) from error
        super().__init__(spec, only_images(list(places), f"archive {path}"), channels)
        self._places = [places[name] for name in self._paths]
        self._contents = [contents[name] for name in self._paths] if contents else None
        self._written = os.stat(self._archive).st_mtime_ns
        self._lock = threading.Lock()
        self._descriptor: int | None = None

    def read(self, index: int) -> bytes:
        """The content of one member; raises OSError if the archive has gone."""
        if self._contents is not None:
            return self._contents[index]
        offset, size = self._places[index]
        with self._lock:
            if self._descriptor is None:
                self._descriptor = os.open(self._archive, os.O_RDONLY)
        return os.pread(self._descriptor, size, offset)

    def _stamp(self, index: int) -> object:
        return self._places[index], self._written

    def __getstate__(self) -> dict[str, Any]:
        """A copy for a worker opens the archive for itself."""
        return {**self.__dict__, "_descriptor": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Give the copy its own lock."""
        self.__dict__.update(state, _lock=threading.Lock())

    def __del__(self) -> None:
        """Close the archive."""
        if getattr(self, "_descriptor", None) is not None:
            os.close(self._descriptor)  # type: ignore[arg-type]


def is_archive_path(path: str) -> bool:
    """Whether a path names a tar archive by its suffix, or a folder inside one."""
    return any(part.endswith(SUFFIXES) for part in path.lower().replace(os.sep, "/").split("/"))


def _split(path: str) -> tuple[str, str]:
    """The archive, and the folder inside it ("" for all of it)."""
    inner: list[str] = []
    archive = path
    while not os.path.exists(archive) and os.path.dirname(archive) != archive:
        archive, name = os.path.split(archive)
        inner.insert(0, name)
    return archive, "/".join(inner)


def _index(path: str, inner: str) -> tuple[dict[str, tuple[int, int]], dict[str, bytes]]:
    """Offset and size of the files in the folder `inner`; the images' contents if compressed."""
    places: dict[str, tuple[int, int]] = {}
    contents: dict[str, bytes] = {}
    plain = _is_plain(path)
    held = 0
    with tarfile.open(path, "r:" if plain else "r:*") as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if not member.isreg() or (inner and f"/{inner}/" not in f"/{name}"):
                continue
            places[name] = (member.offset_data, member.size)
            if not plain and is_image_name(name):
                held += member.size
                if held > _MEMORY_LIMIT:
                    raise UserError(f"{path} holds more than 4 GiB compressed; unpack it to .tar")
                file = archive.extractfile(member)
                contents[name] = file.read() if file is not None else b""
        if inner and not places:
            _require_folder(archive, path, inner)
    return places, contents


def _require_folder(archive: tarfile.TarFile, path: str, inner: str) -> None:
    """Raise `UserError` if the archive, read to its end, has no folder `inner`."""
    names = [f"{member.name}{'/' * member.isdir()}" for member in archive.getmembers()]
    names = [name.removeprefix("./") for name in names]
    if any(f"/{inner}/" in f"/{name}" for name in names):
        return
    tops = sorted({"".join(name.partition("/")[:2]) for name in names})
    shown = [top for top in tops if not top.startswith(".")]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    raise UserError(
        f"there is no folder {inner} in the archive {path}, which has "
        f"{', '.join(shown[:_SHOWN]) or 'nothing'}{more} at its top; give tar:ARCHIVE/FOLDER with "
        "a folder inside it, or tar:ARCHIVE for all of it"
    )


def _is_plain(path: str) -> bool:
    try:
        with tarfile.open(path, "r:"):
            return True
    except tarfile.ReadError:
        return False
