"""A backbone under one linear layer, for supervised training of all of it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from dino_jax.config import ModelConfig
from dino_jax.models.backbone import Backbone, build_backbone
from dino_jax.models.initial import STD
from dino_jax.models.naming import BACKBONE, prefixed, under
from dino_jax.models.vit import ImageSize
from dino_jax.types import Params, Stats

CLASSIFIER = "classifier."


class Classifier(NamedTuple):
    """Logits of the class token (ViT, XCiT) or of the mean over the positions (ResNet).

    Parameters are those of the backbone under `backbone.`, `classifier.weight` (classes, width)
    and `classifier.bias`.
    """

    backbone: Backbone
    classes: int

    def fresh_head(self, key: Key[Array, ""], scale: float = 1.0) -> Params:
        """A linear layer to begin with: Normal(0, 0.02) times `scale`, its bias 0."""
        shape = (self.classes, self.backbone.sizes.width)
        weight = scale * STD * jax.random.normal(key, shape, jnp.float32)
        return prefixed(CLASSIFIER, {"weight": weight, "bias": jnp.zeros(self.classes)})

    def __call__(
        self,
        params: Params,
        stats: Stats,
        images: Float[Array, "batch height width channels"],
        *,
        train: bool,
        keys: Key[Array, "batch"] | None = None,
    ) -> tuple[Float[Array, "batch classes"], Stats]:
        """Logits (float32) of normalised images, and the batch statistics after them.

        In training with `keys`, one an image, each drops its own paths; without, none are dropped.
        """
        options: dict[str, Any] = {}
        if train and keys is not None and self.backbone.factors is not None:
            options["factors"] = self.backbone.factors(keys)
        found, kept = self.backbone(
            under(BACKBONE, params), under(BACKBONE, stats), images,
            train=train, cls_only=True, **options,
        )  # fmt: skip
        head = under(CLASSIFIER, params)
        logits = jax.lax.dot_general(
            found.cls, head["weight"], (((1,), (1,)), ((), ())),
            precision=jax.lax.Precision.HIGHEST,
        )  # fmt: skip
        return logits + head["bias"][None, :], prefixed(BACKBONE, kept)


def build_classifier(
    model: ModelConfig,
    *,
    classes: int,
    image_size: ImageSize,
    dtype: DTypeLike = jnp.float32,
    drop_path: float = 0.0,
) -> Classifier:
    """The classifier of a configuration; raises UserError for what cannot be built."""
    backbone = build_backbone(model, image_size=image_size, dtype=dtype, drop_path=drop_path)
    return Classifier(backbone, classes)
