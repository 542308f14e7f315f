"""Curves as static inline SVG: axes, round ticks, named levels, gaps, and a legend with values.

It is read without a script, in light and dark, at the width of a phone, in greyscale (each colour
has its mark) and by a screen reader; `page` adds the values under the pointer.
"""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from dino_jax.viz.web.curve import Drawn, key, prepared
from dino_jax.viz.web.page import Html, escaped
from dino_jax.viz.web.scale import LARGEST, SMALLEST, Scale, ends, number, scale

WIDTH, HEIGHT = 400, 250
"""Of the view box. At 336 px, what a phone leaves, text of 13.6 units is 11.4 px high."""
_TOP, _BOTTOM, _RIGHT = 26, 36, 8
_CHARACTER = 8.7  # the width of a digit in a wide font, in the same units
_LINE = 14.5  # the height of a line of text


class Line(NamedTuple):
    """A curve: values of y, NaN or None where there is a gap, at values of x."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    colour: int = 0
    """Its number; each has its own mark too."""
    dashed: bool = False
    faint: bool = False
    """Whether it stands behind others, as the values of which another is the mean: pale, without
    marks, and not in the legend."""


class _Plot(NamedTuple):
    """The axes and where they lie in the view box."""

    x: Scale
    y: Scale
    left: float

    def across(self, value: float) -> float:
        return self.left + (WIDTH - _RIGHT - self.left) * self.x.at(value)

    def up(self, value: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _BOTTOM - _TOP) * self.y.at(value)


def chart(
    lines: Sequence[Line],
    *,
    x: str,
    y: str,
    title: str,
    levels: Mapping[str, float] | None = None,
    log: bool = False,
) -> Html:
    """A `<figure>` with curves, their values under the pointer and, without one, their last ones.

    Args:
        lines: up to 600 points of each are drawn, the extremes among them.
        x: what the horizontal axis counts, as in "step".
        y: what the vertical axis shows, with its unit, if any.
        title: above the picture.
        levels: horizontal lines by name, as in {"ln K = 6.24": 6.24}; the axis reaches them. The
            name may be empty.
        log: a logarithmic vertical axis; there, what is not positive is a gap.
    """
    lowest = SMALLEST if log else -math.inf
    drawn = [prepared(line.x, line.y, above=lowest) for line in lines]
    shown = {
        name: value
        for name, value in (levels or {}).items()
        if lowest < value and abs(value) < LARGEST
    }
    plot = _plot(drawn, shown, log=log)
    if plot is None:
        empty = f'<p class="note">no {escaped(y or title)} yet</p>'
        return Html(f'<figure class="chart">\n{_title(title)}{empty}\n</figure>\n')
    paths = "".join(
        points.svg(
            plot.across, plot.up, colour=line.colour, dashed=line.dashed, faint=line.faint,
            shift=(number + 0.5) / len(lines),
        )
        for number, (line, points) in enumerate(zip(lines, drawn, strict=True))
    )  # fmt: skip
    told = [(line, points) for line, points in zip(lines, drawn, strict=True) if not line.faint]
    spoken = f"<title>{escaped(title or y)}</title><desc>{_described(told, x, y)}</desc>"
    picture = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" role="img" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}">{spoken}\n{_axes(plot, x, y)}'
        f"{_level_lines(plot, shown)}{paths}{_level_names(plot, shown, drawn)}</svg>\n"
    )
    return Html(
        f'<figure class="chart" {_data(plot, [points for _, points in told], x)}>\n'
        f"{_title(title)}{picture}{_legend(told)}</figure>\n"
    )


def with_mean(line: Line) -> list[Line]:
    """A noisy curve as a faint one, and before it the mean of the nearest values, a 25th of them.

    A curve of fewer than 75 values stays as it is. What is no number is left out of the means.
    """
    half = len(line.y) // 50
    if len(line.y) < 75:
        return [line]
    numbers = [math.nan if y is None or abs(y) > LARGEST else float(y) for y in line.y]
    sums, counts = [0.0], [0]
    for value in numbers:
        sums.append(sums[-1] + (0.0 if math.isnan(value) else value))
        counts.append(counts[-1] + (not math.isnan(value)))
    means = []
    for place, value in enumerate(numbers):
        reach = min(half, place, len(numbers) - 1 - place)  # as far on either side, so no lag
        low, high = place - reach, place + reach + 1
        known = 1 if math.isnan(value) else counts[high] - counts[low]
        means.append(math.nan if math.isnan(value) else (sums[high] - sums[low]) / known)
    return [line._replace(faint=True), line._replace(y=means)]


def _plot(drawn: Sequence[Drawn], levels: Mapping[str, float], *, log: bool) -> _Plot | None:
    xs = ends(x for each in drawn for x, y in each.points if not math.isnan(y))
    ys = ends(y for each in drawn for y in each.values)
    if xs is None or ys is None:
        return None
    reached = sorted([*ys, *levels.values()])
    upright = scale(reached[0], reached[-1], log=log)
    from_zero = 0 if 0 < xs[0] < 0.1 * xs[1] else xs[0]
    margin = 10 + _CHARACTER * max(map(len, upright.labels))
    return _Plot(scale(from_zero, xs[1], cover=False), upright, min(margin, WIDTH / 3))


def _title(title: str) -> str:
    return f'<p class="title">{escaped(title)}</p>\n' if title else ""


def _axes(plot: _Plot, x: str, y: str) -> str:
    left, right, base = plot.left, WIDTH - _RIGHT, HEIGHT - _BOTTOM
    parts = []
    for value, label in zip(plot.y.ticks, plot.y.labels, strict=True):
        at = plot.up(value)
        parts.append(
            f'<line class="grid-line" x1="{left:.1f}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text x="{left - 5:.1f}" y="{at + 4:.1f}" text-anchor="end">{label}</text>\n'
        )
    free = 0.0
    for value, label in zip(plot.x.ticks, plot.x.labels, strict=True):
        at, half = plot.across(value), _CHARACTER * len(label) / 2
        if at - half < free:  # it would touch the one before
            continue
        free = at + half + _CHARACTER
        place = min(at, WIDTH - half)
        parts.append(
            f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{base}" y2="{base + 4}"/>'
            f'<text x="{place:.1f}" y="{base + 16}" text-anchor="middle">{label}</text>\n'
        )
    parts.append(f'<line class="axis" x1="{left:.1f}" x2="{right}" y1="{base}" y2="{base}"/>\n')
    unit = f"{y} (log)" if plot.y.log else y
    parts.append(f'<text x="0" y="12">{escaped(unit)}</text>\n')
    parts.append(f'<text x="{right}" y="{HEIGHT - 4}" text-anchor="end">{escaped(x)}</text>\n')
    return "".join(parts)


def _level_lines(plot: _Plot, levels: Mapping[str, float]) -> str:
    return "".join(
        f'<line class="level" x1="{plot.left:.1f}" x2="{WIDTH - _RIGHT}" '
        f'y1="{plot.up(value):.1f}" y2="{plot.up(value):.1f}"/>\n'
        for value in levels.values()
    )


def _level_names(plot: _Plot, levels: Mapping[str, float], drawn: Sequence[Drawn]) -> str:
    """Each name on its line, where it covers the fewest points and no other name."""
    taken = [place for each in drawn for place in _passed(plot, each)]
    boxes: list[tuple[float, float, float, float]] = []
    parts = []
    named = [each for each in levels.items() if each[0]]
    for name, value in sorted(named, key=lambda each: -each[1]):
        width, at = _CHARACTER * len(name), plot.up(value)
        right = max(WIDTH - _RIGHT - width, 0.0)
        lefts = {"end": right, "start": plot.left + 4, "middle": (plot.left + right) / 2}
        choices = {
            (left, top, left + width, top + _LINE): anchor
            for top in (at - _LINE - 1.5, at + 2)
            if 0 < top < HEIGHT - _BOTTOM - _LINE + 4
            for anchor, left in lefts.items()
        }
        box = min(choices, key=lambda each: _covered(each, boxes, taken))
        boxes.append(box)
        place = {"end": box[2], "start": box[0], "middle": (box[0] + box[2]) / 2}[choices[box]]
        parts.append(
            f'<text class="level-name" x="{min(place, WIDTH):.1f}" y="{box[3] - 3.5:.1f}" '
            f'text-anchor="{choices[box]}">{escaped(name)}</text>\n'
        )
    return "".join(parts)


def _passed(plot: _Plot, drawn: Drawn) -> Iterator[tuple[float, float]]:
    """Where a curve passes, close enough that no name fits between."""
    places = [(plot.across(x), plot.up(y)) for x, y in drawn.points if not math.isnan(y)]
    yield from places[:1]
    for (x, y), (on, up) in itertools.pairwise(places):
        parts = math.ceil(max(abs(on - x), abs(up - y)) / 6) or 1
        for n in range(1, parts + 1):
            yield x + (on - x) * n / parts, y + (up - y) * n / parts


def _covered(
    box: tuple[float, float, float, float],
    others: Sequence[tuple[float, float, float, float]],
    points: Sequence[tuple[float, float]],
) -> int:
    left, top, right, bottom = box
    names = sum(left < o[2] and o[0] < right and top < o[3] and o[1] < bottom for o in others)
    return 10_000 * names + sum(left < x < right and top < y < bottom for x, y in points)


def _legend(told: Sequence[tuple[Line, Drawn]]) -> str:
    entries = "".join(
        f"<li>{key(line.colour, dashed=line.dashed)}<span>{escaped(line.name)}</span> "
        f'<span class="value">{number(points.last)}</span></li>\n'
        for line, points in told
    )
    return f'<ul class="legend">\n{entries}<li class="where">last values</li>\n</ul>\n'


def _data(plot: _Plot, drawn: Sequence[Drawn], x: str) -> str:
    """What the script looks values up in."""
    values = [[each.x, [number(y) for _, y in each.points]] for each in drawn]
    axis = [plot.left, WIDTH - _RIGHT, plot.x.low, plot.x.high]
    return (
        f'data-x="{escaped(x)}" data-base="{HEIGHT - _BOTTOM}" data-axis="{json.dumps(axis)}" '
        f'data-lines="{escaped(json.dumps(values, separators=(",", ":"), ensure_ascii=False))}"'
    )


def _described(told: Sequence[tuple[Line, Drawn]], x: str, y: str) -> str:
    """The curves in words."""
    said = [f"{y} by {x}."]
    for line, points in told:
        reach = ends(points.values)
        if reach is None:
            said.append(f"{line.name}: none.")
            continue
        said.append(
            f"{line.name}: {number(points.values[0])} at {number(points.x[0])}, "
            f"{number(points.last)} at {number(points.x[-1])}, "
            f"between {number(reach[0])} and {number(reach[1])}."
        )
    return escaped(" ".join(said))
