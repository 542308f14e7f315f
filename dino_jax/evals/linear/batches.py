"""Batches of features for the heads: of images augmented anew in each epoch, or taken once."""

from collections.abc import Generator

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int
from PIL import Image

from dino_jax.data.order import Order
from dino_jax.data.source import Source
from dino_jax.data.supervised import Augmentation, Repeated, supervised_batches
from dino_jax.evals.features import Extractor, FeatureFunction
from dino_jax.evals.linear.training import Batches, FeatureBatch
from dino_jax.interop.encoder import Encoder


def augmented_batches(
    encoder: Encoder,
    function: FeatureFunction,
    source: Source,
    labels: Int[np.ndarray, " n"],
    *,
    batch: int,
    seed: int,
    mesh: Mesh,
    batch_size: int,
) -> Batches:
    """Features of random crops, bilinear, and flips (eval_linear.py, `train_transform`).

    `batch_size` images go through the network at once. What an image becomes depends on the seed,
    the epoch and the image alone. One that cannot be read is named, and stood in for by the next.
    """
    augmentation = Augmentation(encoder.size, resampling=Image.Resampling.BILINEAR)
    extractor = Extractor(
        function,
        lambda images: encoder.prepared(images["images"]),
        batch_size=min(batch_size, batch),
        mesh=mesh,
    )
    order = Repeated(len(source), batch, seed=seed)

    def batches(start: int, stop: int) -> Generator[FeatureBatch, None, None]:
        for each in supervised_batches(
            source, labels, augmentation, order, seed=seed, start_step=start, stop_step=stop
        ):
            for replaced in each["replaced"][each["replaced"] >= 0]:
                source.name_unreadable(int(replaced))
            features = extractor(encoder.params, [{"images": each["images"]}])
            yield features, each["label"]

    return batches


def cached_batches(
    features: Float[np.ndarray, "n inputs"],
    labels: Int[np.ndarray, " n"],
    *,
    batch: int,
    seed: int,
) -> Batches:
    """Features that were taken once, in another order in each epoch."""
    order = Order(len(features), batch, seed)

    def batches(start: int, stop: int) -> Generator[FeatureBatch, None, None]:
        for step in range(start, stop):
            # In ascending order, which a file on disk is read faster in.
            rows = np.sort(order.rows(step).examples)
            yield np.asarray(features[rows]), labels[rows]

    return batches
