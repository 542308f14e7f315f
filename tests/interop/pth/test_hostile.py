"""No hostile file is read, none runs anything, and each is refused in a line that helps."""

import os
import pathlib
import re
import struct

import pytest

from dino_jax.config import UserError
from dino_jax.interop.pth import read_pth, reader
from tests.interop.pth import hostile_code, hostile_legacy, hostile_tensors, hostile_zips
from tests.interop.pth.build import Entry, archive, entries, legacy, old_tensor, pickle, pth, tensor
from tests.interop.pth.hostile import Case

TABLES = (hostile_code, hostile_tensors, hostile_zips, hostile_legacy)
CASES = [case for table in TABLES for case in table.cases()]


def refusal(path: pathlib.Path) -> str:
    with pytest.raises(UserError) as caught:
        read_pth(path)
    return str(caught.value)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_hostile_file_is_refused_in_one_line(case: Case, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "hostile.pth"
    path.write_bytes(case.data)
    line = refusal(path)
    assert line.startswith(f"cannot read {path}: ")
    found, advice = line.removeprefix(f"cannot read {path}: ").split("; ", 1)
    assert re.search(case.said, found), found
    assert len(advice) > 10
    assert line.isprintable()
    assert len(found) < 200


def test_all_kinds_of_hostile_files_are_tried() -> None:
    """Number 42 is a right file, 86 has more below."""
    assert {case.number for case in CASES} == set(range(1, 87)) - {42}


@pytest.mark.parametrize("kind", ["folder", "missing", "pipe", "device", "no-name"])
def test_path_that_is_no_file(kind: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.pth"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = pathlib.Path("/dev/zero")
    elif kind == "no-name":
        path = tmp_path / "x\0.pth"
    line = refusal(path)
    assert line.startswith("cannot read ")
    assert line.isprintable()


def test_line_of_a_name_with_a_line_break_is_one(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x\n\x1b[2Jx.pth"
    path.write_bytes(b"text")
    assert refusal(path).isprintable()


@pytest.mark.parametrize(
    "error", [KeyError("a\nb"), TypeError("x" * 500), struct.error("x"), RecursionError("x")]
)
def test_mistake_of_the_reader_is_a_line_with_a_cause(
    error: Exception, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file is known to come to it; the witness fails where one does."""

    def mistaken(*_: object) -> None:
        raise error

    monkeypatch.setattr(reader, "_read_zip", mistaken)
    path = tmp_path / "right.pth"
    path.write_bytes(pth(tensor()))
    with pytest.raises(UserError, match="unlike all known") as caught:
        read_pth(path)
    assert caught.value.__cause__ is error
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400 + len(str(path))


def test_right_files_are_read(tmp_path: pathlib.Path) -> None:
    """What the hostile ones are made of is not what they are refused for."""
    path = tmp_path / "right.pth"
    unused = Entry("w/data/9", bytes(1 << 20))
    described = [
        Entry(e.name, e.data, flags=0x0808, local_size=0, hidden=b"PK\7\x08" + bytes(12))
        for e in entries(pickle(tensor()))
    ]
    for data in (
        pth(tensor()),
        legacy(old_tensor()),
        archive([*entries(pickle(tensor())), unused]),  # number 42
        archive(described),
    ):
        path.write_bytes(data)
        assert read_pth(path).tolist() == [0, 1, 2, 3, 4, 5]
