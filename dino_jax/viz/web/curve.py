"""One curve: its points, thinned out where there are many, as a path with gaps and marks."""

import bisect
import functools
import math
from collections.abc import Callable, Iterator, Sequence

from dino_jax.viz.web.page import Html
from dino_jax.viz.web.scale import LARGEST
from dino_jax.viz.web.tokens import LINES

MOST = 600
"""Points of a curve that are drawn."""
_MARKS = 4
"""How often a curve bears its mark."""
_SHAPES = (
    "M-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0-6.4 0z",  # circle
    "M-2.9-2.9h5.8v5.8h-5.8z",  # square
    "M0-3.9L3.7 2.6H-3.7z",  # triangle
    "M0-4.1L4.1 0L0 4.1L-4.1 0z",  # diamond
    "M0 3.9L3.7-2.6H-3.7z",  # triangle on its point
    "M-3.4-3.4L3.4 3.4M-3.4 3.4L3.4-3.4",  # cross
    "M-4 0H4M0-4V4",  # plus
    "M-4.4-1.9h8.8v3.8h-8.8z",  # bar
)
"""About (0, 0), by which curves are told apart without colours."""


class Drawn:
    """The points of a curve that are drawn; a y of NaN is a gap."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        """Points in the order of x, which is finite."""
        self.points = tuple(points)
        self.x = [x for x, _ in points]

    @functools.cached_property
    def values(self) -> list[float]:
        """Of y, without gaps."""
        return [y for _, y in self.points if not math.isnan(y)]

    @property
    def last(self) -> float:
        """The last value of y; NaN where there is none."""
        return self.values[-1] if self.values else math.nan

    def svg(
        self,
        across: Callable[[float], float],
        up: Callable[[float], float],
        *,
        colour: int,
        dashed: bool,
        faint: bool,
        shift: float,
    ) -> str:
        """The curve and its marks, given where values lie; `shift` (0 to 1) moves the marks."""
        stroke = f"var(--line-{colour % LINES})"
        kind = f"{' dashed' if dashed else ''}{' faint' if faint else ''}"
        placed = [[(across(x), up(y)) for x, y in part] for part in self._parts()]
        path = "".join(
            "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in part) for part in placed if len(part) > 1
        )
        drawn = f'<path class="curve{kind}" stroke="{stroke}" d="{path}"/>\n' if path else ""
        alone = [part[0] for part in placed if len(part) == 1]
        every = [] if faint else [point for part in placed for point in part]
        spots = alone + _spread(every, shift)
        return drawn + "".join(
            f'<g transform="translate({x:.1f} {y:.1f})">{mark(colour, dashed=dashed)}</g>\n'
            for x, y in spots
        )

    def _parts(self) -> Iterator[list[tuple[float, float]]]:
        """The pieces between gaps."""
        part: list[tuple[float, float]] = []
        for point in self.points:
            if not math.isnan(point[1]):
                part.append(point)
            elif part:
                yield part
                part = []
        if part:
            yield part


def prepared(x: Sequence[float], y: Sequence[float | None], *, above: float = -math.inf) -> Drawn:
    """A curve to be drawn: in the order of x, at most `MOST` points, NaN for what is not `above`.

    Raises:
        ValueError: there are more values of one than of the other.
    """
    points = [
        (a, float(b) if b is not None and above < b and abs(b) < LARGEST else math.nan)
        for a, b in zip(x, y, strict=True)
        if abs(a) < LARGEST
    ]
    return Drawn(_thinned(sorted(points, key=lambda point: point[0])))


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of each of equally many points the first, the last, the least, the greatest and a gap."""
    if len(points) <= MOST:
        return points
    kept: list[tuple[float, float]] = []
    parts = MOST // 5
    for part in range(parts):
        start, stop = (len(points) * n // parts for n in (part, part + 1))
        full = [n for n in range(start, stop) if not math.isnan(points[n][1])]
        gaps = [n for n in range(start, stop) if math.isnan(points[n][1])]
        chosen = set(gaps[:1])
        if full:
            least = min(full, key=lambda n: points[n][1])
            chosen |= {full[0], full[-1], least, max(full, key=lambda n: points[n][1])}
        kept += [points[n] for n in sorted(chosen)]
    return kept


def _spread(points: Sequence[tuple[float, float]], shift: float) -> list[tuple[float, float]]:
    """Points that lie about evenly across the whole, for the marks."""
    if len(points) < 2:
        return []
    first, wide = points[0][0], points[-1][0] - points[0][0]
    wanted = [first + wide * (n + shift) / _MARKS for n in range(_MARKS)]
    across = [x for x, _ in points]
    places = (min(bisect.bisect_left(across, each), len(points) - 1) for each in wanted)
    return [points[place] for place in dict.fromkeys(places)]


def mark(colour: int, *, dashed: bool = False) -> Html:
    """The mark of a colour about (0, 0); of a dashed curve it is hollow."""
    stroke = f"var(--line-{colour % LINES})"
    kind = "mark dashed" if dashed else "mark"
    fill = "" if dashed else f' fill="{stroke}"'
    shape = _SHAPES[colour % len(_SHAPES)]
    return Html(f'<path class="{kind}" stroke="{stroke}"{fill} d="{shape}"/>')


def key(colour: int, *, dashed: bool = False) -> Html:
    """What stands before a name in a legend: a piece of the curve with its mark."""
    kind = " dashed" if dashed else ""
    return Html(
        '<svg xmlns="http://www.w3.org/2000/svg" class="key" viewBox="-19 -6 38 12" '
        f'aria-hidden="true"><path class="curve{kind}" stroke="var(--line-{colour % LINES})" '
        f'd="M-18 0H18"/>{mark(colour, dashed=dashed)}</svg>'
    )
