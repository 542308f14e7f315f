"""The measures of attention as a table, a file and a figure: `--stats`."""

import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dino_jax.files import whole
from dino_jax.interop.encoder import Encoder
from dino_jax.viz.attend.colour import CATEGORIES
from dino_jax.viz.attend.files import Written
from dino_jax.viz.attend.maps import projections
from dino_jax.viz.attend.measures import Measures, mean_of, measured
from dino_jax.viz.attend.picture import Picture

TITLES = {
    "distance": "mean attention distance, pixels",
    "entropy": "entropy, nats",
    "spread": "entropy / ln N (1: even attention)",
    "similarity": "similarity of patches' maps (1: one map)",
}
_COLOURS = (CATEGORIES[5], CATEGORIES[6], CATEGORIES[2], CATEGORIES[4], CATEGORIES[1])
_MARKERS = "osD^v"


def write_stats(
    out: pathlib.Path, rows: Iterable[Sequence[Picture]], encoders: Sequence[Encoder]
) -> Written:
    """Write `stats.json` and `stats.png`, means over the pictures, of every weights."""
    each: list[list[Measures]] = [[] for _ in encoders]
    names, shapes = [], [set[tuple[int, int]]() for _ in encoders]
    for pictures in rows:
        names.append(pictures[0].name)
        for number, (encoder, picture) in enumerate(zip(encoders, pictures, strict=True)):
            held = projections(encoder, picture.pixels)
            each[number].append(measured(held, encoder.patch_size))
            shapes[number].add(picture.pixels.shape[:2])
    found = [mean_of(of_one) for of_one in each]
    told = [_told(*one) for one in zip(encoders, found, shapes, strict=True)]
    files = [out / "stats.json", out / "stats.png"]
    with whole(files[0]) as unfinished:
        unfinished.write_text(json.dumps({"images": names, "weights": told}, indent=1) + "\n")
    what = names[0] if len(names) == 1 else f"{len(names)} images"
    _draw(files[1], found, encoders, f"Attention of every head of every block, {what}", shapes)
    said = "\n".join(table(*one) for one in zip(encoders, found, strict=True))
    return Written(files, said)


def table(encoder: Encoder, found: Measures) -> str:
    """A line a head of a block."""
    lines = [
        encoder.name,
        "block  head  distance/px  entropy/nats  entropy/ln N  similarity",
    ]
    blocks, heads = found.distance.shape
    for block in range(blocks):
        for head in range(heads):
            distance, entropy, spread, similarity = (each[block, head] for each in found)
            lines.append(
                f"{block:5}  {head:4}  {distance:11.1f}  {entropy:12.3f}  {spread:12.3f}  "
                f"{similarity:10.3f}"
            )
    return "\n".join(lines) + "\n"


def _told(encoder: Encoder, found: Measures, shapes: set[tuple[int, int]]) -> dict[str, Any]:
    return {
        "weights": encoder.name,
        "identity": encoder.identity,
        "patch": encoder.patch_size,
        "sizes": sorted(map(list, shapes)),
        "measures": {name: TITLES[name] for name in found._fields},
        **{name: _plain(values) for name, values in found._asdict().items()},
    }


def _plain(values: np.ndarray) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]


def _draw(
    path: pathlib.Path,
    found: Sequence[Measures],
    encoders: Sequence[Encoder],
    title: str,
    shapes: Sequence[set[tuple[int, int]]],
) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 3.9), layout="constrained")
    axes = figure.subplots(1, 3)
    shown = ("distance", "spread", "similarity")
    for axis, name in zip(axes, shown, strict=True):
        for number, (one, encoder) in enumerate(zip(found, encoders, strict=True)):
            values = one._asdict()[name]
            look = {"color": _COLOURS[number % 5], "marker": _MARKERS[number % 5]}
            beside = np.arange(len(values)) + 0.12 * (number - (len(found) - 1) / 2)
            axis.plot(beside, values, ls="", ms=3, alpha=0.55, **look)
            label = f"{encoder.name} ({_sizes(shapes[number])})"
            axis.plot(beside, values.mean(axis=1), lw=1.5, ms=5, label=label, **look)
        axis.set_title(TITLES[name], fontsize=9)
        axis.set(xlabel="block", ylim=(0, None if name == "distance" else 1.03))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", lw=0.4, alpha=0.5)
    handles, labels = axes[0].get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside lower left", fontsize=8, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    figure.suptitle(
        f"{title}: a small mark a head, a line their mean", fontsize=10, parse_math=False
    )
    with whole(path) as unfinished:
        figure.savefig(unfinished, dpi=200)


def _sizes(shapes: set[tuple[int, int]]) -> str:
    if len(shapes) > 1:
        return f"{len(shapes)} sizes"
    height, width = next(iter(shapes))
    return f"{width} × {height} px"
