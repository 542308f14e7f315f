"""From a configuration to a model: three pure functions over flat parameters."""

import difflib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from dino_jax.config import HeadConfig, ModelConfig, UserError
from dino_jax.models.head import DINOHead
from dino_jax.models.initial import VIT_RULES, draw
from dino_jax.models.naming import BACKBONE, HEAD, flatten, prefixed, under, unflatten
from dino_jax.models.vit import Features, VisionTransformer, drop_path_factors
from dino_jax.types import Params, Stats

ARCHITECTURES = {  # name: width, depth, heads (reference.md 1.2; paper table 1)
    "vit_tiny": (192, 12, 3),
    "vit_small": (384, 12, 6),
    "vit_base": (768, 12, 12),
}

LONGEST_UNROLLED = 12
"""`blocks = "auto"` unrolls up to this depth, that of every named architecture: the scan's loop
and the stacking of parameters cost 3 to 12 % of every step on CPU, and what it saves is compile
time, paid once a run. Deeper stacks are scanned, since compile time grows with depth."""


class Model(NamedTuple):
    """A backbone and its head. All parameters live in one flat dict of the original's names.

    init: key -> (params, stats).
    apply: (params, stats, crops, *, keys=None) -> (logits (B, crops, K) float32, new stats), the
        training pass: one backbone pass per entry of `crops` (B, n, H, W, C), features joined
        along the crop axis, one head pass. `keys` holds one array of keys (B, n) per entry.
    features: (params, images (B, H, W, C), *, blocks=0, attention=False, attention_block=-1)
        -> Features; needs only the `backbone.` parameters.
    """

    init: Callable[..., tuple[Params, Stats]]
    apply: Callable[..., tuple[Array, Stats]]
    features: Callable[..., Features]
    patch_size: int
    width: int
    depth: int
    heads: int


def resolve(model: ModelConfig) -> tuple[int, int, int]:
    """Width, depth and heads of a configuration; raises UserError for what cannot be built."""
    if model.arch not in ARCHITECTURES:
        near = difflib.get_close_matches(model.arch, ARCHITECTURES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(
            f"unknown model.arch {model.arch!r}: {hint}known are {', '.join(ARCHITECTURES)}"
        )
    overrides = (model.width, model.depth, model.heads)
    width, depth, heads = (
        named if own is None else own
        for named, own in zip(ARCHITECTURES[model.arch], overrides, strict=True)
    )
    for name, value in (("width", width), ("depth", depth), ("heads", heads)):
        if value < 1:
            raise UserError(f"model.{name} is {value}: expected 1 or more")
    if width % heads:
        raise UserError(
            f"model.width {width} is not divisible by model.heads {heads}: set model.heads to a "
            "divisor of the width"
        )
    if model.blocks not in ("auto", "unrolled", "scanned"):
        raise UserError(f"model.blocks is {model.blocks!r}: expected auto, unrolled or scanned")
    return width, depth, heads


def _check_sizes(model: ModelConfig, image_size: int, drop_path: float) -> None:
    if model.patch_size < 1 or image_size < model.patch_size:
        raise UserError(
            f"an image of {image_size} pixels holds no patch of {model.patch_size}: raise "
            "crops.global_size or lower model.patch_size"
        )
    if model.channels < 1:
        raise UserError(f"model.channels is {model.channels}: expected 1 or more")
    if not 0 <= drop_path < 1:
        raise UserError(f"model.drop_path is {drop_path}: expected a rate in [0, 1)")


def _check_channels(channels: int, expected: int) -> None:
    if channels != expected:
        raise UserError(
            f"images have {channels} channels but the model was built for {expected}: "
            "set model.channels"
        )


class _Parts(NamedTuple):
    """What the three functions of a model are made of."""

    vit: VisionTransformer
    head: DINOHead
    channels: int
    drop_path: float


def _encode(parts: _Parts, params: Params, images: Array, **options: Any) -> Features:
    _check_channels(images.shape[-1], parts.channels)
    variables = {"params": unflatten(under(BACKBONE, params))}
    return cast(Features, parts.vit.apply(variables, images, **options))


def _init(parts: _Parts, key: Key[Array, ""]) -> tuple[Params, Stats]:
    for_backbone, for_head = jax.random.split(key)
    side = parts.vit.image_size
    sample = jax.ShapeDtypeStruct((1, side, side, parts.channels), jnp.float32)
    declared = flatten(jax.eval_shape(parts.vit.init, for_backbone, sample)["params"])
    backbone = prefixed(BACKBONE, draw(for_backbone, declared, VIT_RULES))
    params, stats = parts.head.init(for_head)
    return backbone | prefixed(HEAD, params), prefixed(HEAD, stats)


def _apply(
    parts: _Parts,
    params: Params,
    stats: Stats,
    crops: Sequence[Float[Array, "batch _ _ _ channels"]],
    *,
    keys: Sequence[Key[Array, "batch _"]] | None = None,
) -> tuple[Float[Array, "batch crops prototypes"], Stats]:
    groups = []
    for index, images in enumerate(crops):
        # (batch, crops) merge batch-major: crop-major would make XLA replicate the model.
        factors = None
        if keys is not None and parts.drop_path > 0:
            each = keys[index].reshape(-1)
            factors = drop_path_factors(each, parts.drop_path, parts.vit.depth)
        merged = images.reshape(-1, *images.shape[2:])
        found = _encode(parts, params, merged, factors=factors, cls_only=True)
        groups.append(found.cls.reshape(*images.shape[:2], -1))
    logits, new = parts.head.apply(
        under(HEAD, params), under(HEAD, stats), jnp.concatenate(groups, axis=1)
    )
    return logits, prefixed(HEAD, new)


def _features(
    parts: _Parts,
    params: Params,
    images: Float[Array, "batch height width channels"],
    *,
    blocks: int = 0,
    attention: bool = False,
    attention_block: int = -1,
) -> Features:
    depth = parts.vit.depth
    if not (0 <= blocks <= depth and -depth <= attention_block < depth):
        raise UserError(
            f"blocks={blocks}, attention_block={attention_block}: the model has {depth} blocks"
        )
    map_of = attention_block % depth if attention else None
    return _encode(parts, params, images, blocks=blocks, map_of=map_of)


def build(
    model: ModelConfig,
    head: HeadConfig,
    *,
    image_size: int,
    dtype: DTypeLike = jnp.float32,
    drop_path: float = 0.0,
) -> Model:
    """A model for square images of `image_size` pixels natively (any size and aspect at use).

    `dtype` (float32 or bfloat16) is that of the backbone's and head's matrix products alone:
    parameters, norms, residual stream, positions and logits are float32. `drop_path` is 0 for
    the teacher. Raises UserError for what cannot be built.
    """
    width, depth, heads = resolve(model)
    _check_sizes(model, image_size, drop_path)
    scanned = model.blocks == "scanned" or (model.blocks == "auto" and depth > LONGEST_UNROLLED)
    vit = VisionTransformer(width, depth, heads, model.patch_size, image_size, dtype, scanned)
    projection = DINOHead(
        inputs=width,
        prototypes=head.prototypes,
        hidden=head.hidden,
        bottleneck=head.bottleneck,
        layers=head.layers,
        norm_last_layer=head.norm_last_layer,
        batch_norm=head.batch_norm,
        dtype=dtype,
    )
    parts = _Parts(vit, projection, model.channels, drop_path)
    return Model(
        init=partial(_init, parts),
        apply=partial(_apply, parts),
        features=partial(_features, parts),
        patch_size=model.patch_size,
        width=width,
        depth=depth,
        heads=heads,
    )
