"""The committed golden tensors: few, complete, without pixels, and equal to the folder's."""

import numpy as np
import pytest

from tests import golden
from tests.parity import committed

FILES = (*committed.WHOLE, *committed.GROUPS)


def test_they_are_there_and_small() -> None:
    held = {path.name: path.stat().st_size for path in golden.COMMITTED.iterdir()}
    assert set(held) == {*FILES, "README.md"}
    assert sum(held.values()) <= committed.LIMIT


def test_each_is_described() -> None:
    text = (golden.COMMITTED / "README.md").read_text()
    assert [name for name in FILES if f"`{name}`" not in text] == []


def test_none_holds_image_data() -> None:
    """Inputs are noise from a formula; grey levels would be uint8."""
    for path in golden.COMMITTED.glob("*.npz"):
        for key, value in committed.load(path).items():
            if value.dtype == np.uint8:
                assert len(np.unique(value)) <= 2, f"{path.name}: {key}"  # a mask


def test_they_equal_the_golden_folder_s() -> None:
    full = golden.FOLDER / "meta.json"
    if not full.exists() or full.read_bytes() != (golden.COMMITTED / "meta.json").read_bytes():
        pytest.skip("the golden folder these come from is not here (set DINO_JAX_GOLDEN)")
    for name in FILES:
        ours, full = golden.COMMITTED / name, golden.FOLDER / name
        if not full.exists():
            continue
        if name in committed.WHOLE:
            assert ours.read_bytes() == full.read_bytes(), name
        else:
            check_part(name, committed.load(ours), committed.load(full))


def check_part(name: str, part: dict[str, np.ndarray], whole: dict[str, np.ndarray]) -> None:
    assert set(part) == {key for key in whole if committed.belongs(name, key)}
    for key, value in part.items():
        assert value.dtype == whole[key].dtype, key
        np.testing.assert_array_equal(value, whole[key], err_msg=key)
