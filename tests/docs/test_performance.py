"""Every figure of the table of speeds is the one in the result file that its row names."""

import json
import re
from typing import Any

import pytest

from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "performance.md"
ROW = re.compile(r"\| \[(\S+)\]\((\S+)\) `([^`]+)` \|$")


def rows() -> list[str]:
    table = PAGE.read_text().partition("<!-- table: begin -->\n")[2]
    return table.partition("<!-- table: end -->")[0].strip().splitlines()[2:]


def contents(text: str) -> Any:
    """One JSON value, or one a line."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines()]


def entry(held: Any, path: str) -> Any:
    """Follow names; of a list, names narrow it to the entries that hold them as a value."""
    while path:
        if isinstance(held, list):
            values = {v for each in held for v in each.values() if isinstance(v, str)}
            found = [v for v in values if path == v or path.startswith(f"{v} ")]
            if found or len(held) != 1:
                assert found, f"{path}: no entry"
                name = max(found, key=len)
                held = [each for each in held if name in each.values()]
                path = path[len(name) :].strip()
                continue
            held = held[0]
        name = path.split(" ")[0]
        held, path = held[name], path[len(name) :].strip()
    if isinstance(held, list):
        assert len(held) == 1, "more than one entry"
    return held


def test_there_are_rows() -> None:
    assert len(rows()) >= 10


@pytest.mark.parametrize("row", rows())
def test_a_row_quotes_its_file(row: str) -> None:
    match = ROW.search(row)
    assert match, row
    name, link, path = match.groups()
    file = (PAGE.parent / link).resolve()
    assert file.name == name
    quoted = row.split(" | ")[2]
    number = re.search(r"\d+(?:\.(\d+))?", quoted)
    assert number, row
    value = entry(contents(file.read_text()), path)
    if quoted.endswith("%"):
        value *= 100
    assert f"{value:.{len(number[1] or '')}f}" == number[0], row


def test_a_path_is_followed() -> None:
    held = [{"case": "a b", "x": {"y": 2}}, {"case": "b", "x": 1}, {"case": "b", "set": "of c"}]
    assert entry(held, "a b x y") == 2
    assert entry({"r": held}, "r b of c set") == "of c"
    for path in ("d x", "b"):
        with pytest.raises(AssertionError, match="entry"):
            entry(held, path)
