"""Queries and what is nearest to them, a row a query."""

import pathlib
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from dino_jax.viz.attend.picture import shown as three_channels

SAME, OTHER, UNKNOWN = "#0072b2", "#d55e00", "0.75"
"""Okabe and Ito's blue and vermilion; frames also differ by dashes, and bear a mark."""
MARKS = {True: "✓", False: "✗"}
_CELL = 1.0  # inches of an image
_GAP, _BETWEEN, _BELOW = 0.08, 0.3, 0.32  # inches between neighbours, after the query, for text
_HEAD = 0.3
_LETTERS = 17  # of a line under an image, at most


@runtime_checkable
class Drawing(Protocol):
    """What is drawn (`evals.protocols.neighbours.Sheet`)."""

    rows: Sequence[Sequence[Any]]
    """Of each query and then its neighbours: `pixels` (h, w, channels) uint8, `name`, `class_name`
    or None, `similarity` (None of the query) and `agrees` (None where classes are not known)."""
    title: str


def draw_sheet(drawing: Drawing, path: str | pathlib.Path, *, pixels_per_inch: int = 200) -> None:
    """Write a picture: queries at the left, neighbours with their cosines, the nearest first.

    A neighbour of the query's class has a solid blue frame and a tick, another a dashed vermilion
    one and a cross. The folder is made if it is missing; the suffix of `path` says the format.
    """
    from matplotlib.figure import Figure

    most = max(len(row) for row in drawing.rows)
    lefts = [0.0] + [_CELL + _BETWEEN + (_CELL + _GAP) * place for place in range(most - 1)]
    wide = lefts[-1] + _CELL
    high = _HEAD + _LEGEND * _known(drawing) + len(drawing.rows) * (_CELL + _BELOW)
    figure = Figure(figsize=(wide, high))
    figure.text(0.5, 1, drawing.title, fontsize=9, ha="center", va="top", parse_math=False)
    top = high - _HEAD
    if _known(drawing):
        _legend(figure, (wide, high, top))
        top -= _LEGEND
    for row in drawing.rows:
        for shown, left in zip(row, lefts, strict=False):
            _image(figure, shown, (left / wide, (top - _CELL) / high, _CELL / wide, _CELL / high))
        top -= _CELL + _BELOW
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=pixels_per_inch, bbox_inches="tight", pad_inches=0.06)


_LEGEND = 0.22


def _known(drawing: Drawing) -> bool:
    return any(shown.agrees is not None for row in drawing.rows for shown in row)


def _legend(figure: Any, place: tuple[float, float, float]) -> None:
    wide, high, top = place
    for same, left, said in ((True, 0.0, "of the query's class"), (False, 1.7, "of another")):
        figure.text(
            (_CELL + _BETWEEN + left) / wide, top / high, f"{MARKS[same]} {said}", fontsize=8,
            color=SAME if same else OTHER, va="top",
        )  # fmt: skip
    figure.text(0, top / high, "query", fontsize=8, va="top")


def _image(figure: Any, shown: Any, box: tuple[float, float, float, float]) -> None:
    axis = figure.add_axes(box)
    axis.imshow(three_channels(shown.pixels), interpolation="lanczos")
    axis.set(xticks=[], yticks=[])
    colour = {True: SAME, False: OTHER, None: UNKNOWN}[shown.agrees]
    known = shown.agrees is not None
    axis.spines[:].set(
        color=colour, linewidth=2.2 if known else 0.5,
        linestyle=(0, (3, 1.5)) if shown.agrees is False else "solid",
    )  # fmt: skip
    if known:
        axis.text(
            0.94, 0.94, MARKS[shown.agrees], transform=axis.transAxes, fontsize=8, color="white",
            ha="right", va="top", bbox={"facecolor": colour, "edgecolor": "white", "pad": 1.2},
        )  # fmt: skip
    lines = [short(shown.class_name or pathlib.PurePosixPath(shown.name).name)]
    if shown.similarity is not None:
        lines.insert(0, f"{shown.similarity:.3f}")
    axis.text(
        0.5, -0.04, "\n".join(lines), transform=axis.transAxes, fontsize=6.5, ha="center",
        va="top", parse_math=False, linespacing=1.15,
    )  # fmt: skip


def short(name: str) -> str:
    """A name in one line under an image: its end, where it is too long."""
    return name if len(name) <= _LETTERS else f"…{name[1 - _LETTERS :]}"
