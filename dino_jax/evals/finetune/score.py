"""The classifier on held-out images."""

from collections.abc import Mapping

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool

from dino_jax.config import UserError
from dino_jax.data.evaluation import eval_batches
from dino_jax.data.source import Source
from dino_jax.evals.features import Extractor, NoImagesError
from dino_jax.evals.images import HeldOut
from dino_jax.interop.encoder import Encoder
from dino_jax.models.classifier import Classifier
from dino_jax.models.naming import BACKBONE, parted, prefixed, under
from dino_jax.ops import scores

Hits = Mapping[str, Bool[np.ndarray, " n"]]
"""`ops.scores.hits` of every readable held-out image."""


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
        self._labels, self._name, self._spec = labels, encoder.name, val.spec
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
        """`leaves` are parameters and batch statistics of the classifier.

        Raises:
            UserError: their answers are not finite, or no image can be read.
        """
        # The extractor passes on what lies under that prefix, and the classifier does not.
        try:
            logits = self._logits(prefixed(BACKBONE, leaves), self._images)
        except NoImagesError:
            raise UserError(f"no image of {self._spec} can be read: nothing to score") from None
        if not np.isfinite(logits).all():
            raise UserError(
                f"the answers of {self._name} are not all finite: these weights diverged"
            )
        return scores.hits(logits, self._labels[self._images.index])
