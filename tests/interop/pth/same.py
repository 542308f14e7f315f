"""Equality of plain trees, and the proof that a result is one."""

from typing import Any

import numpy as np

PLAIN = (str, int, float, bool, type(None))


def assert_same(found: Any, expected: Any) -> None:
    """The same types, keys in the same order, and arrays of equal bytes."""
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        assert found.tobytes() == expected.tobytes()
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected or (found != found and expected != expected)


def assert_plain(value: Any) -> None:
    """Nothing but dict, list, tuple, arrays of numbers and Python's own values, exactly."""
    if type(value) is dict:
        assert all(type(key) in (str, int) for key in value)
        value = list(value.values())
    if type(value) in (list, tuple):
        for item in value:
            assert_plain(item)
    elif type(value) is np.ndarray:
        assert value.dtype.kind in "fiubV"
        assert value.dtype.itemsize <= 8
        assert value.flags.c_contiguous
        assert value.flags.writeable
    else:
        assert type(value) in PLAIN
