"""The page of recipes has every config, and says of it what its docstring says."""

import ast
import pathlib
import re

import pytest

from tests.docs.pages import ROOT

CONFIGS = sorted((ROOT / "configs").glob("*.py"))
PAGE = (ROOT / "docs" / "recipes.md").read_text()
MEASURED = {"quickstart", "cifar10"}
"""Recipes that have been run here, with a figure in docs/results.md."""


def stem(path: pathlib.Path) -> str:
    return path.stem


def told(config: pathlib.Path) -> dict[str, str]:
    """The parts of a config's docstring, each on one line."""
    text = ast.get_docstring(ast.parse(config.read_text()))
    first, *parts = re.split(r"^(Paper|Hardware|Command|Expected): ", text, flags=re.MULTILINE)
    said = {key: " ".join(part.split()) for key, part in zip(parts[::2], parts[1::2], strict=True)}
    return said | {"title": first.split("\n")[0]}


def sections() -> dict[str, tuple[str, str]]:
    """By config: the chapter that it stands in, and its section."""
    chapters = re.split(r"^## (.*)$", PAGE, flags=re.MULTILINE)
    found = {}
    for chapter, text in zip(chapters[1::2], chapters[2::2], strict=True):
        parts = re.split(r"^### (\w+)\.py$", text, flags=re.MULTILINE)
        for config, section in zip(parts[1::2], parts[2::2], strict=True):
            found[config] = chapter, section
    return found


def test_every_config_has_a_section_and_a_row() -> None:
    assert sorted(sections()) == [config.stem for config in CONFIGS]
    rows = re.findall(r"^\| \[(\w+)\.py\]\(#(\w+)py\) ", PAGE, flags=re.MULTILINE)
    assert sorted(rows) == [(config.stem, config.stem) for config in CONFIGS]


@pytest.mark.parametrize("config", CONFIGS, ids=stem)
def test_a_section_says_what_the_config_says(config: pathlib.Path) -> None:
    said, section = told(config), " ".join(sections()[config.stem][1].split())
    assert said["title"] in section
    assert f"**Paper**: {said['Paper']}" in section
    assert f"**Hardware**: {said['Hardware']}" in section
    assert f": {said['Expected']}" in section
    command = re.match(
        r"(python -m dino_jax\.main --config=\S+ --workdir=\S+|make \w+)", said["Command"]
    )
    assert command is not None
    assert command[0] in section


@pytest.mark.parametrize("config", CONFIGS, ids=stem)
def test_published_and_measured_figures_stay_apart(config: pathlib.Path) -> None:
    chapter, section = sections()[config.stem]
    expected = told(config)["Expected"]
    [row] = [line for line in PAGE.splitlines() if line.startswith(f"| [{config.stem}.py]")]
    assert ("measured here" in row) == ("**Measured here**" in section) == (config.stem in MEASURED)
    published = "not yet run here" in expected and "published" in expected
    published = published and not expected.startswith("not published")
    assert ("| published |" in row) == ("**Published**" in section) == published
    assert (chapter == "Measured here") == (config.stem in MEASURED)
