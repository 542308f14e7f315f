"""Files that torch wrote, committed, are read to the number, without torch."""

import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.interop.pth import read_pth, write_pth
from dino_jax.interop.pth.legacy import FIRST
from tests.interop.pth import build, trees
from tests.interop.pth.same import assert_plain, assert_same

DATA = pathlib.Path(__file__).parent / "data"
WAYS = ["", "_old", "_4"]


@pytest.mark.parametrize("way", WAYS)
def test_checkpoint_of_torch(way: str) -> None:
    found = read_pth(DATA / f"checkpoint{way}.pth")
    assert_same(found, trees.checkpoint())
    assert_plain(found)


@pytest.mark.parametrize("way", WAYS)
def test_tensors_of_torch(way: str) -> None:
    found = read_pth(DATA / f"tensors{way}.pth")
    assert_same(found, trees.tensors())
    assert_plain(found)


@pytest.mark.parametrize("way", WAYS)
def test_one_tensor_under_two_names_is_one_array(way: str) -> None:
    found = read_pth(DATA / f"tensors{way}.pth")
    assert found["tied"] is found["base"]
    assert not np.shares_memory(found["tail"], found["base"])


def test_what_was_read_can_be_written_and_read(tmp_path: pathlib.Path) -> None:
    for made in (trees.checkpoint(), trees.tensors()):
        write_pth(tmp_path / "again.pth", made)
        assert_same(read_pth(tmp_path / "again.pth"), made)


def test_torch_is_not_needed() -> None:
    """In a process of its own: where torch is installed, other tests load it."""
    code = (
        "import sys; from dino_jax.interop.pth import read_pth; "
        "read_pth(sys.argv[1]); print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(DATA / "checkpoint.pth")]
    assert subprocess.run(command, check=True, capture_output=True).stdout == b"False\n"


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "x.pth"


@pytest.mark.parametrize(
    ("view", "expected"),
    [(b"N", [0, 1, 2]), (build.numbers("v", 2, 3), [2, 3, 4])],
)
def test_old_files_name_parts_of_storages(path: pathlib.Path, view: bytes, expected: Any) -> None:
    path.write_bytes(build.legacy(build.old_tensor(view, size=(3,))))
    assert read_pth(path).tolist() == expected


def test_strings_of_python_2(path: pathlib.Path) -> None:
    path.write_bytes(build.pth(b"}U\1aT\2\0\0\0\xe9bs"))
    assert read_pth(path) == {"a": "éb"}


def test_old_file_whose_pickles_are_longer_than_what_is_read_first(path: pathlib.Path) -> None:
    text = "x" * (FIRST // 4)
    path.write_bytes(build.legacy(b"](" + build.scalar(text) * 9 + build.old_tensor() + b"e"))
    found = read_pth(path)
    assert found[:9] == [text] * 9
    assert found[9].tolist() == [0, 1, 2, 3, 4, 5]


def test_big_arrays_are_read_by_several_threads(path: pathlib.Path) -> None:
    random = np.random.default_rng(0)
    tree = {str(i): random.integers(0, 255, (3, 200_000 + i), np.uint8) for i in range(8)}
    write_pth(path, tree)
    assert_same(read_pth(path), tree)
    data = bytearray(path.read_bytes())
    data[data.index(tree["5"][2].tobytes()) + 100_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="checksum"):
        read_pth(path)
