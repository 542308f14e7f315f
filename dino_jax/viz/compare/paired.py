"""Differences of scores on the same images, with intervals: what `evaluate` measured of runs."""

import json
import math
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dino_jax.config import UserError
from dino_jax.interop.runs import number
from dino_jax.viz.compare.runs import Run
from dino_jax.viz.compare.scores import signed
from dino_jax.viz.compare.settings import same_images
from dino_jax.viz.web.page import Html, code, paragraph, section, table


class Measured(NamedTuple):
    """A result of `python -m dino_jax.evaluate`."""

    file: pathlib.Path
    protocol: str
    data: str
    figures: Mapping[str, Mapping[str, Any]]
    intervals: Mapping[str, Mapping[str, Sequence[float | None]]]
    differences: Mapping[str, Mapping[str, Mapping[str, Any]]]


def read_measured(path: pathlib.Path) -> Measured:
    """Read `PROTOCOL.json` of `--out`, or what `--json` printed.

    Raises:
        UserError: it is neither.
    """
    wanted = "expected a PROTOCOL.json that evaluate wrote into --out, or what its --json printed"
    try:
        text = path.read_text().strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UserError(f"--scores={path} cannot be read ({reason}): {wanted}") from error
    for part in (text, text.rsplit("\n", 1)[-1]):
        try:
            return _measured(path, json.loads(part))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    raise UserError(f"--scores={path} holds no result: {wanted}")


def _measured(path: pathlib.Path, held: Any) -> Measured:
    figures, intervals = _nested(held["figures"]), _nested(held["intervals"])
    differences = {
        str(other): {str(key): dict(each) for key, each in found.items()}
        for other, found in held["differences"].items()
    }
    for each in (each for found in differences.values() for each in found.values()):
        for name in ("value", "low", "high"):
            _check(each[name])
    for row, found in intervals.items():
        for key, (low, high) in found.items():
            for value in (low, high, figures.get(row, {}).get(key)):
                _check(value)
    settings = held.get("settings", {})
    data = str(settings.get("val") or settings.get("data") or "")
    return Measured(path, str(held["protocol"]), data, figures, intervals, differences)


def _nested(held: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        str(row): {str(key): each for key, each in found.items()} for row, found in held.items()
    }


def _check(value: Any) -> None:
    """Raise ValueError where something is neither a number nor said to be none."""
    known = value is None or value == "nan" or isinstance(value, float)
    if not known and math.isnan(number(value)):
        raise ValueError(f"{value!r} is no number")


def columns(measured: Measured, runs: Sequence[Run]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: a column a network, then one for what the first is less each other."""
    names = list(measured.intervals)
    known = {name: _known(name, runs) for name in names}
    heads = [measured.protocol, *known.values()]
    heads += [f"{known[names[0]]} less {known.get(other, other)}" for other in measured.differences]
    rows = []
    for key in dict.fromkeys(key for found in measured.intervals.values() for key in found):
        row = [key]
        for name in names:
            figure = number(measured.figures.get(name, {}).get(key))
            bounds = _bounds(measured.intervals[name].get(key, (None, None)), ".1f")
            row.append("–" if math.isnan(figure) else f"{figure:.1f}{bounds}")
        row += [_difference(found.get(key)) for found in measured.differences.values()]
        rows.append(row)
    return heads, rows


def _known(name: str, runs: Sequence[Run]) -> str:
    """The short name of a run where its weights were given as its folder."""
    folder, colon, part = name.rpartition(":")
    if not colon or part not in ("teacher", "student"):
        folder, colon, part = name, "", ""
    for run in runs:
        if pathlib.Path(folder).resolve() == run.folder.resolve():
            return run.name + colon + part
    return name


def _difference(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    bounds = _bounds((found["low"], found["high"]), "+.1f")
    return f"{signed(number(found['value']))}{bounds} {found.get('verdict', '')}".rstrip()


def _bounds(bounds: Sequence[float | None], form: str) -> str:
    low, high = map(number, bounds)
    if math.isnan(low) or math.isnan(high):
        return ""
    return f" [{low:{form}}, {high:{form}}]".replace("-", "−")


def commands(runs: Sequence[Run], out: pathlib.Path, measured: Sequence[Measured]) -> list[str]:
    """What measures the runs on the same images, and what then lays it in the page at `out`.

    Where the runs do not say on which labelled images, the words TRAIN and VAL stand for them.
    """
    data = runs[0].config.data
    labelled = same_images(runs) and data.val and any("knn_top1" in line for line in runs[0].lines)
    train, val = (data.train, str(data.val)) if labelled else ("TRAIN", "VAL")
    folders = [str(run.folder) for run in runs]
    folder = out.parent / "scores"
    asked = ["python", "-m", "dino_jax.evaluate", "knn", f"--weights={folders[0]}"]
    asked += [f"--against={other}" for other in folders[1:]]
    asked += [f"--data={train}", f"--val={val}", f"--out={folder}"]
    files = [*(str(each.file) for each in measured), f"{folder}/knn.json"]
    again = ["python", "-m", "dino_jax.compare", *folders, f"--out={out}"]
    again += [f"--scores={file}" for file in dict.fromkeys(files)]
    return [shlex.join(asked), shlex.join(again)]


def paired(runs: Sequence[Run], out: pathlib.Path, measured: Sequence[Measured]) -> Html:
    """The section of the page."""
    parts: list[str] = []
    for each in measured:
        of = f" on {each.data}" if each.data else ""
        parts.append(table(*columns(each, runs), caption=f"{each.protocol}{of}, percent"))
        if not any(name != _known(name, runs) for name in each.intervals):
            none = f"No network of {each.file} was given as the folder of one of these runs."
            parts.append(paragraph(none, kind="bad"))
    if measured:
        said = (
            "In brackets the 95 % interval, 1,000 bootstrap resamples of the images, of a "
            "difference drawing the same images of both. It tells how sure a figure is for these "
            "networks, not how much another seed would differ."
        )
        parts.append(paragraph(said, kind="note"))
    else:
        said = (
            "The runs keep their scores, not which images they had right. These two commands "
            "score the same images for all and lay the differences, with intervals, in this page"
        )
        asked = commands(runs, out, measured)
        where = (
            "; TRAIN and VAL stand for labelled images, such as folder:photos/train"
            if "--data=TRAIN" in asked[0]
            else ""
        )
        parts.append(paragraph(f"{said}{where}:") + "".join(map(code, asked)))
    return section("Paired differences", "".join(parts))
