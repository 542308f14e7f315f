"""What is measured while a run trains and when it ends, by what its images have to offer."""

from collections.abc import Mapping
from typing import Any

from jax.sharding import Mesh
from jaxtyping import Array

from dino_jax.config import Config
from dino_jax.data.source import Source
from dino_jax.evals.classes import announce
from dino_jax.evals.comparison import baselines
from dino_jax.evals.features import Extractor, FeatureFunction, normaliser
from dino_jax.evals.knn import KnnEvaluator
from dino_jax.evals.progress import ProgressEvaluator, plain_images
from dino_jax.evals.retrieval import held_out_views
from dino_jax.evals.table import Table
from dino_jax.models.build import Model
from dino_jax.types import Evaluator, Params

MOST_AT_ONCE = 256
"""Images to one pass of the network, at most."""


class Suite:
    """Several evaluators as one; their figures are merged."""

    def __init__(self, *evaluators: Evaluator) -> None:
        """Take the evaluators in the order their figures are to appear in."""
        self._evaluators = evaluators

    def __call__(self, params: Params, *, final: bool) -> Mapping[str, Any]:
        """Score one network by all of them."""
        figures: dict[str, Any] = {}
        for evaluator in self._evaluators:
            figures |= evaluator(params, final=final)
        return figures


def cls_features(model: Model) -> FeatureFunction:
    """The feature every evaluation reads, (batch, width): the CLS token after the final norm.

    Of a ResNet it is the mean of the last map.
    """

    def features(params: Params, images: Array) -> Array:
        return model.features(params, images, cls_only=True).cls

    return features


def progress_suite(
    model: Model, config: Config, train: Source, held_out: Source, *, mesh: Mesh | None
) -> Evaluator:
    """View retrieval and effective rank always; k-NN where both sets have the same labels."""
    features, size = cls_features(model), config.crops.global_size
    normalise = normaliser(config.data.mean, config.data.std)
    labelled = train.labels is not None and held_out.labels is not None
    # A pass without gradients over four images for each of a step's fits where the step does; more
    # than there are would only be padding.
    most = min(MOST_AT_ONCE, 4 * config.batch_size)
    if not labelled:
        most = min(most, config.eval.retrieval_images, len(held_out))
    extractor = Extractor(features, normalise, batch_size=most, mesh=mesh)
    views = held_out_views(held_out, config)
    plain = plain_images(
        held_out, number=config.eval.retrieval_images, size=size, resize=config.eval.resize
    )
    progress = ProgressEvaluator(features, views, plain, extractor, mesh=mesh)
    if not labelled:
        return progress
    knn = KnnEvaluator(extractor, train, held_out, size=size, config=config.eval)
    announce(knn.labelled)
    return Suite(knn, progress)


def final_table(
    model: Model,
    config: Config,
    train: Source,
    held_out: Source,
    networks: Mapping[str, Params],
    *,
    mesh: Mesh | None,
) -> Table:
    """The table that ends a run (`comparison.baselines`), over `networks` of one architecture."""
    return baselines(cls_features(model), config, train, held_out, networks, mesh=mesh)
