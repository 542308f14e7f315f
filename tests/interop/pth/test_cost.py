"""What each opcode takes in memory is less than what it is charged: so twice the file is enough.

Every row is a piece of a pickle, repeated as the items of a list. The peak of a reading, less that
of one without pieces, gives what a piece takes, as tracemalloc counts it; what is left of a budget
of plenty gives what it is charged. With `-s` the table is printed.
"""

import functools
import gc
import pathlib
import tracemalloc
from collections.abc import Callable
from typing import NamedTuple

import pytest

from dino_jax.config import UserError
from dino_jax.interop.pth import read_pth, reader
from dino_jax.interop.pth.limits import Budget
from dino_jax.interop.pth.write import scalar
from tests.interop.pth.build import (
    NAMESPACE,
    ORDERED,
    V2,
    Entry,
    archive,
    entries,
    group,
    name,
    numbers,
    pickle,
    pth,
    storage,
)

COUNT, MANY = 700, 11_000
"""Pieces of a file: just over 2/3 of 2**10 and 2**14, where a dict of as many has grown last."""
PLENTY = 1 << 50
DOUBLE = name("numpy", "dtype") + group(scalar("f8"), scalar(False), scalar(True)) + b"R"
NDARRAY = group(name("numpy", "ndarray"), numbers(0), b"C\1b")
EMPTY = group(scalar(1), numbers(0), DOUBLE, scalar(False), b"C\0")
VIEW = group(storage(), scalar(0), numbers(2), numbers(1), scalar(False), ORDERED)
WIDE = "x" * 200 + "\U0001f600"
"""One character of four bytes, which makes the others take four each."""


def four(number: int) -> bytes:
    return number.to_bytes(4, "little")


class Row(NamedTuple):
    """The piece, maybe by its place; a value that comes before and stores what pieces recall."""

    label: str
    piece: bytes | Callable[[int], bytes]
    least: int = 0
    """Bytes, about, that a piece takes: the measure must see at least half of them."""
    before: bytes = b"N"
    times: int = COUNT


def recalled(label: str, function: bytes, arguments: bytes, least: int) -> Row:
    """A call whose function and arguments are stored once."""
    return Row(label, b"h\0h\1R", least, function + b"q\0" + arguments + b"q\1R")


ROWS = (
    Row("nothing", b"N", 8),
    Row("empty list", b"]", 250, times=MANY),
    Row("empty dict", b"}", 250, times=MANY),
    Row("empty tuple", b")"),
    Row("empty tuple of a group", b"(t"),
    Row("list of one", b"]Na", 300),
    Row("list of five", b"](NNNNNe", 300),
    Row("dict of one", b"}K\1Ns", 500),
    Row("dict of text", b"}U\1xNs", 500),
    Row("dict of six", b"}(" + b"".join(b"K%cN" % key for key in range(6)) + b"u", 800),
    Row("tuple of one", b"N\x85", 250),
    Row("tuple of three", b"NNN\x87", 250),
    Row("tuples within tuples", b"N" + b"\x85" * 6, 1500),
    Row("lists within lists", b"]" * 6 + b"a" * 5, 1500),
    Row("dicts within dicts", b"}U\1x" * 6 + b"N" + b"s" * 6, 3000),
    Row("stored", lambda place: b"]r" + four(place + 256), 300),
    Row("whole number", lambda place: b"J" + four(place + 1000), 28),
    Row("long number", b"\x8a\x10" + b"\x7f" * 16, 40),
    Row("float", b"G" + bytes(7) + b"\1", 24),
    Row("short text", b"\x8c\2xy", 50),
    Row("wide text", scalar(WIDE), 800),
    Row("text of Python 2", b"U\xff" + b"\xe9" * 255, 300),
    Row("scattered keys", lambda place: b"}J" + four(place << 16) + b"Ns", 500),
    recalled("ordered dict", name("collections", "OrderedDict"), b")", 300),
    Row("namespace", b"h\0)\x81", 300, NAMESPACE + b"q\0)\x81"),
    recalled(
        "numpy number",
        name("numpy.core.multiarray", "scalar"),
        group(DOUBLE, b"C\x08" + b"\1" * 8),
        24,
    ),
    Row(
        "numpy array",
        b"h\0h\1Rh\2b",
        100,
        name("numpy.core.multiarray", "_reconstruct")
        + b"q\0"
        + NDARRAY
        + b"q\1R"
        + EMPTY
        + b"q\2b",
    ),
    recalled("tensor again", V2, VIEW, 100),
    Row(
        "tensor",
        lambda place: b"h\0(h\1J" + four(place) + b"h\2h\3\x89h\4tR",
        400,
        V2
        + b"q\0("
        + storage("1", 1 << 17)
        + b"q\1K\0"
        + numbers(2)
        + b"q\2"
        + numbers(1)
        + b"q\3\x89"
        + ORDERED
        + b"q\4tR",
    ),
)


def body(row: Row, count: int) -> bytes:
    """The value before and the list of `count` pieces, in groups as pickle writes them."""
    pieces = [row.piece if isinstance(row.piece, bytes) else row.piece(i) for i in range(count)]
    groups = (b"(" + b"".join(pieces[i : i + 500]) + b"e" for i in range(0, count, 500))
    return b"(" + row.before + b"]" + b"".join(groups) + b"t"


def same(budget: Budget, size: int) -> Budget:
    return budget


def peak(path: pathlib.Path) -> int:
    """Bytes at once while it is read, without the help of a collection that comes by chance."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        result = read_pth(path)
        assert result is not None
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.label.replace(" ", "-"))
def test_no_piece_takes_more_than_it_is_charged(
    row: Row, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, found = tmp_path / "pieces.pth", []
    for count in (0, 0, row.times):  # the first imports and fills what lasts
        budget = Budget(PLENTY)
        monkeypatch.setattr(reader.Budget, "of", functools.partial(same, budget))
        data = body(row, count)
        path.write_bytes(pth(data, {"0": bytes(24), "1": bytes(1 << 19)}))
        found.append((peak(path), PLENTY - budget.left, len(data)))
    (_, (peak_0, charge_0, size_0), (peak_1, charge_1, size_1)) = found
    takes, charged = (peak_1 - peak_0) / row.times, (charge_1 - charge_0) / row.times
    size = (size_1 - size_0) / row.times
    print(f"{row.label:24} {size:8.1f} {takes:9.1f} {charged:9.1f} {takes / size:8.1f}")
    assert row.least / 2 < takes < charged


def test_names_of_entries_are_charged_as_text(tmp_path: pathlib.Path) -> None:
    """In a name one wide character makes every other take four bytes."""
    path = tmp_path / "names.pth"
    names = (f"w/{place}{'x' * 1000}\U0001f600" for place in range(20_000))
    path.write_bytes(archive([*entries(pickle(b"N")), *(Entry(name, b"") for name in names)]))
    with pytest.raises(UserError, match="twice its size"):
        read_pth(path)
