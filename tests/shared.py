"""Where the real images lie that tests may use, and must do without where they are absent."""

import atexit
import functools
import os
import pathlib
import shutil
import tarfile
import tempfile

import pytest

FOLDER = pathlib.Path(
    os.environ.get("DINO_JAX_DATA", pathlib.Path(__file__).parents[1] / ".." / "shared" / "data")
)


def shared_data(name: str) -> pathlib.Path:
    """Path of one archive of the folder; skips where it is absent."""
    if not (FOLDER / name).exists():
        pytest.skip(f"{name} is not here (set DINO_JAX_DATA to its folder)")
    return FOLDER / name


def unpacked(name: str) -> pathlib.Path:
    """A folder with the content of one archive, unpacked once a process; skips where absent."""
    return _unpacked(shared_data(name))


@functools.cache
def _unpacked(archive: pathlib.Path) -> pathlib.Path:
    folder = tempfile.mkdtemp(prefix="dino_jax_data_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return pathlib.Path(folder)
