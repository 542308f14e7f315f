"""The one-page figure of a photograph: what every head attends to, by one weights or by several.

From CLS as in figure 3 of the paper, from given points as in figure 8, outlined as in figure 4.
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from dino_jax.interop.encoder import Encoder
from dino_jax.viz.attend.colour import Scale, Upsampling, masks, overlay, scale_of
from dino_jax.viz.attend.maps import Point, block_count, mean_of_heads
from dino_jax.viz.attend.picture import Picture
from dino_jax.viz.attend.sheet import Mark, Panel, Strip, write_sheet

_MOST_COLUMNS = 8


class Seen(NamedTuple):
    """One photograph as one network sees it."""

    encoder: Encoder
    block: int
    """Counted from 0."""
    picture: Picture
    maps: Float[np.ndarray, "queries heads rows columns"]
    """From CLS, then from the points (`maps.attention_maps`)."""

    @property
    def said(self) -> str:
        """Weights, block, and what it was read at."""
        height, width = self.picture.pixels.shape[:2]
        rows, columns = self.maps.shape[2:]
        final = block_count(self.encoder) - 1
        last = " (the last)" if self.block == final else f" of 0 to {final}"
        return (
            f"{self.encoder.name} · block {self.block}{last} · {width} × {height} pixels, "
            f"{columns} × {rows} patches of {height // rows}"
        )


class Style(NamedTuple):
    """How maps are drawn."""

    mass: float | None = 0.6
    """Share of the attention that is outlined; None: nothing is."""
    upsampling: Upsampling = "nearest"
    blend: float = 0.9
    head: int | None = None
    """None: the mean and all heads; else that head in their place."""


def write_figure(
    path: pathlib.Path, seen: Sequence[Seen], *, points: Sequence[Point] = (), style: Style
) -> Scale:
    """Write the page of one photograph, a strip or more of every weights, in one scale of colours.

    Without points a strip shows the mean and each head. With them the first strip shows the mean
    (or `style.head`) from CLS and from every point, and the others each head of each.
    """
    chosen = [one.maps if style.head is None else one.maps[:, style.head, None] for one in seen]
    scale = scale_of([mean_of_heads(each) for each in chosen] + chosen)
    strips: list[Strip] = []
    for one in seen:
        if points:
            strips.append(_by_point(one, points, style, scale))
        if not points or style.head is None:
            strips += [_by_head(one, query, points, style, scale) for query in range(len(one.maps))]
    most = max(len(strip.panels) for strip in strips)
    few = len(strips) == 1 and most > 5
    columns = -(-most // 2) if few or most > _MOST_COLUMNS else most
    whose = "CLS token" if not points else "CLS token and of the marked patches"
    title = f"{seen[0].picture.name}: attention of the {whose}"
    write_sheet(path, title, strips, scale=scale, note=_note(style), columns=columns)
    return scale


def panel_of(
    picture: Picture,
    attention: Float[np.ndarray, "rows columns"],
    caption: str,
    *,
    style: Style,
    scale: Scale,
    marks: tuple[Mark, ...] = (),
) -> Panel:
    """One map over its photograph, outlined where the style says so."""
    image = overlay(
        picture.image, attention, scale=scale, upsampling=style.upsampling, blend=style.blend
    )
    mask = None if style.mass is None else masks(attention, style.mass)
    return Panel(caption, image, mask, marks)


def _by_head(one: Seen, query: int, points: Sequence[Point], style: Style, scale: Scale) -> Strip:
    """The photograph, the mean over heads, and each head, from one token."""
    marks = _marks(points)[query - 1 : query] if query else ()
    maps = one.maps[query]
    from_ = f"from point {query}" if query else "from CLS"
    wanted = {"mean of heads": mean_of_heads(maps)} if style.head is None else {}
    heads = range(len(maps)) if style.head is None else (style.head,)
    wanted |= {f"head {head}": maps[head] for head in heads}
    panels = [Panel("photograph" if not points else from_, one.picture.image, None, marks)]
    panels += [
        panel_of(one.picture, each, caption, style=style, scale=scale, marks=marks)
        for caption, each in wanted.items()
    ]
    return Strip(one.said if not points else "", panels)


def _by_point(one: Seen, points: Sequence[Point], style: Style, scale: Scale) -> Strip:
    """The photograph with all points, and the map of each: figure 8 of the paper."""
    which = "mean of heads" if style.head is None else f"head {style.head}"
    marks = _marks(points)
    panels = [Panel("photograph", one.picture.image, None, marks)]
    for query, maps in enumerate(one.maps):
        attention = mean_of_heads(maps) if style.head is None else maps[style.head]
        caption = f"{which}, {f'from point {query}' if query else 'from CLS'}"
        own = marks[query - 1 : query] if query else ()
        panels.append(
            panel_of(one.picture, attention, caption, style=style, scale=scale, marks=own)
        )
    return Strip(one.said, panels)


def _marks(points: Sequence[Point]) -> tuple[Mark, ...]:
    return tuple(Mark(x, y, number) for number, (x, y) in enumerate(points, 1))


def _note(style: Style) -> str:
    outlined = "no outline"
    if style.mass is not None:
        outlined = f"blue outline: the patches that hold {100 * style.mass:g} % of each map"
    how = "a square a patch" if style.upsampling == "nearest" else "smoothed between patches"
    return f"{outlined}\n{how}; grey: no more than an even share; heads are counted from 0"
