"""Two processes never write into one folder at once, and no file is seen half-written."""

import errno
import fcntl
import pathlib
from collections.abc import Callable

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


def to_a_full_disk(path: pathlib.Path) -> None:
    with whole(path, mark="new") as unfinished:
        unfinished.symlink_to("/dev/full")
        unfinished.write_text("too much")


def to_a_folder_that_goes(path: pathlib.Path) -> None:
    with whole(path) as unfinished:
        path.parent.rmdir()
        unfinished.write_text("late")


def to_a_folder(path: pathlib.Path) -> None:
    path.mkdir()
    with whole(path) as unfinished:
        unfinished.write_text("page")


def by_a_long_name(path: pathlib.Path) -> None:
    with whole(path.with_name("猫" * 100)) as unfinished:
        unfinished.write_text("page")


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (to_a_full_disk, "page.html cannot be written (No space left on device): "),
        (to_a_folder_that_goes, "page.html cannot be written (No such file or directory): "),
        (to_a_folder, "page.html cannot be written (it is a folder): "),
        (by_a_long_name, "猫 cannot be written (File name too long): "),
    ],
)
def test_what_cannot_be_written_is_one_line_and_still_the_system_s_error(
    tmp_path: pathlib.Path, write: Callable[[pathlib.Path], None], reason: str
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(UserError) as told:
        write(folder / "page.html")
    assert reason in str(told.value)
    assert "\n" not in str(told.value)
    assert isinstance(told.value, OSError)
    assert told.value.errno
    assert told.value.strerror
    assert not [path for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()]


def test_what_a_writer_cannot_read_is_not_said_of_its_file(tmp_path: pathlib.Path) -> None:
    def copy() -> None:
        with whole(tmp_path / "copy") as unfinished:
            unfinished.write_bytes((tmp_path / "absent").read_bytes())

    with pytest.raises(FileNotFoundError, match="absent"):
        copy()
