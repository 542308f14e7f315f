"""Two images beside each other, and lines between what matches."""

import pathlib
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8

from dino_jax.viz.attend.picture import shown

COLOURS = "viridis"
"""By where a match lies along the diagonal of the first image: lines that cross stand out."""
_WIDTH = 8.0  # inches
_GAP = 0.02  # between the images, of their joint width
_LONGEST = 1200  # pixels of a drawn image


@runtime_checkable
class Drawing(Protocol):
    """What is drawn (`evals.protocols.correspond.Pairs`)."""

    images: Any
    """Two arrays (h, w, channels) uint8."""
    first: Any
    """(n, 2): x and y in pixels of the first image, most similar first."""
    second: Any
    similarity: Any
    drawn: int
    title: str


def draw_matches(drawing: Drawing, path: str | pathlib.Path, *, pixels_per_inch: int = 200) -> None:
    """Write a picture: both images at one height, a dot a match, lines between `drawn` of them.

    The lines are of the most similar matches that lie apart in the first image. The folder is made
    if it is missing; the suffix of `path` says the format.
    """
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    heights, widths = zip(*(image.shape[:2] for image in drawing.images), strict=True)
    second_wide = widths[1] / heights[1]  # at a height of 1
    first_wide = widths[0] / heights[0]
    gap = _GAP * (first_wide + second_wide)
    whole = first_wide + gap + second_wide
    figure = Figure(figsize=(_WIDTH, _WIDTH / whole + 0.3))
    axis = figure.add_axes((0, 0, 1, (_WIDTH / whole) / (_WIDTH / whole + 0.3)))
    left = (0.0, first_wide + gap)
    for image, start, wide in zip(drawing.images, left, (first_wide, second_wide), strict=True):
        axis.imshow(_shown(image), extent=(start, start + wide, 1, 0), interpolation="lanczos")
    axis.set(xlim=(0, whole), ylim=(1, 0))
    axis.set_axis_off()
    # A pixel's centre lies half a pixel from its corner.
    ends = [
        (np.asarray(points, float) + 0.5) / height + np.array([start, 0.0])[None]
        for points, height, start in zip(
            (drawing.first, drawing.second), heights, left, strict=True
        )
    ]
    along = (ends[0][:, 0] / first_wide + ends[0][:, 1]) / 2
    colours = colormaps[COLOURS](0.1 + 0.9 * np.clip(along, 0, 1))
    lined = apart(ends[0], drawing.drawn)
    for points in ends:
        axis.scatter(points[:, 0], points[:, 1], s=3, c=colours, lw=0, alpha=0.55, zorder=2)
        axis.scatter(
            points[lined, 0], points[lined, 1], s=13, c=colours[lined], edgecolors="white",
            linewidths=0.5, zorder=4,
        )  # fmt: skip
    axis.set_title(
        titled(drawing.title, len(lined), len(along)), fontsize=9, parse_math=False, wrap=True
    )
    lines = np.stack([ends[0][lined], ends[1][lined]], axis=1)
    axis.add_collection(
        LineCollection(list(lines), colors=colours[lined], lw=0.8, alpha=0.9, zorder=3)
    )
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=pixels_per_inch, bbox_inches="tight", pad_inches=0.03)


def titled(title: str, lined: int, matches: int) -> str:
    """The title, with how many of the matches have lines where not all have."""
    if lined in (0, matches):
        return title
    return f"{title}; lines of {lined} of the {matches}"


def apart(points: Float[np.ndarray, "n 2"], number: int) -> Int[np.ndarray, " chosen"]:
    """Up to `number` of the points, earlier ones first, each as far as can be from those before."""
    if not len(points) or number < 1:
        return np.zeros(0, np.int64)
    area = float(np.prod(np.maximum(np.ptp(points, axis=0), 1e-6)))
    distance = (area / number) ** 0.5
    chosen: list[int] = []
    while len(chosen) < min(number, len(points)):
        for place in range(len(points)):
            if len(chosen) == number or place in chosen:
                continue
            offsets = points[chosen] - points[place]
            if not chosen or np.hypot(offsets[:, 0], offsets[:, 1]).min() >= distance:
                chosen.append(place)
        distance = distance / 2 if distance > 1e-6 else -1.0  # of points at one place
    return np.array(chosen, np.int64)


def _shown(image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "_ _ 3"]:
    """RGB, made smaller where it is larger than can be seen."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(shown(image)))
    picture.thumbnail((_LONGEST, _LONGEST), Image.Resampling.LANCZOS)
    return np.asarray(picture)
