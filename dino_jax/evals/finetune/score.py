"""The classifier on held-out images."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool

from dino_jax.data.evaluation import eval_batches
from dino_jax.data.source import Source
from dino_jax.evals.encoder import Encoder
from dino_jax.evals.features import Extractor
from dino_jax.evals.images import HeldOut
from dino_jax.models.classifier import Classifier
from dino_jax.models.naming import BACKBONE, parted, prefixed, under


class Hits(NamedTuple):
    """Of every readable held-out image, whether its class is the first, or among five."""

    top1: Bool[np.ndarray, " n"]
    top5: Bool[np.ndarray, " n"]

    def figures(self) -> dict[str, float]:
        """Both as percentages."""
        return {name: 100 * float(each.mean()) for name, each in self._asdict().items()}


class Scorer:
    """Scores a classifier's parameters on one held-out source, decoded once if it fits."""

    def __init__(
        self,
        classifier: Classifier,
        encoder: Encoder,
        val: Source,
        labels: np.ndarray,
        *,
        mesh: Mesh,
        batch_size: int,
    ) -> None:
        """Images are read as the encoder says; `labels` are those of all of `val`."""
        self._labels = labels
        self._images = HeldOut(
            lambda: eval_batches(
                val, range(len(val)), size=encoder.size, resize=encoder.resize,
                batch_size=batch_size,
            )
        )  # fmt: skip

        def logits(leaves: dict[str, jax.Array], images: jax.Array) -> jax.Array:
            params, stats = parted(under(BACKBONE, leaves))
            return classifier(params, stats, images, train=False)[0]

        self._logits = Extractor(
            logits, lambda batch: encoder.prepared(batch["images"]),
            batch_size=batch_size, mesh=mesh,
        )  # fmt: skip

    def __call__(self, leaves: Mapping[str, jax.Array]) -> Hits:
        """`leaves` are parameters and batch statistics of the classifier."""
        # The extractor passes on what lies under that prefix, and the classifier does not.
        logits = self._logits(prefixed(BACKBONE, leaves), self._images)
        labels = self._labels[self._images.index]
        own = np.take_along_axis(logits, labels[:, None], axis=1)
        # Of equal logits the lower class comes first, as in argmax.
        before = (logits > own) | (
            (logits == own) & (np.arange(logits.shape[1])[None, :] < labels[:, None])
        )
        place = before.sum(axis=1)
        return Hits(place < 1, place < 5)
