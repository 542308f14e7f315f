"""What a fine-tuning run writes about itself: what it was asked for, and its figures by step."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from dino_jax.config import UserError
from dino_jax.files import whole

ASKED, CURVE = "recipe.json", "metrics.jsonl"
CONTENT = "content"
"""The field that tells the training images apart (`Source.content_key`)."""


class Curve:
    """`metrics.jsonl`: one object a line, in the order of the steps, each step once."""

    def __init__(self, folder: pathlib.Path, *, resumed_at: int) -> None:
        """Open for appending; lines after step `resumed_at`, and one cut short, are dropped."""
        self._path = folder / CURVE
        kept = [entry for entry in read_curve(folder) if entry["step"] <= resumed_at]
        _replace(self._path, "".join(json.dumps(entry) + "\n" for entry in kept))

    def write(self, entry: Mapping[str, Any]) -> None:
        """Append a line; it must have `step`."""
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")


def read_curve(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of a run up to the first that is none."""
    path, lines = folder / CURVE, []
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            entry = json.loads(text)
            int(entry["step"])
        except (ValueError, KeyError, TypeError):
            break
        lines.append(entry)
    return lines


def check_asked(folder: pathlib.Path, asked: Mapping[str, Any]) -> None:
    """Write what a run is asked for, or compare it with what the run in this folder was.

    Raises:
        UserError: that differs; the first field that does is named.
    """
    path, plain = folder / ASKED, json.loads(json.dumps(asked))
    try:
        before = json.loads(path.read_text())
    except FileNotFoundError:
        _replace(path, json.dumps(plain, indent=1) + "\n")
        return
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: choose another --out") from error
    for name, value in plain.items():
        if before.get(name) == value:
            continue
        if name == CONTENT:
            raise UserError(
                f"the run in {folder} is of other images than this --data, or their files were "
                "written anew since: choose another --out"
            )
        raise UserError(
            f"the run in {folder} has {name} {before.get(name)!r}, and this command says "
            f"{value!r}: repeat that command to go on, or choose another --out"
        )


def _replace(path: pathlib.Path, text: str) -> None:
    with whole(path) as unfinished:
        unfinished.write_text(text)
