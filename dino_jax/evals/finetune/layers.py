"""How far each tensor lies from the input, for a learning rate that decays layer by layer."""

from collections.abc import Iterable, Sequence

from dino_jax.config.architectures import Architecture
from dino_jax.models.xcit import CLASS_BLOCKS
from dino_jax.tree import matching

Rules = Sequence[tuple[str, int]]


def layer_rules(sizes: Architecture) -> Rules:
    """The layer of every parameter of a classifier: 0 for what sees pixels, then block by block.

    The final norm and the classifier come last (as in BEiT: Bao et al. 2022, appendix H). The
    stages of a ResNet are its layers. XCiT's class token enters at its class-attention blocks.
    """
    last = depth_of(sizes)
    end = [(r"^backbone\.norm\.", last), (r"^classifier\.", last)]
    if sizes.family == "resnet":
        stages = [(rf"^backbone\.layer{n}\.", n) for n in range(1, len(sizes.stages) + 1)]
        return [(r"^backbone\.(conv1|bn1)\.", 0), *stages, *end]
    blocks = [(rf"^backbone\.blocks\.{n}\.", n + 1) for n in range(sizes.depth)]
    if sizes.family == "xcit":
        first = sizes.depth + 1
        ends = [(rf"^backbone\.cls_attn_blocks\.{n}\.", first + n) for n in range(CLASS_BLOCKS)]
        start = [(r"^backbone\.(patch_embed|pos_embeder)\.", 0), (r"^backbone\.cls_token$", first)]
        return [*start, *blocks, *ends, *end]
    return [(r"^backbone\.(patch_embed\.|cls_token$|pos_embed$)", 0), *blocks, *end]


def depth_of(sizes: Architecture) -> int:
    """The number of the last layer, that of the classifier."""
    if sizes.family == "resnet":
        return len(sizes.stages) + 1
    return sizes.depth + 1 + (CLASS_BLOCKS if sizes.family == "xcit" else 0)


def rate_factors(names: Iterable[str], sizes: Architecture, decay: float) -> dict[str, float]:
    """What multiplies the learning rate of each tensor: decay ^ (layers above it)."""
    last = depth_of(sizes)
    return {
        name: decay ** (last - layer) for name, layer in matching(layer_rules(sizes), names).items()
    }
