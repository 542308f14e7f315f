"""Two runs never write into one folder at once."""

import errno
import fcntl
import pathlib

import pytest

from dino_jax.config import UserError
from dino_jax.train.claim import claimed


def test_a_folder_is_one_runs_until_it_ends(tmp_path: pathlib.Path) -> None:
    refused = pytest.raises(UserError, match="another process is training in")
    with claimed(tmp_path), refused, claimed(tmp_path):
        pass
    with claimed(tmp_path):
        assert not list(tmp_path.iterdir())


def test_a_file_system_without_locks_is_no_obstacle(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with claimed(tmp_path), claimed(tmp_path):
        assert not list(tmp_path.iterdir())
