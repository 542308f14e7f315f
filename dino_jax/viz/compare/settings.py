"""What differs in the configurations of runs, and what is the same."""

from collections.abc import Sequence
from typing import NamedTuple

from dino_jax.config import get, kinds
from dino_jax.config.kinds import OPERATIONAL
from dino_jax.viz.compare.runs import Run
from dino_jax.viz.web.page import Html, details, paragraph, section, table


class Difference(NamedTuple):
    """A field that is not the same in all runs."""

    path: str
    values: tuple[str, ...]
    """One a run, in order."""
    matters: bool
    """Whether it changes the images or the mathematics; otherwise only where, how often it runs."""


def differences(runs: Sequence[Run]) -> list[Difference]:
    """Fields as resolved that differ, and the number of images, in the tree's order."""
    found = []
    for path, kind in kinds().items():
        values = [get(run.config, path) for run in runs]
        if any(value != values[0] for value in values):
            found.append(Difference(path, tuple(map(text, values)), kind != OPERATIONAL))
    examples = [run.examples for run in runs]
    if len(set(examples)) > 1:
        found.append(Difference("number of images", tuple(f"{n:,}" for n in examples), True))
    return found


def text(value: object) -> str:
    """A field's value as on the command line."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)


def same_images(runs: Sequence[Run]) -> bool:
    """Whether all name the same images to train on and to hold out."""
    named = {(run.config.data.train, run.config.data.val, run.examples) for run in runs}
    return len(named) == 1


def repeats(runs: Sequence[Run]) -> bool:
    """Whether nothing that matters differs but the seed."""
    mattering = [each.path for each in differences(runs) if each.matters]
    return mattering == ["seed"]


def settings(runs: Sequence[Run]) -> Html:
    """The section of the page."""
    found = differences(runs)
    names = {each.path for each in found}
    heads = ["field", *(run.name for run in runs)]
    parts: list[str] = []
    for matters, caption in (
        (True, "fields that differ"),
        (False, "differ too, but change neither images nor mathematics"),
    ):
        rows = [[each.path, *each.values] for each in found if each.matters == matters]
        if rows:
            parts.append(table(heads, rows, caption=caption))
    if not any(each.matters for each in found):
        said = "All fields that change images or mathematics are the same"
        parts.insert(0, paragraph(f"{said}, the seed too." if not found else f"{said}."))
    same = [[path, text(get(runs[0].config, path))] for path in kinds() if path not in names]
    parts.append(details(f"{len(same)} fields are the same", table(["field", "all runs"], same)))
    return section("Configuration", "".join(parts))
