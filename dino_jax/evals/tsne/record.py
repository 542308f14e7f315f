"""A map as a table and as JSON."""

import csv
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from dino_jax.data.source import Source
from dino_jax.evals.tsne.layout import Layout
from dino_jax.evals.tsne.points import Points
from dino_jax.interop.record import printable

HEADING = ("x", "y", "label", "class", "images", "index", "name")


def write_map(
    folder: pathlib.Path, source: Source, points: Points, layout: Layout, made: Mapping[str, Any]
) -> tuple[pathlib.Path, ...]:
    """Write `points.csv`, a row a point, and `points.json`, the same with what `made` it.

    A row has the point's place, its class, of how many images it is the mean, and the index and
    name of the image that stands for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [_row(source, points, layout, place) for place in range(len(layout.points))]
    table, whole = folder / "points.csv", folder / "points.json"
    with open(table, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADING, *rows])
    told = {**made, "points": [dict(zip(HEADING, row, strict=True)) for row in rows]}
    whole.write_text(json.dumps(printable(told), indent=1) + "\n", encoding="utf-8")
    return table, whole


def _row(source: Source, points: Points, layout: Layout, place: int) -> tuple[Any, ...]:
    x, y = (round(float(value), 4) for value in layout.points[place])
    label = None if points.labels is None else int(points.labels[place])
    named = label is not None and label < len(source.class_names)
    name = source.class_names[label] if named and label is not None else label
    image = int(points.images[place])
    row = (x, y, label, name, int(points.counts[place]), image, source.name(image))
    return tuple(printable(value) for value in row)
