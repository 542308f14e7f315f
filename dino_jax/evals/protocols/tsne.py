"""A map of what the network holds alike: class means or images, by PCA and t-SNE (paper, fig. 11).

Nothing is scored: the picture and the coordinates are the result.
"""

import logging
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from dino_jax.data.decode import UnreadableImageError
from dino_jax.data.evaluation import eval_image
from dino_jax.data.source import Source
from dino_jax.data.sources import open_source
from dino_jax.evals.protocol import Report, Request
from dino_jax.evals.tsne.layout import check_options, lay_out, spread
from dino_jax.evals.tsne.points import points_of
from dino_jax.evals.tsne.record import write_map
from dino_jax.interop.record import printable

_LOG = logging.getLogger(__name__)
_THUMBNAIL = 96  # pixels


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


def run(request: Request) -> Report:
    """Map the classes or the images of `data`; writes `points.csv`, `points.json`, and a drawing.

    Raises:
        UserError: no classes to map, too few points, or options out of range.
    """
    options, encoder = request.options, request.network
    check_options(options)
    source = open_source(request.data, channels=encoder.channels)
    points = points_of(request, source)
    layout = lay_out(points.features, options, seed=request.seed)
    notes = []
    if layout.perplexity < options.perplexity:
        notes.append(
            f"perplexity {options.perplexity:g} is too large for {len(layout.points)} points: "
            f"{layout.perplexity:.3g} was used"
        )
        _LOG.warning("%s", notes[0])
    shown = points.images[spread(layout.points, options.thumbnails)]
    drawing = Map(
        points=layout.points,
        labels=points.labels,
        class_names=printable(source.class_names),
        named=options.of == "classes",
        thumbnails=_thumbnails(source, points.images, shown),
        title=f"{encoder.name}: {len(layout.points)} {options.of} of {source.spec}",
    )
    found = {
        "points": len(layout.points),
        "trustworthiness": layout.trustworthiness,
        "kl_divergence": layout.kl_divergence,
        "perplexity": layout.perplexity,
        "components": layout.components,
    }
    made = {
        "weights": encoder.spec,
        "data": source.spec,
        "of": options.of,
        "learning_rate": options.learning_rate,
        "iterations": options.iterations,
        "seed": request.seed,
    }
    folder = request.out
    return Report(
        title=f"t-SNE of {options.of}",
        notes=tuple(notes),
        values=found,
        files=() if folder is None else write_map(folder, source, points, layout, made | found),
        drawing=drawing,
    )


def _thumbnails(
    source: Source, images: Int[np.ndarray, " n"], shown: Int[np.ndarray, " k"]
) -> dict[int, UInt8[np.ndarray, "h w c"]]:
    """By the place of their point."""
    places = {int(image): place for place, image in enumerate(images)}
    found = {}
    for image in map(int, shown):
        try:
            pixels = source.load(image)
        except UnreadableImageError:  # it could be read a moment ago
            continue
        found[places[image]] = eval_image(pixels, size=_THUMBNAIL, resize=_THUMBNAIL)
    return found
