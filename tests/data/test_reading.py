import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.data.reading import Reader
from tests.data.fakes import FakeSource


def test_an_unreadable_example_is_replaced_by_the_next_readable_one() -> None:
    source = FakeSource(5, damaged={1, 2, 4})
    reader = Reader(source)
    found = [reader.read(index) for index in range(5)]
    assert [example.index for example in found] == [0, 3, 3, 3, 0]
    assert [example.replaced for example in found] == [-1, 1, 2, -1, 4]
    np.testing.assert_array_equal(found[1].image, source.load(3))


def test_nothing_readable_is_the_users_mistake_with_the_first_reason() -> None:
    with pytest.raises(UserError, match=r"^none of the 3 images of fake .*\(number 1: damaged\)"):
        Reader(FakeSource(3, damaged={0, 1, 2})).read(1)


def test_small_data_is_decoded_once() -> None:
    source = FakeSource(4)
    reader = Reader(source)
    first = [reader.load(index) for index in range(4)]
    again = [reader.load(index) for index in range(4)]
    assert source.loads == 4
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_data_that_does_not_fit_is_not_kept() -> None:
    source = FakeSource(4)
    reader = Reader(source, cache_bytes=4 * source.load(0).nbytes - 1)
    source.loads = 0
    for _ in range(2):
        for index in range(4):
            reader.load(index)
    assert source.loads == 8
