"""Two processes never write into one folder at once, and no file is seen half-written."""

import errno
import fcntl
import pathlib

import pytest

from dino_jax.config import UserError
from dino_jax.files import claimed, made, whole


def test_a_folder_is_one_runs_until_it_ends(tmp_path: pathlib.Path) -> None:
    refused = pytest.raises(UserError, match="another process is writing into")
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


def test_a_whole_file_takes_its_name_at_the_end(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "features.npy"
    with whole(path) as unfinished:
        unfinished.write_text("new")
        assert unfinished.suffix == ".npy"
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_fails_leaves_what_was_there(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text("before")

    def fail() -> None:
        with whole(path) as unfinished:
            unfinished.write_text("half")
            raise OSError(errno.ENOSPC, "no space left")

    with pytest.raises(OSError, match="no space left"):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_made_with_those_above_it(tmp_path: pathlib.Path) -> None:
    assert made(tmp_path / "a" / "b").is_dir()
    assert not list((tmp_path / "a" / "b").iterdir())


@pytest.mark.parametrize("name", ["file", "file/below", "/proc/nothing"])
def test_a_folder_that_cannot_be_is_one_line(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--out=.* cannot be written into \(.+\): name") as error:
        made(tmp_path / name)
    assert "\n" not in str(error.value)
