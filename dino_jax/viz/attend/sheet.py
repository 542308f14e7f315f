"""Panels in strips on one page, each an image with what is drawn on it."""

import pathlib
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from dino_jax.files import whole
from dino_jax.viz.attend.colour import CATEGORIES, OUTLINE, Scale, colour_bar, contours

WIDTH = 9.0
"""Inches of a page."""
_MARGIN, _GAP = 0.08, 0.05
_HEADING, _CAPTION = 0.26, 0.17  # heights of a line above a strip, and above a panel
_FOOT = 0.52
_TALLEST = 2.2  # of a panel, times its width
_WIDEST = 3.0  # inches of a panel


class Mark(NamedTuple):
    """A cross: x and y in shares of the panel, and the number that says its colour."""

    x: float
    y: float
    number: int


class Panel(NamedTuple):
    """One image, under a caption."""

    caption: str
    image: UInt8[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "rows columns"] | None = None
    """What is outlined."""
    marks: tuple[Mark, ...] = ()


class Strip(NamedTuple):
    """Panels that belong together, under a heading; all of one shape."""

    heading: str
    panels: Sequence[Panel]


def write_sheet(
    path: pathlib.Path,
    title: str,
    strips: Sequence[Strip],
    *,
    scale: Scale | None = None,
    note: str = "",
    columns: int | None = None,
    pixels_per_inch: int = 200,
) -> None:
    """Write a page: a title, the strips one below the other, the scale of the colours and a note.

    A strip that has more panels than `columns` goes on in further lines. The file is whole or not
    there; its suffix says the format (png, pdf, svg).
    """
    from matplotlib.figure import Figure

    columns = columns or max(len(strip.panels) for strip in strips)
    cells = [_cell(strip, columns) for strip in strips]
    lines = [-(-len(strip.panels) // columns) for strip in strips]
    captioned = [_CAPTION * any(panel.caption for panel in strip.panels) for strip in strips]
    headed = [_HEADING * bool(strip.heading) for strip in strips]
    blocks = [
        head + number * (cell[1] + caption + _GAP)
        for head, number, cell, caption in zip(headed, lines, cells, captioned, strict=True)
    ]
    above = _MARGIN + _HEADING * (1 + title.count("\n"))
    height = above + sum(blocks) + (_FOOT if scale or note else _MARGIN)
    page = _Page(Figure(figsize=(WIDTH, height)), height)
    page.text(_MARGIN, _MARGIN, title, size=9)
    for strip, cell, head, caption, block in zip(
        strips, cells, headed, captioned, blocks, strict=True
    ):
        page.text(_MARGIN, above + 0.06, strip.heading, size=8)
        for number, panel in enumerate(strip.panels):
            line, column = divmod(number, columns)
            left = _MARGIN + column * (cell[0] + _GAP)
            top = above + head + line * (cell[1] + caption + _GAP)
            page.panel(panel, (left, top, *cell), caption)
        above += block
    if scale is not None:
        colour_bar(page.figure, page.axis(_MARGIN + 0.05, above + 0.1, 2.6, 0.09), scale)
    page.text(_MARGIN + (3.0 if scale else 0), above + 0.08, note, size=7)
    page.save(path, pixels_per_inch)


def _cell(strip: Strip, columns: int) -> tuple[float, float]:
    """Width and height of the strip's panels in inches."""
    wide = min((WIDTH - 2 * _MARGIN - (columns - 1) * _GAP) / columns, _WIDEST)
    ratio = strip.panels[0].image.shape[0] / strip.panels[0].image.shape[1]
    high = min(wide * ratio, wide * _TALLEST)
    return high / ratio, high


class _Page:
    """A figure measured in inches from its top left."""

    def __init__(self, figure: Any, height: float) -> None:
        self.figure, self.height = figure, height

    def axis(self, left: float, top: float, width: float, height: float) -> Any:
        bottom = self.height - top - height
        return self.figure.add_axes(
            (left / WIDTH, bottom / self.height, width / WIDTH, height / self.height)
        )

    def text(self, left: float, top: float, text: str, *, size: float) -> None:
        """Write lines whose first stands in a line with others of its `top`."""
        first = 1 - (top + size / 72) / self.height
        for number, line in enumerate(_printable(text).split("\n")):
            at = left / WIDTH, first - 1.4 * number * size / 72 / self.height
            # A file's name may hold a $, which would begin a formula.
            self.figure.text(*at, line, fontsize=size, va="baseline", parse_math=False)

    def panel(self, panel: Panel, at: tuple[float, float, float, float], caption: float) -> None:
        from matplotlib.collections import LineCollection

        left, top, width, height = at
        axis = self.axis(left, top + caption, width, height)
        axis.imshow(panel.image, extent=(0, 1, 1, 0), aspect="auto", interpolation="antialiased")
        axis.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        self.text(left, top + 0.03, panel.caption, size=7)
        if panel.mask is not None and panel.mask.any():
            shares = np.array(panel.mask.shape[::-1], np.float64)
            lines = contours(panel.mask) / shares[None, None]
            axis.add_collection(LineCollection(list(lines), colors=OUTLINE, linewidths=0.55))
        for mark in panel.marks:
            _draw_mark(axis, mark)

    def save(self, path: pathlib.Path, pixels_per_inch: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings(), whole(path) as unfinished:
            warnings.filterwarnings("ignore", message="Glyph")  # a name in a script without a font
            self.figure.savefig(unfinished, dpi=pixels_per_inch)


def _draw_mark(axis: Any, mark: Mark) -> None:
    colour = CATEGORIES[(mark.number - 1) % len(CATEGORIES)]
    for look in ({"color": "black", "mew": 3.4, "ms": 9.0}, {"color": colour, "mew": 1.9, "ms": 8}):
        axis.plot(mark.x, mark.y, marker="+", clip_on=False, **look)
    aside = -1 if mark.x > 0.85 else 1, -1 if mark.y < 0.15 else 1
    axis.annotate(
        str(mark.number), (mark.x, mark.y), xytext=(5 * aside[0], 5 * aside[1]),
        textcoords="offset points", ha="center", va="center", fontsize=6, color="black",
        bbox={"boxstyle": "circle,pad=0.15", "fc": colour, "ec": "black", "lw": 0.5},
    )  # fmt: skip


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
