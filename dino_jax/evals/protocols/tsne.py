"""A map of what the network holds alike: class means or images, by PCA and t-SNE (paper, fig. 11).

Nothing is scored: the picture and the coordinates are the result.
"""

import csv
import json
import logging
import pathlib
from typing import NamedTuple

import numpy as np
from jax import Array
from jaxtyping import Float, Int, UInt8

from dino_jax.config import UserError
from dino_jax.data.decode import UnreadableImageError
from dino_jax.data.evaluation import eval_image
from dino_jax.data.source import Source
from dino_jax.data.sources import open_source
from dino_jax.evals.protocol import Report, Request
from dino_jax.evals.tsne.layout import FEWEST, Layout, check_options, class_means, lay_out, spread
from dino_jax.interop.record import printable
from dino_jax.types import Params

THUMBNAIL = 96  # pixels


class Map(NamedTuple):
    """What `viz.scatter` draws: points, each of a class or none, some with a photograph."""

    points: Float[np.ndarray, "n 2"]
    labels: Int[np.ndarray, " n"] | None
    """Numbers into `class_names`."""
    class_names: tuple[str, ...]
    named: bool
    """Whether the points are classes, and bear their names."""
    thumbnails: dict[int, UInt8[np.ndarray, "h w c"]]
    title: str


class _Rows(NamedTuple):
    """What is mapped: a feature a row, and the image that stands for it."""

    features: Float[np.ndarray, "n d"]
    labels: Int[np.ndarray, " n"] | None
    index: Int[np.ndarray, " n"]
    images: Int[np.ndarray, " n"]
    """How many images the row is the mean of."""


def run(request: Request) -> Report:
    """Map the classes or the images of `data`; writes `tsne.csv`, `tsne.json`, and a drawing.

    Raises:
        UserError: no classes to map, too few points, or options out of range.
    """
    options, encoder = request.options, request.network
    check_options(options)
    source = open_source(request.data, channels=encoder.channels)
    rows = _rows(request, source)
    layout = lay_out(rows.features, options, seed=request.seed)
    notes = []
    if layout.perplexity < options.perplexity:
        notes.append(
            f"perplexity {options.perplexity:g} is too large for {len(rows.features)} points: "
            f"{layout.perplexity:.3g} was used"
        )
        logging.getLogger(__name__).warning("%s", notes[0])
    class_names = printable(source.class_names)
    chosen = spread(layout.points, options.thumbnails)
    what = "classes" if options.of == "classes" else "images"
    title = f"{encoder.name}: {len(rows.features)} {what} of {source.spec}"
    drawing = Map(
        layout.points, rows.labels, class_names, options.of == "classes",
        _thumbnails(source, rows.index, chosen), title,
    )  # fmt: skip
    return Report(
        title=f"t-SNE of {what}",
        notes=tuple(notes),
        values={
            "points": len(layout.points),
            "trustworthiness": layout.trustworthiness,
            "kl_divergence": layout.kl_divergence,
            "perplexity": layout.perplexity,
        },
        files=() if request.out is None else _write(request, source, rows, layout),
        drawing=drawing,
    )


def _rows(request: Request, source: Source) -> _Rows:
    options, encoder = request.options, request.network
    if options.of == "classes" and source.labels is None:
        raise UserError(
            f"{source.spec} has no classes to map: sort its images into a folder a class, or add "
            "--of=images"
        )
    wanted = None if options.of == "classes" else _evenly(source, options.images)

    def cls(params: Params, images: Array) -> Array:
        return encoder.features(params, images).cls

    features, index = request.store.features(
        encoder, source, wanted,
        what="cls", function=cls, mesh=request.mesh, batch_size=request.batch_size,
    )  # fmt: skip
    labels = None if source.labels is None else np.asarray(source.labels)[index]
    if options.of == "images":
        return _Rows(np.asarray(features), labels, index, np.ones(len(index), np.int64))
    assert labels is not None  # refused above
    means, present = class_means(features, labels)
    if len(present) < FEWEST:
        raise UserError(
            f"{source.spec} has {len(present)} classes, which make no map: {FEWEST} or more do; "
            "add --of=images"
        )
    nearest = [_nearest(features, labels == label, mean) for label, mean in zip(present, means)]
    return _Rows(means, present, index[nearest], np.bincount(labels)[present])


def _evenly(source: Source, most: int | None) -> Int[np.ndarray, " n"]:
    """At most so many examples, evenly over the source, which is mostly in the order of classes."""
    count = len(source)
    kept = count if most is None else min(most, count)
    return np.linspace(0, count - 1, kept).round().astype(np.int64)


def _nearest(
    features: Float[np.ndarray, "n d"], among: np.ndarray, mean: Float[np.ndarray, " d"]
) -> int:
    """The row among some that lies nearest to their mean."""
    places = np.flatnonzero(among)
    return int(places[np.linalg.norm(features[places] - mean, axis=1).argmin()])


def _thumbnails(
    source: Source, index: Int[np.ndarray, " n"], chosen: Int[np.ndarray, " k"]
) -> dict[int, UInt8[np.ndarray, "h w c"]]:
    found = {}
    for place in map(int, chosen):
        try:
            image = source.load(int(index[place]))
        except UnreadableImageError:  # it could be read a moment ago
            continue
        found[place] = eval_image(image, size=THUMBNAIL, resize=THUMBNAIL)
    return found


def _write(
    request: Request, source: Source, rows: _Rows, layout: Layout
) -> tuple[pathlib.Path, ...]:
    """A row a point: where it is, its class, and the image that stands for it."""
    assert request.out is not None
    request.out.mkdir(parents=True, exist_ok=True)
    heading = ("x", "y", "label", "class", "images", "index", "name")
    points = []
    for place, (x, y) in enumerate(layout.points.astype(float)):
        label = None if rows.labels is None else int(rows.labels[place])
        index = int(rows.index[place])
        known = (label, "" if label is None else source.class_names[label], int(rows.images[place]))
        points.append(printable((round(x, 4), round(y, 4), *known, index, source.name(index))))
    table, whole = (request.out / f"tsne.{suffix}" for suffix in ("csv", "json"))
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([heading, *points])
    options = request.options
    made = {
        "weights": request.network.spec,
        "data": source.spec,
        "of": options.of,
        "components": layout.components,
        "perplexity": layout.perplexity,
        "learning_rate": options.learning_rate,
        "iterations": options.iterations,
        "seed": request.seed,
        "trustworthiness": layout.trustworthiness,
        "kl_divergence": layout.kl_divergence,
        "points": [dict(zip(heading, point, strict=True)) for point in points],
    }
    whole.write_text(json.dumps(printable(made), indent=1) + "\n", encoding="utf-8")
    return table, whole
