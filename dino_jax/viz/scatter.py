"""A map of points in the plane: by colour and mark of their class, or with the class's name."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000", "#b8a800",
)  # fmt: skip
"""Okabe and Ito's, told apart by the colour-blind; their yellow darker, to be seen on white."""
MARKS = ("o", "s", "^", "D", "v", "P", "X")
"""One fewer than colours, so that the pairs do not repeat before the 56th class."""
LEGEND = 40
"""Classes that a legend names, at most; of more, the names stand where the classes lie."""
_PLACES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
"""Where a name may stand about its point, best first."""
_SIDE = 0.42  # inches of a photograph
_GAP = 4  # pixels between a name and what is beside it
_INCHES = 6.0  # of the map

Box = tuple[float, float, float, float]
"""Left, bottom, right, top in pixels."""


@runtime_checkable
class Drawing(Protocol):
    """What is drawn (`evals.protocols.tsne.Map`)."""

    points: Any
    """(n, 2)."""
    labels: Any
    """(n,) numbers into `class_names`, or None."""
    class_names: Sequence[str]
    named: bool
    """Whether every point is a class and bears its name."""
    thumbnails: Mapping[int, Any]
    """Photographs (h, w, channels) uint8 of some points."""
    title: str


def draw_scatter(drawing: Drawing, path: str | pathlib.Path, *, pixels_per_inch: int = 200) -> None:
    """Write a picture of the points; the axes have no unit, so they bear no ticks.

    Names that would lie over another are left out, the densest places first; their points stay.
    The folder is made if it is missing; the suffix of `path` says the format.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points = np.asarray(drawing.points, np.float64)
    labels = None if drawing.labels is None else np.asarray(drawing.labels)
    present = [] if labels is None else [int(label) for label in np.unique(labels)]
    legend = 0 < len(present) <= LEGEND and not drawing.named
    middle, half = _extent(points, 0.75 if drawing.named else 0.4)  # names take room
    wide, high = _INCHES * half / half.max()
    figure = Figure(figsize=(wide + 1.7 * legend, high + 0.4), dpi=pixels_per_inch)
    canvas = FigureCanvasAgg(figure)
    axis = figure.add_axes((0, 0, wide / (wide + 1.7 * legend), high / (high + 0.4)))
    axis.set(
        xlim=(middle[0] - half[0], middle[0] + half[0]), xticks=[],
        ylim=(middle[1] - half[1], middle[1] + half[1]), yticks=[],
    )  # fmt: skip
    axis.spines[:].set(color="0.8", linewidth=0.6)
    axis.set_title(drawing.title, fontsize=9, parse_math=False, wrap=True)
    size = float(np.clip(9000 / max(len(points), 1), 5, 44))
    if labels is None or drawing.named:
        x, y = points.T
        axis.scatter(x, y, s=min(size, 26), color=COLOURS[0], alpha=0.85, lw=0, zorder=3)
    else:
        _classes(axis, points, labels, drawing.class_names, size)
    frames = _frames(None if drawing.named else labels, present, len(points))
    canvas.draw()  # from here on data and pixels keep their relation
    pictured = _photographs(canvas, axis, points, drawing.thumbnails, frames)
    if drawing.named and labels is not None:
        names = {k: _name(drawing.class_names, int(label)) for k, label in enumerate(labels)}
        _write_names(canvas, axis, points, names, pictured)
    elif legend:
        axis.legend(
            loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8,
            ncols=1 if len(present) <= 24 else 2, handletextpad=0.3, markerscale=1.3,
        )  # fmt: skip
    elif labels is not None:
        centres = np.array([np.median(points[labels == label], axis=0) for label in present])
        names = {k: _name(drawing.class_names, label) for k, label in enumerate(present)}
        _write_names(canvas, axis, centres, names, {})
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=pixels_per_inch, bbox_inches="tight", pad_inches=0.06)


def _extent(points: Float[np.ndarray, "n 2"], slender: float) -> tuple[Any, Any]:
    """The middle of the map and half its sides: the points', some margin, and no more `slender`."""
    low, high = points.min(axis=0), points.max(axis=0)
    sides = np.maximum(high - low, 1e-6)
    return (low + high) / 2, 0.56 * np.maximum(sides, slender * sides.max())


def _classes(
    axis: Any, points: Float[np.ndarray, "n 2"], labels: Any, names: Sequence[str], size: float
) -> None:
    for place, label in enumerate(np.unique(labels)):
        own = points[labels == label]
        axis.scatter(
            *own.T, s=size, color=COLOURS[place % len(COLOURS)], marker=MARKS[place % len(MARKS)],
            alpha=0.75, lw=0, zorder=3, label=_literal(_name(names, int(label))),
        )  # fmt: skip


def _frames(labels: Any, present: Sequence[int], count: int) -> list[str]:
    """What frames the photograph of each point: the colour of its class, grey without classes."""
    if labels is None:
        return ["0.3"] * count
    of_class = {label: COLOURS[place % len(COLOURS)] for place, label in enumerate(present)}
    return [of_class[int(label)] for label in labels]


def _photographs(
    canvas: Any, axis: Any, points: Any, thumbnails: Mapping[int, Any], frames: Sequence[str]
) -> dict[int, Box]:
    """Draw those that cover no other one, the first first; returns where they are, by point."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    dots = axis.transData.transform(points).tolist()
    half = canvas.get_renderer().points_to_pixels(72 * _SIDE / 2 + 2)
    placed: dict[int, Box] = {}
    for place, image in thumbnails.items():
        x, y = dots[place]
        box = (x - half, y - half, x + half, y + half)
        if any(_overlap(box, other) for other in placed.values()):
            continue
        placed[place] = box
        pixels = image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
        picture = OffsetImage(pixels, zoom=72 * _SIDE / max(pixels.shape[:2]), resample=True)
        look = {"edgecolor": frames[place], "linewidth": 1.6 if len({*frames}) > 1 else 0.5}
        drawn = AnnotationBbox(picture, tuple(points[place]), pad=0.1, bboxprops=look, zorder=4)
        axis.add_artist(drawn)
    return placed


def _write_names(
    canvas: Any, axis: Any, points: Any, names: Mapping[int, str], pictured: Mapping[int, Box]
) -> None:
    """Write each name where it covers no other, no photograph and no point, or not at all."""
    renderer = canvas.get_renderer()
    dots = axis.transData.transform(points)
    size = 8 if len(points) <= 40 else 6.5 if len(points) <= 150 else 5
    frame, taken = axis.get_window_extent(renderer), list(pictured.values())
    crowding = np.linalg.norm(dots[:, None] - dots[None], axis=-1)
    np.fill_diagonal(crowding, np.inf)
    for place in map(int, np.argsort(-crowding.min(axis=1, initial=np.inf), kind="stable")):
        reach = renderer.points_to_pixels(72 * _SIDE / 2 + 4 if place in pictured else 4.0)
        text = axis.text(0, 0, names[place], fontsize=size, parse_math=False, zorder=5)
        extent = text.get_window_extent(renderer)
        box = _free(dots[place], (extent.width, extent.height), reach, (taken, dots, frame))
        if box is None:
            text.remove()
            continue
        taken.append(box)
        # The corner of what is drawn does not lie where the text is anchored.
        anchor = axis.transData.transform((0, 0)) - (extent.x0, extent.y0)
        text.set_position(axis.transData.inverted().transform(box[:2] + anchor))


def _free(
    dot: Any, size: tuple[float, float], reach: float, obstacles: tuple[list[Box], Any, Any]
) -> Box | None:
    """The first place about a dot where a box of that size covers nothing, in pixels."""
    taken, dots, frame = obstacles
    width, height = size
    for right, up in _PLACES:
        gap = reach if right == 0 or up == 0 else 0.7 * reach
        x = float(dot[0] + right * gap - width * (1 - right) / 2)
        y = float(dot[1] + up * gap - height * (1 - up) / 2)
        box: Box = (x, y, x + float(width), y + float(height))
        if x < frame.x0 or y < frame.y0 or box[2] > frame.x1 or box[3] > frame.y1:
            continue
        grown = (x - _GAP, y - _GAP, box[2] + _GAP, box[3] + _GAP)
        if any(_overlap(grown, other) for other in taken):
            continue
        inside = (dots > np.array(grown[:2])) & (dots < np.array(grown[2:]))
        if not inside.all(axis=1).any():
            return box
    return None


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _name(names: Sequence[str], label: int) -> str:
    return names[label] if label < len(names) else str(label)


def _literal(name: str) -> str:
    """A name in a legend, where a $ would begin a formula and a _ hide the entry."""
    shown = name.replace("$", r"\$")
    return f"\u200b{shown}" if shown.startswith("_") else shown
