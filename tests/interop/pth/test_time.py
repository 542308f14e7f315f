"""No file can choose numbers by which a reading takes the square of its size."""

import pathlib
import time
from typing import Any

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.interop.pth import read_pth
from dino_jax.interop.pth.limits import DENSE, MAX_SCATTERED
from dino_jax.interop.pth.tensors import Tensor
from dino_jax.interop.pth.write import scalar
from tests.interop.pth.build import NAMESPACE, group, name, pth, tensor
from tests.interop.pth.collisions import pairs

LARGE = {"9": bytes(1 << 25)}
"""A storage that no tensor needs, for whose size a file may take more."""


def read(path: pathlib.Path, body: bytes, storages: dict[str, bytes] | None = None) -> Any:
    path.write_bytes(pth(body, storages))
    return read_pth(path)


def refusal(path: pathlib.Path, body: bytes, storages: dict[str, bytes] | None = None) -> str:
    with pytest.raises(UserError) as caught:
        read(path, body, storages)
    return str(caught.value)


def dictionary(keys: list[int]) -> bytes:
    """In groups as pickle writes them."""
    groups = (keys[i : i + 1000] for i in range(0, len(keys), 1000))
    parts = (b"(" + b"".join(scalar(key) + b"N" for key in group) + b"u" for group in groups)
    return b"}" + b"".join(parts)


def test_strides_of_equal_hashes_are_told_apart_by_others(tmp_path: pathlib.Path) -> None:
    """3,000 such tensors, in 95 kB, would take 20 s, where a dict's keys were their numbers."""
    chosen = pairs(60)
    assert len({hash(pair) for pair in chosen}) == 1
    assert len(set(chosen)) == len(chosen)
    views = [Tensor("0", np.dtype("<f4"), 0, (2, 2), pair) for pair in chosen]
    assert len({hash(view.identity) for view in views}) == len(chosen)
    arrays = read(tmp_path / "x.pth", group(*(tensor((1, 1), pair) for pair in chosen)))
    assert len({id(array) for array in arrays}) == 1  # strides that are never stepped


def test_strides_that_are_never_stepped_make_no_other_array(tmp_path: pathlib.Path) -> None:
    views = group(tensor((1, 3), (99, 1)), tensor((1, 3), (3, 1)), tensor((3, 1), (1, 1)))
    first, second, third = read(tmp_path / "x.pth", views)
    assert first is second
    assert third is not second
    assert second.tolist() == [[0, 1, 2]]
    assert third.tolist() == [[0], [1], [2]]


def test_keys_that_count_are_read_however_many(tmp_path: pathlib.Path) -> None:
    keys = list(range(30_000))
    result = read(tmp_path / "x.pth", dictionary(keys), LARGE)
    assert list(result) == keys


def test_addresses_as_keys_are_read(tmp_path: pathlib.Path) -> None:
    """Optimisers of before torch 1.7 number their parameters by where these lay."""
    keys = [140_000_000_000_000 + 72 * place for place in range(1000)]
    result = read(tmp_path / "x.pth", dictionary(keys))
    assert list(result) == keys


@pytest.mark.parametrize("sign", [-1, 1])
def test_too_many_scattered_keys_are_refused(sign: int, tmp_path: pathlib.Path) -> None:
    keys = [sign * (1 << 20) * place for place in range(1, MAX_SCATTERED + 2)]
    assert "scattered numbers" in refusal(tmp_path / "x.pth", dictionary(keys), LARGE)
    halves = dictionary(keys[: len(keys) // 2]), dictionary(keys[len(keys) // 2 :])
    assert "scattered numbers" in refusal(tmp_path / "x.pth", group(*halves), LARGE)


def test_memo_counts_from_nothing(tmp_path: pathlib.Path) -> None:
    far = (DENSE + 3).to_bytes(4, "little")
    near = (DENSE + 2).to_bytes(4, "little")
    assert read(tmp_path / "x.pth", b"Nq\0" + b"r" + near) is None
    assert "before others" in refusal(tmp_path / "x.pth", b"Nq\0" + b"r" + far)


def test_fields_copied_again_and_again_are_charged(tmp_path: pathlib.Path) -> None:
    keys = b"".join(scalar(str(place)) + b"N" for place in range(5000))
    made = b"}(" + keys + b"uq\0" + NAMESPACE + b")\x81q\1"
    body = made + b"h\0b" * 100_000
    begin = time.process_time()
    assert "twice its size" in refusal(tmp_path / "x.pth", body, LARGE)
    assert time.process_time() - begin < 2


def test_text_encoded_again_and_again_is_charged(tmp_path: pathlib.Path) -> None:
    made = name("_codecs", "encode") + b"q\0" + group(scalar("x" * 1_000_000), scalar("latin1"))
    body = made + b"q\1R" + b"h\0h\1R" * 1000
    assert "twice its size" in refusal(tmp_path / "x.pth", b"(" + body + b"t")
