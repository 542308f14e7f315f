"""Patch features as colours: the photograph, its foreground, and three components of that."""

import pathlib
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8

from dino_jax.viz.attend.picture import shown

FIRST = "cividis"
"""Of single components: even steps to the eye, in grey and to the colour-blind too."""
NAMES = ("red", "green", "blue")
_WIDTH = 8.0  # inches
_MARGIN = 0.16  # inches about a row, for its name
_GAP = 0.04  # inches between pictures
_HEAD, _LINE = 0.4, 0.15  # inches of the headings and the title's first line; of another line
_NAME = 70  # characters of a name, at most
_LONGEST = 700  # pixels of a drawn image
_EMPTY = 1.0  # white: where the background is


@runtime_checkable
class Drawing(Protocol):
    """What is drawn (`evals.protocols.pca.Sheet`)."""

    rows: Sequence[Any]
    """Of each image `name`, `image` (h, w, channels) uint8, `first` (rows, columns) and its
    `threshold`, `foreground` (rows, columns) bool, `colours` (rows, columns, 3) from 0 to 1, and
    `explained`, three shares."""
    across: bool
    title: str
    side: str
    """Which side of the first component is the foreground; empty: all is."""


def draw_components(
    drawing: Drawing, path: str | pathlib.Path, *, pixels_per_inch: int = 200
) -> None:
    """Write a picture: a row an image, its patches enlarged as they are.

    From the left: the image; the first component of all patches with the line of its threshold;
    three components of the foreground as red, green and blue; the same one by one. The folder is
    made if it is missing; the suffix of `path` says the format.
    """
    from matplotlib.figure import Figure

    columns = (1.0, 1.0, 1.0, 1 / 3)  # widths; the last holds three pictures
    unit = (_WIDTH - _GAP * (len(columns) - 1)) / sum(columns)
    heights = [unit * min(row.image.shape[0] / row.image.shape[1], 1) for row in drawing.rows]
    head = _HEAD + _LINE * (drawing.across or bool(drawing.side))
    whole = head + sum(heights) + (_MARGIN + _GAP) * len(heights)
    figure = Figure(figsize=(_WIDTH, whole))
    lefts = [(unit + _GAP) * place for place in range(len(columns))]
    top = whole - head
    _headings(figure, drawing, (lefts, unit, whole, head))
    for row, height in zip(drawing.rows, heights, strict=True):
        boxes = [(left, top - height, unit, height) for left in lefts[:3]]
        third = (height - 2 * _GAP) / 3
        boxes += [
            (lefts[3], top - third - (third + _GAP) * place, columns[3] * unit, third)
            for place in range(3)
        ]
        for picture, box in zip(_pictures(row), boxes, strict=True):
            axis = figure.add_axes((box[0] / _WIDTH, box[1] / whole, *_share(box, whole)))
            axis.imshow(picture, interpolation="nearest", extent=_extent(row), aspect="equal")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set(color="0.75", linewidth=0.4)
            if box is boxes[1]:
                _outline(axis, row)
        name = row.name if len(row.name) <= _NAME else f"…{row.name[1 - _NAME :]}"
        caption = name if drawing.across else f"{name}: {_explained(row.explained)}"
        figure.text(
            0, (top - height - 0.03) / whole, caption, fontsize=7, va="top", parse_math=False
        )
        top -= height + _MARGIN + _GAP
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=pixels_per_inch, bbox_inches="tight", pad_inches=0.05)


def _headings(
    figure: Any, drawing: Drawing, places: tuple[list[float], float, float, float]
) -> None:
    lefts, unit, whole, head = places
    told = [f"foreground: the side {drawing.side}"] if drawing.side else []
    told += [_explained(drawing.rows[0].explained)] if drawing.across else []
    title = "\n".join([drawing.title, *filter(None, ["; ".join(told)])])
    figure.text(
        0.5, 1, title, fontsize=8.5, ha="center", va="top", parse_math=False, wrap=True
    )  # fmt: skip
    first = "first component and its threshold" if drawing.side else "first component"
    of = "of the foreground" if drawing.side else "of all patches"
    headings = ("image", first, f"three components {of}", "one by one")
    for left, wide, heading in zip(lefts, (unit, unit, unit, unit / 3), headings, strict=True):
        figure.text(
            (left + wide / 2) / _WIDTH, 1 - (head - 0.06) / whole, heading, fontsize=7.5,
            ha="center", va="bottom",
        )  # fmt: skip


def _explained(shares: Sequence[float]) -> str:
    each = ", ".join(
        f"{name} {100 * share:.0f} %" for name, share in zip(NAMES, shares, strict=True)
    )
    return f"{each} of the variance"


def _share(box: tuple[float, float, float, float], whole: float) -> tuple[float, float]:
    return box[2] / _WIDTH, box[3] / whole


def _extent(row: Any) -> tuple[float, float, float, float]:
    """Patches as units: pictures of any resolution lie over each other."""
    rows, columns = row.first.shape
    return (0.0, float(columns), float(rows), 0.0)


def _pictures(row: Any) -> list[Float[np.ndarray, "_ _ _"] | UInt8[np.ndarray, "_ _ 3"]]:
    import matplotlib as mpl

    scheme = mpl.colormaps[FIRST]
    low, high = row.first.min(), row.first.max()
    first = scheme((row.first - low) / max(high - low, 1e-12))[..., :3]
    single = [_on_white(scheme(row.colours[..., k])[..., :3], row.foreground) for k in range(3)]
    return [_shown(row.image), first, _on_white(row.colours, row.foreground), *single]


def _on_white(
    colours: Float[np.ndarray, "rows columns 3"], kept: Bool[np.ndarray, "rows columns"]
) -> Float[np.ndarray, "rows columns 3"]:
    return np.where(kept[..., None], colours, _EMPTY)


def _outline(axis: Any, row: Any) -> None:
    """The edges between the foreground's patches and the others, dark on light on any ground."""
    if row.foreground.all():
        return
    lines = edges(row.foreground)
    for colour, wide in (("black", 1.6), ("white", 0.8)):
        for line in lines:
            axis.plot(*line, color=colour, lw=wide, solid_capstyle="butt")


def edges(
    kept: Bool[np.ndarray, "rows columns"],
) -> list[tuple[list[float], list[float]]]:
    """The sides that patches of `kept` share with others, as (x of both ends, y of both ends)."""
    found: list[tuple[list[float], list[float]]] = []
    for row, column in np.argwhere(kept[:, 1:] != kept[:, :-1]).tolist():
        found.append(([column + 1.0, column + 1.0], [row + 0.0, row + 1.0]))
    for row, column in np.argwhere(kept[1:] != kept[:-1]).tolist():
        found.append(([column + 0.0, column + 1.0], [row + 1.0, row + 1.0]))
    return found


def _shown(image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "_ _ 3"]:
    """RGB, made smaller where it is larger than can be seen."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(shown(image)))
    picture.thumbnail((_LONGEST, _LONGEST), Image.Resampling.LANCZOS)
    return np.asarray(picture)
