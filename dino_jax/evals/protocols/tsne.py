"""A map of what the network holds alike: class means or images, by PCA and t-SNE (paper, appendix).

The picture and the coordinates are the result. The figures say how far to trust the picture: of
the nearest ten points on the map, whether they are nearest by features, and are of one class.
"""

import logging
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from dino_jax.data.decode import UnreadableImageError
from dino_jax.data.evaluation import eval_image
from dino_jax.data.source import Source
from dino_jax.data.sources import open_source
from dino_jax.evals.protocol import Report, Request, Sample
from dino_jax.evals.tsne.layout import Layout, check_options, lay_out
from dino_jax.evals.tsne.picture import spread
from dino_jax.evals.tsne.points import Points, points_of
from dino_jax.evals.tsne.quality import agreement, neighbours_of, trust
from dino_jax.evals.tsne.record import write_map
from dino_jax.interop.record import printable

_LOG = logging.getLogger(__name__)
_THUMBNAIL = 96  # pixels


TITLES = {"trust": "trustworthiness", "agreement": "neighbours of the class"}


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
        "kl_divergence": layout.kl_divergence,
        "perplexity": layout.perplexity,
        "components": layout.reduced.shape[1],
    }
    made = {
        "weights": encoder.spec,
        "data": source.spec,
        "of": options.of,
        "learning_rate": options.learning_rate,
        "iterations": options.iterations,
        "seed": request.seed,
    }
    folder, samples = request.out, _samples(points, layout)
    return Report(
        title=f"t-SNE of {options.of}",
        samples=samples,
        titles={name: title for name, title in TITLES.items() if name in samples},
        notes=tuple(notes),
        values=found,
        files=() if folder is None else write_map(folder, source, points, layout, made | found),
        drawing=drawing,
    )


def _samples(points: Points, layout: Layout) -> dict[str, Sample]:
    """How far the map is to be trusted, and of images whether those of a class lie together."""
    neighbours = neighbours_of(len(layout.points))
    samples = {"trust": Sample(trust(layout.reduced, layout.points, neighbours))}
    labels = points.labels
    if labels is not None and len(np.unique(labels)) < len(labels):
        samples["agreement"] = Sample(agreement(layout.points, labels, neighbours))
    return samples


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
