"""The committed golden tensors: few, complete, without pixels, and equal to the folder's."""

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


def test_they_equal_the_golden_folder_s() -> None:
    full = golden.FOLDER / "meta.json"
    if not full.exists() or full.read_bytes() != (golden.COMMITTED / "meta.json").read_bytes():
        pytest.skip("the golden folder these come from is not here (set DINO_JAX_GOLDEN)")
    for name in committed.FILES:
        if (golden.FOLDER / name).exists():
            same = (golden.COMMITTED / name).read_bytes() == (golden.FOLDER / name).read_bytes()
            assert same, name
