"""`folder:PATH`: image files below a folder, class by class or in any heap."""

import os
import pathlib
import stat

from dino_jax.config import UserError
from dino_jax.data.source import FileSource, only_images


class FolderSource(FileSource):
    """Every image file below a folder; symbolic links are followed, hidden files are not seen."""

    def __init__(self, spec: str, path: str, channels: int) -> None:
        """Search the folder once. Raises `UserError` if it is missing, no folder, or empty."""
        self._root = os.path.abspath(os.path.expanduser(path))
        if not os.path.exists(self._root):
            raise UserError(f"there is no folder {path}; give folder:PATH with PATH a folder")
        if not os.path.isdir(self._root):
            raise UserError(
                f"{path} is a file, not a folder; give folder:PATH with PATH a folder of images, "
                "or tar:PATH for a .tar archive"
            )
        super().__init__(spec, only_images(_files_below(self._root), f"folder {path}"), channels)

    def path(self, index: int) -> str:
        """Where one file lies."""
        return os.path.join(self._root, *self._paths[index].split("/"))

    def _stamp(self, index: int) -> object:
        try:
            status = os.stat(self.path(index))
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns

    def read(self, index: int) -> bytes:
        """The content of one file; raises OSError if it has gone, or is a pipe or a device."""
        path = self.path(index)
        if not stat.S_ISREG(os.stat(path).st_mode):  # reading a pipe could wait for ever
            raise OSError("it is no regular file")
        with open(path, "rb") as file:
            return file.read()


def folder_of(spec: str) -> pathlib.Path:
    """The folder that a spec names, with or without `folder:`, whether it is there or not."""
    return pathlib.Path(spec.removeprefix("folder:")).expanduser()


def _files_below(root: str) -> list[str]:
    """Relative paths with `/`; each folder is entered once, so that links cannot form a loop."""
    found: list[str] = []
    entered: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        relative = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if relative == "." else f"{relative}/"
        found.extend(prefix + name for name in files)
    return found
