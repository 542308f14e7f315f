"""What is mapped: class means or images, and the image that stands for each."""

import dataclasses

import numpy as np
from jax import Array
from jaxtyping import Float, Int

from dino_jax.config import UserError
from dino_jax.data.source import Source
from dino_jax.evals.protocol import Request
from dino_jax.evals.tsne.layout import FEWEST
from dino_jax.types import Params


@dataclasses.dataclass(frozen=True)
class Points:
    """A feature a point, its class, the index of its image, and of how many images it is."""

    features: Float[np.ndarray, "n d"]
    labels: Int[np.ndarray, " n"] | None
    images: Int[np.ndarray, " n"]
    counts: Int[np.ndarray, " n"]


def points_of(request: Request, source: Source) -> Points:
    """The points that the options ask for.

    Raises:
        UserError: classes are asked for and there are none, or fewer than four.
    """
    options, encoder, labels = request.options, request.network, source.labels
    classes = options.of == "classes"
    if classes and labels is None:
        raise UserError(
            f"{source.spec} has no classes to map: sort its images into a folder a class, or add "
            "--of=images"
        )

    def cls(params: Params, images: Array) -> Array:
        return encoder.features(params, images).cls

    most = None if classes else options.images
    features, index = request.store.features(
        encoder, source, None if most is None or most >= len(source) else evenly(source, most),
        what="cls", function=cls, mesh=request.mesh, batch_size=request.batch_size,
    )  # fmt: skip
    if not classes or labels is None:
        known = None if labels is None else np.asarray(labels)[index]
        return Points(np.asarray(features), known, index, np.ones(len(index), np.int64))
    return _of_classes(features, np.asarray(labels)[index], index, source)


def _of_classes(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    index: Int[np.ndarray, " n"],
    source: Source,
) -> Points:
    means, present = class_means(features, labels)
    if len(present) < FEWEST:
        raise UserError(
            f"{source.spec} has {len(present)} classes, which make no map: {FEWEST} or more do; "
            "add --of=images"
        )
    central = []
    for label, mean in zip(present, means, strict=True):
        own = np.flatnonzero(labels == label)
        central.append(own[np.linalg.norm(features[own] - mean, axis=1).argmin()])
    return Points(means, present, index[central], np.bincount(labels)[present])


def class_means(
    features: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "classes d"], Int[np.ndarray, " classes"]]:
    """The mean feature of every class that has an image, and which class it is."""
    present, places = np.unique(labels, return_inverse=True)
    sums = np.zeros((len(present), features.shape[1]), np.float64)
    np.add.at(sums, places, features)
    return (sums / np.bincount(places)[:, None]).astype(np.float32), present


def evenly(source: Source, number: int) -> Int[np.ndarray, " n"]:
    """So many examples, evenly over a source, which is mostly in the order of classes."""
    return np.linspace(0, len(source) - 1, number).round().astype(np.int64)
