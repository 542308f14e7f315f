"""The images that the host benchmark reads, held in memory as files."""

import importlib.util
import pathlib

import numpy as np

from dino_jax.config import UserError
from dino_jax.data.decode import is_image_name
from dino_jax.data.embedded import PHOTOGRAPHS
from dino_jax.data.source import FileSource


class MemorySource(FileSource):
    """Files by name that lie in memory."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        """Take the files."""
        super().__init__("memory", list(contents), 3)
        self._contents = list(contents.values())

    def read(self, index: int) -> bytes:
        """The content of one file."""
        return self._contents[index]


def files(folder: pathlib.Path | None, limit: int) -> dict[str, bytes]:
    """At most `limit` image files, evenly from below a folder, or those that wheels bring along."""
    if folder is None:
        paths = [path for path in _embedded() if path.exists()]
    else:
        paths = sorted(path for path in folder.rglob("*") if is_image_name(path.name))
    if not paths:
        raise UserError(f"{folder or 'the wheels'} holds no images; give --images=FOLDER")
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(limit, len(paths))).round().astype(int))
    return {str(paths[number]): paths[number].read_bytes() for number in chosen}


def _embedded() -> list[pathlib.Path]:
    found = []
    for photograph in PHOTOGRAPHS:
        spec = importlib.util.find_spec(photograph.package)
        folders = spec.submodule_search_locations if spec is not None else None
        if folders:
            found.append(pathlib.Path(folders[0], photograph.file))
    return found
