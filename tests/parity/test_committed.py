"""The committed golden tensors: few, complete, without pixels, and equal to the folder's."""

import pathlib
import re

import numpy as np
import pytest

from tests import golden
from tests.parity import committed


def test_they_are_there_and_small() -> None:
    held = {path.name: path.stat().st_size for path in golden.COMMITTED.iterdir()}
    assert set(held) == {*committed.FILES, "README.md"}
    assert sum(held.values()) <= committed.LIMIT


def test_each_is_described() -> None:
    text = (golden.COMMITTED / "README.md").read_text()
    assert [name for name in committed.FILES if f"`{name}`" not in text] == []


def test_none_holds_image_data() -> None:
    """Inputs are noise from a formula; grey levels would be uint8."""
    for path in golden.COMMITTED.glob("*.npz"):
        with np.load(path, allow_pickle=False) as file:
            for key in file:
                if file[key].dtype == np.uint8:
                    assert len(np.unique(file[key])) <= 2, f"{path.name}: {key}"  # a mask


def test_they_equal_the_golden_folder_s(monkeypatch: pytest.MonkeyPatch) -> None:
    full = golden.FOLDER
    if not (full / "meta.json").exists() or not golden.committed_serves():
        pytest.skip("the golden folder these come from is not here (set DINO_JAX_GOLDEN)")
    for name in committed.COPIED:
        assert (golden.COMMITTED / name).read_bytes() == (full / name).read_bytes(), name
    for name in committed.REDUCED:
        monkeypatch.setattr(golden, "FOLDER", full)
        whole = golden.arrays(name)
        monkeypatch.setattr(golden, "FOLDER", full / "absent")
        assert_equal(golden.arrays(name), whole)


def assert_equal(ours: dict[str, np.ndarray], whole: dict[str, np.ndarray]) -> None:
    """The committed arrays, those that the formula puts back among them, are the folder's."""
    left_out = re.compile(str(ours.pop(committed.LEFT_OUT, "$.")))  # that matches nothing
    assert set(ours) == {key for key in whole if not left_out.match(key)}
    for key, value in ours.items():
        assert value.dtype == whole[key].dtype, key
        np.testing.assert_array_equal(value, whole[key], err_msg=key)


def test_they_serve_no_folder_of_other_networks(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden, "FOLDER", tmp_path)
    assert golden.path("c_loss.npz").parent == golden.COMMITTED
    (tmp_path / "meta.json").write_text('{"key_prefix": "other"}')
    with pytest.raises(pytest.skip.Exception, match="c_loss"):
        golden.path("c_loss.npz")
