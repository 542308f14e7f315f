"""The pages name every field and every flag, as they are."""

import pathlib
import re

import pytest

from dino_jax.config import kinds, leaves
from dino_jax.config.auto import AUTO_FIELDS
from dino_jax.config.original import ORIGINAL_FLAGS
from tests.config import recipes

DOCS = pathlib.Path(__file__).parents[2] / "docs"
RELEASED = {
    "vit_s16": (1024, 800, 0.0, False, 10, "float32"),
    "vit_s8": (1024, 800, 0.0, False, 10, "float32"),
    "vit_b16": (1024, 400, 0.3, True, 10, "float32"),
    "vit_b8": (1056, 300, 3.0, True, 10, "float32"),
    "vit_s16_100ep": (512, 100, 3.0, True, 8, "auto"),
    "vit_s16_300ep": (1024, 300, 3.0, False, 8, "auto"),
    "vit_s16_gldv2": (1024, 300, 3.0, False, 8, "auto"),
}


def rows(page: str) -> list[list[str]]:
    lines = (DOCS / page).read_text().splitlines()
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if "|" in line
    ]


def shown(value: object) -> str:
    return ",".join(map(repr, value)) if isinstance(value, tuple) else str(value)


def test_configuration_page_lists_every_field_as_it_is() -> None:
    told = {row[0].strip("| "): row[1:3] for row in rows("configuration.md") if "`" in row[0]}
    truth = {
        f"`{path}`": [f"`{shown(leaf.default)}`", kind + (" *" if path in AUTO_FIELDS else "")]
        for (path, leaf), kind in zip(leaves().items(), kinds().values(), strict=True)
    }
    assert told == truth


def test_from_the_original_names_every_flag_and_a_field_that_is() -> None:
    told = {}
    for row in rows("from_the_original.md"):
        if found := re.fullmatch(r"\|?\s*`--(\w+)`", row[0]):
            told[found[1]] = row[2].strip("`")
    assert told.keys() == ORIGINAL_FLAGS.keys()
    for flag, field in ORIGINAL_FLAGS.items():
        assert told[flag] == (field or {"output_dir": "--workdir"}.get(flag, "none"))
        assert field is None or field in leaves()


def test_defaults_are_the_originals() -> None:
    for row in rows("from_the_original.md"):
        flag = re.fullmatch(r"\|?\s*`--(\w+)`", row[0])
        field = flag and ORIGINAL_FLAGS[flag[1]]
        if field in (None, "precision", "batch_size", "data.train", "checkpoint_every"):
            continue
        if field == "data.workers":
            continue
        theirs, ours = row[1].strip("`"), leaves()[str(field)].default
        if isinstance(ours, tuple):
            assert tuple(map(float, theirs.split())) == ours
        elif isinstance(ours, bool):
            assert theirs == str(ours).lower()
        elif isinstance(ours, str):
            assert theirs == ours
        else:
            assert float(theirs) == ours, field


@pytest.mark.parametrize("name", RELEASED)
def test_released_recipe_has_the_released_values(name: str) -> None:
    config = recipes.load(name)
    assert RELEASED[name] == (
        config.batch_size,
        config.epochs,
        config.optim.clip,
        config.head.norm_last_layer,
        config.crops.local_number,
        config.precision,
    )


@pytest.mark.parametrize("name", recipes.NAMES)
def test_docstring_says_where_from_how_and_what_comes_of_it(name: str) -> None:
    text = (recipes.FOLDER / f"{name}.py").read_text().split('"""')[1]
    for line in ("Paper: ", "Hardware: ", "Command: ", "Expected: "):
        assert re.search(f"^{line}", text, flags=re.MULTILINE), line
    assert f"configs/{name}.py" in text or name == "quickstart"
