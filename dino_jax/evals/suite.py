"""What is measured while a run trains, chosen by what its images have to offer."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, UInt8

from dino_jax.config import Config
from dino_jax.data.evaluation import eval_image
from dino_jax.data.source import Source
from dino_jax.evals.features import Extractor, FeatureFunction, normaliser
from dino_jax.evals.knn import KnnEvaluator
from dino_jax.evals.progress import ProgressEvaluator, held_out_views, plain_images
from dino_jax.models.build import Model
from dino_jax.types import Evaluator, Params


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
    """The feature every evaluation reads: the CLS token after the final norm, (batch, width)."""

    def features(params: Params, images: Array) -> Array:
        return model.features(params, images).cls

    return features


def progress_suite(
    model: Model, config: Config, train: Source, held_out: Source, *, mesh: Mesh | None
) -> Evaluator:
    """View retrieval and effective rank always; k-NN where both sets have the same labels."""
    features, size = cls_features(model), config.crops.global_size
    normalise = normaliser(config.data.mean, config.data.std)
    extractor = Extractor(features, normalise, mesh=mesh)
    views = held_out_views(
        held_out,
        number=config.eval.retrieval_images,
        crops=config.crops,
        augment=config.augment,
        mean=config.data.mean,
        std=config.data.std,
    )
    plain = plain_images(
        held_out, number=config.eval.retrieval_images, size=size, resize=config.eval.resize
    )
    progress = ProgressEvaluator(features, views, plain, extractor, mesh=mesh)
    if train.labels is None or held_out.labels is None:
        return progress
    knn = KnnEvaluator(extractor, train, held_out, size=size, config=config.eval)
    return Suite(knn, progress)


def held_out_attention(
    model: Model, params: Params, config: Config, held_out: Source, *, number: int = 6
) -> tuple[list[UInt8[np.ndarray, "h w c"]], list[Float[np.ndarray, "heads h w"]], list[str]]:
    """The last block's attention from CLS on some held-out images: images, maps, names.

    Images are shown at twice the training size (the positions are interpolated), for finer maps:
    each map has one value a patch. Evenly spread over the source (reference 1.10, attention).
    """
    size = 2 * config.crops.global_size
    wanted = np.linspace(0, len(held_out) - 1, 2 * number + 1).round().astype(int)[1::2]
    images = [eval_image(held_out.load(int(i)), size=size, resize=size) for i in wanted]
    prepared = normaliser(config.data.mean, config.data.std)({"images": jnp.asarray(images)})
    found = jax.jit(lambda params, x: model.features(params, x, attention=True))(params, prepared)
    side = size // model.patch_size
    attention = np.asarray(found.attention)[:, :, 0, 1:]
    maps = attention.reshape(*attention.shape[:2], side, side)
    return images, list(maps), [held_out.name(int(i)) for i in wanted]
