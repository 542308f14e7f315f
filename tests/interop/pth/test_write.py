"""What is written comes back: values, kinds, ties; the same tree gives the same bytes."""

import math
import pathlib
import zipfile
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from dino_jax.interop.pth import read_pth, write_pth
from tests.interop.pth.same import assert_same

DTYPES = [
    *(np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.bool_),
    *(np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64),
]


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "weights.pth"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3, 4)])
def test_array_comes_back(path: pathlib.Path, dtype: Any, shape: tuple[int, ...]) -> None:
    count = math.prod(shape)
    array = np.random.default_rng(0).integers(0, 100, count).reshape(shape).astype(dtype)
    write_pth(path, array)
    found = read_pth(path)
    assert_same(found, array)
    assert found.flags.c_contiguous
    assert found.flags.writeable


@pytest.mark.parametrize(
    "value",
    [
        *(0, 1, 255, 256, 65535, 65536, -1, 2**31 - 1, 2**31, -(2**31) - 1, 2**60, -(2**119)),
        *(0.0, -0.0, 1e-300, math.inf, True, False, None, "", "ü€\n", (), [], {}, (1, (2, [3]))),
        {"a": {"b": [1, 2.5, None]}, 3: "x", -4: ()},
    ],
)
def test_plain_value_comes_back(path: pathlib.Path, value: Any) -> None:
    write_pth(path, value)
    found = read_pth(path)
    assert_same(found, value)
    assert repr(found) == repr(value)


def test_numbers_of_numpy_become_pythons(path: pathlib.Path) -> None:
    write_pth(path, [np.float64(0.5), np.int64(3), np.bool_(True)])
    assert repr(read_pth(path)) == "[0.5, 3, True]"


def test_what_is_one_array_stays_one(path: pathlib.Path) -> None:
    tied = np.arange(6, dtype=np.float32)
    write_pth(path, {"a": tied, "b": [tied], "c": tied.copy()})
    found = read_pth(path)
    assert found["a"] is found["b"][0]
    assert found["a"] is not found["c"]
    with zipfile.ZipFile(path) as archive:
        assert sum("/data/" in name for name in archive.namelist()) == 2


@pytest.mark.parametrize("view", [np.s_[::2], np.s_[:, ::-1], np.s_[1:, 2:]])
def test_array_of_any_strides_is_written_in_c_order(path: pathlib.Path, view: Any) -> None:
    array = np.arange(30, dtype=np.int32).reshape(5, 6)
    for given in (array[view], array[view].T, array[view].astype(">i4")):
        write_pth(path, given)
        assert_same(read_pth(path), np.array(given, "<i4"))


def test_equal_trees_give_equal_files_with_aligned_tensors(tmp_path: pathlib.Path) -> None:
    tree = {"a": np.ones(3, np.float32), "b": {"c": np.zeros((), np.int64)}, "d": np.ones(7, "i1")}
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write_pth(tmp_path / folder / "x.pth", tree)
    first, second = ((tmp_path / folder / "x.pth").read_bytes() for folder in ("one", "two"))
    assert first == second
    for array in (tree["a"], tree["d"]):
        assert first.index(array.tobytes()) % 64 == 0


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"a": b"raw"}, "no bytes"),
        ({"a": {1, 2}}, "no set"),
        ({1.5: 1}, "keys"),
        ({True: 1}, "keys"),
        (np.ones(2, np.complex64), "complex64"),
        (np.array([None]), "object"),
        (1 << 200, "26 bytes"),
    ],
)
def test_other_values_are_no_pth_and_leave_no_file(
    path: pathlib.Path, tree: Any, said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        write_pth(path, tree)
    assert not list(path.parent.iterdir())
