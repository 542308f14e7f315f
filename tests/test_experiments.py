"""What the pages say of an experiment is what its results say."""

import json
import pathlib
import runpy

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = ROOT / "experiments" / "small_imagenette"
PAGES = (FOLDER / "README.md", ROOT / "docs" / "results.md")


@pytest.fixture(scope="module")
def table() -> str:
    program = runpy.run_path(str(FOLDER / "run.py"))
    results = {
        name: json.loads((FOLDER / "results" / f"{name}.json").read_text())
        for name in program["PROTOCOLS"]
    }
    return program["table_of"](results)


def test_the_table_is_made_of_the_results(table: str) -> None:
    assert (FOLDER / "table.md").read_text() == table


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_the_pages_show_the_table(page: pathlib.Path, table: str) -> None:
    assert table.strip() in page.read_text()


def test_verdicts_follow_from_the_intervals() -> None:
    """`beats` and `loses` mean that zero lies outside; of four sequences nothing is said."""
    found = []
    for path in sorted((FOLDER / "results").glob("*.json")):
        for figures in json.loads(path.read_text())["differences"].values():
            for name, each in figures.items():
                outside = each["low"] > 0 or each["high"] < 0
                found.append((path.stem, each["verdict"]))
                if path.stem == "video":
                    assert each["verdict"] == "too few"
                else:
                    assert (each["verdict"] != "even") == outside, (path.stem, name)
    assert len(found) > 50
