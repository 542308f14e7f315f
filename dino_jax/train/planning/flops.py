"""Operations to train on one image, counted from the configuration."""

import itertools

from dino_jax.config import Config
from dino_jax.config.architectures import ARCHITECTURES, architecture_of


def per_image(config: Config) -> float | None:
    """FLOPs of the student forward and backward and of the teacher forward, one image.

    Matrix products only, two operations a multiplication; the backward pass counts double, less
    the gradient to the pixels, which nobody asks for. What an implementation saves or does twice
    (the last block's patches, recomputation) is not in it: model FLOPs, as for MFU. None for the
    families that are no vision transformers: there the traced step says what it does.
    """
    if config.model.arch is None or ARCHITECTURES[config.model.arch].family != "vit":
        return None
    crops, student, teacher = config.crops, 0.0, 0.0
    for size, count, seen in (
        (crops.global_size, 2, True),
        (crops.local_size, crops.local_number, False),
    ):
        forward, patches = _crop(config, size)
        student += count * (3 * forward - patches)
        teacher += count * forward if seen else 0.0
    return student + teacher


def _crop(config: Config, size: int) -> tuple[float, float]:
    """Forward FLOPs of one crop, and those of its patch projection among them."""
    sizes, patch = architecture_of(config.model), config.model.patch_size
    width, tokens = sizes.width, (size // patch) ** 2 + 1
    blocks = sizes.depth * (24.0 * tokens * width**2 + 4.0 * tokens**2 * width)
    patches = 2.0 * (tokens - 1) * config.model.channels * patch**2 * width
    return blocks + patches + _head(config, width), patches


def _head(config: Config, width: int) -> float:
    head = config.head
    layers = [width] + [head.hidden] * (head.layers - 1) + [head.bottleneck, head.prototypes]
    return 2.0 * sum(a * b for a, b in itertools.pairwise(layers))
