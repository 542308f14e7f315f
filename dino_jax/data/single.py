"""One image file in the place of a source."""

import pathlib

from dino_jax.config import UserError
from dino_jax.data.source import FileSource, Source
from dino_jax.data.sources import open_source
from dino_jax.data.tar import is_archive_path


class SingleSource(FileSource):
    """One image file, without a label."""

    def __init__(self, spec: str, path: pathlib.Path, channels: int) -> None:
        """Take the file, which is not read yet."""
        self._path = path.absolute()
        super().__init__(spec, [path.name], channels)

    def _stamp(self, index: int) -> object:
        del index
        status = self._path.stat()
        return str(self._path), status.st_size, status.st_mtime_ns

    def read(self, index: int) -> bytes:
        """The content of the file."""
        del index
        return self._path.read_bytes()


def open_images(spec: str, *, channels: int = 3) -> Source:
    """What `open_source` opens, or the one image whose path `spec` is.

    Raises:
        UserError: there is no such file or source.
    """
    path = pathlib.Path(spec).expanduser()
    if path.is_file() and not is_archive_path(spec):
        return SingleSource(spec, path, channels)
    if ":" not in spec and not path.exists():
        raise UserError(
            f"there is no {spec}: expected the path of an image, or images such as folder:PATH"
        )
    return open_source(spec, channels=channels)
