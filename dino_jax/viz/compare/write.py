"""The page that compares runs, and the same in short for a terminal."""

import pathlib
from collections.abc import Sequence

from dino_jax.config import UserError
from dino_jax.files import made, whole
from dino_jax.viz.compare.attention import STYLE, attention
from dino_jax.viz.compare.curves import curves
from dino_jax.viz.compare.paired import Measured, paired
from dino_jax.viz.compare.paired import columns as paired_columns
from dino_jax.viz.compare.runs import Run
from dino_jax.viz.compare.scores import columns, scores, tables
from dino_jax.viz.compare.settings import differences, same_images, settings
from dino_jax.viz.web.page import Html, escaped, page, paragraph, table

_WIDEST = 40
"""Characters of a cell in a terminal."""


def checked_out(text: str) -> pathlib.Path:
    """The file to write: `text`, or compare.html in it if it is a folder.

    Raises:
        UserError: it is called something else than .html.
    """
    path = pathlib.Path(text).expanduser()
    if path.is_dir():
        path = path / "compare.html"
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--out={text} is no page: name a file that ends in .html, or a folder")
    return path


def write_comparison(
    path: pathlib.Path, runs: Sequence[Run], *, axis: str, measured: Sequence[Measured] = ()
) -> pathlib.Path:
    """Write the page, whole or not at all, making its folder.

    `axis` is a key of `runs.AXES`. Raises `UserError` where the folder cannot be written into.
    """
    made(path.parent)
    text = comparison(path, runs, axis, measured)
    try:
        with whole(path) as unfinished:
            unfinished.write_text(text)
    except OSError as error:
        raise UserError(
            f"--out={path} cannot be written ({error.strerror}): name another file"
        ) from error
    return path


def comparison(
    path: pathlib.Path, runs: Sequence[Run], axis: str, measured: Sequence[Measured]
) -> str:
    """The page that is to lie at `path`."""
    names = ", ".join(run.name for run in runs)
    parts = [
        _about(runs),
        settings(runs),
        scores(runs, axis),
        paired(runs, path, measured),
        curves(runs, axis),
        attention(runs),
    ]
    return page(f"Runs compared: {names}", "".join(parts), style=STYLE)


def _about(runs: Sequence[Run]) -> Html:
    """What must be known first: other images, damage, and how far each run is."""
    parts = [
        paragraph(Html(f"<strong>{escaped(each)}</strong>"), kind="bad") for each in warnings(runs)
    ]
    heads = ["run", "step", "of", "epoch", "images seen", "hours", "state"]
    rows = [
        [
            run.name, run.step, run.steps, run.place("epoch"),
            int(run.place("images")), f"{run.place('hours'):.2f}", state(run),
        ]
        for run in runs
    ]  # fmt: skip
    return Html("".join(parts) + table(heads, rows))


def warnings(runs: Sequence[Run]) -> list[str]:
    """What is easily misread, a sentence each."""
    found = []
    if not same_images(runs):
        found.append(
            "The runs do not name the same images, or not as many: their scores and losses are of "
            "different tasks, unless the same images lie elsewhere."
        )
    if len({run.config.head.prototypes for run in runs}) > 1:
        found.append(
            "The runs have different numbers of prototypes K: losses and entropies reach up to "
            "different ln K and are not to be compared as they are."
        )
    found += [
        f"metrics.jsonl of {run.name} is damaged after step {run.step:,}: shown up to there."
        for run in runs
        if run.damaged
    ]
    found += [f"{run.name}: {fault}" for run in runs for fault in run.faults]
    return found


def state(run: Run) -> str:
    """Whether the run came to its end, and whether it collapsed."""
    if not run.ended:
        return "goes on, or was killed"
    if run.summary.get("collapse"):
        return f"collapsed: {run.summary['collapse']}"
    return "finished" if run.finished else "stopped"


def summary(runs: Sequence[Run], axis: str, measured: Sequence[Measured] = ()) -> str:
    """What differs and the scores, for a terminal."""
    differing = [[each.path, *each.values] for each in differences(runs)]
    names = [run.name for run in runs]
    lines = [f"note: {each}" for each in warnings(runs)]
    if differing:
        lines += ["", *aligned(["config", *names], differing)]
    else:
        lines += ["", "the configurations are the same"]
    for shown in tables(runs, axis):
        lines += ["", shown.caption, *aligned(*columns(shown, runs))]
    for each in measured:
        lines += ["", *aligned(*paired_columns(each, runs))]
    return "\n".join(lines).strip() + "\n"


def aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns under each other, the first to the left, the others to the right."""
    cells = [[_short(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for first, *rest in cells:
        padded = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *padded]).rstrip())
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST else f"…{text[1 - _WIDEST :]}"
