"""From a configuration to a model: pure functions over flat parameters."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from dino_jax.config import HeadConfig, ModelConfig, UserError
from dino_jax.models.backbone import Backbone, build_backbone
from dino_jax.models.head import DINOHead, prototype_logits
from dino_jax.models.naming import BACKBONE, HEAD, parted, prefixed, under
from dino_jax.models.vit import Features, ImageSize
from dino_jax.types import Params, Prototypes, Stats


class Model(NamedTuple):
    """A backbone and its head. All parameters live in one flat dict of the original's names.

    init: key -> (params, stats).
    apply: (params, stats, crops, *, keys=None) -> (logits (B, crops, K) float32, new stats), the
        training pass: one backbone pass per resolution of `crops`, entries (B, n, H, W, C), in
        their order, features joined along the crop axis, one head pass. `keys` holds one array of
        keys (B, n) per entry.
    embed: the same -> (embeddings (B, crops, bottleneck) of length 1, the last layer's prototypes,
        new stats): what `apply` makes its logits of.
    features: (params | stats, images (B, H, W, C), *, blocks=0, attention=False,
        attention_block=-1, projections=0, cls_only=False) -> Features, by the running statistics;
        reads only what is under `backbone.`. With `cls_only` there are no patches, for less work.
    patch_size: pixels along a side that share one of the features' `patches`.
    heads: 0 where there is no attention.
    """

    init: Callable[..., tuple[Params, Stats]]
    apply: Callable[..., tuple[Array, Stats]]
    embed: Callable[..., tuple[Array, Prototypes, Stats]]
    features: Callable[..., Features]
    patch_size: int
    width: int
    depth: int
    heads: int


class _Parts(NamedTuple):
    """What the functions of a model are made of."""

    backbone: Backbone
    head: DINOHead


def _init(parts: _Parts, key: Key[Array, ""]) -> tuple[Params, Stats]:
    for_backbone, for_head = jax.random.split(key)
    backbone, backbone_stats = parts.backbone.init(for_backbone)
    head, head_stats = parts.head.init(for_head)
    return (
        prefixed(BACKBONE, backbone) | prefixed(HEAD, head),
        prefixed(BACKBONE, backbone_stats) | prefixed(HEAD, head_stats),
    )


def _apply(
    parts: _Parts,
    params: Params,
    stats: Stats,
    crops: Sequence[Float[Array, "batch _ _ _ channels"]],
    *,
    keys: Sequence[Key[Array, "batch _"]] | None = None,
) -> tuple[Float[Array, "batch crops prototypes"], Stats]:
    embeddings, prototypes, changed = _embed(parts, params, stats, crops, keys=keys)
    return prototype_logits(embeddings, prototypes), changed


def _embed(
    parts: _Parts,
    params: Params,
    stats: Stats,
    crops: Sequence[Float[Array, "batch _ _ _ channels"]],
    *,
    keys: Sequence[Key[Array, "batch _"]] | None = None,
) -> tuple[Float[Array, "batch crops width"], Prototypes, Stats]:
    weights, kept = under(BACKBONE, params), under(BACKBONE, stats)
    groups = []
    for images, own in _by_resolution(crops, keys):
        # (batch, crops) merge batch-major: crop-major would make XLA replicate the model.
        merged = images.reshape(-1, *images.shape[2:])
        options: dict[str, Array] = {}
        if own is not None and parts.backbone.factors is not None:
            options["factors"] = parts.backbone.factors(own.reshape(-1))
        # The statistics go from one resolution to the next, the views' first (utils.py:610-629).
        found, kept = parts.backbone(weights, kept, merged, train=True, cls_only=True, **options)
        groups.append(found.cls.reshape(*images.shape[:2], -1))
    embeddings, prototypes, of_head = parts.head.embed(
        under(HEAD, params), under(HEAD, stats), jnp.concatenate(groups, axis=1)
    )
    return embeddings, prototypes, prefixed(BACKBONE, kept) | prefixed(HEAD, of_head)


def _by_resolution(
    crops: Sequence[Array], keys: Sequence[Array] | None
) -> Iterator[tuple[Array, Array | None]]:
    """Crops and their keys, entries of one size that follow each other joined into one.

    Batch statistics are then those of all crops of a size, as in the original, where views and
    local crops of equal size make one pass.
    """
    entries = zip(crops, [None] * len(crops) if keys is None else keys, strict=True)
    for _, group in itertools.groupby(entries, key=lambda entry: entry[0].shape[2:4]):
        images, own = zip(*group, strict=True)
        yield (
            jnp.concatenate(images, axis=1) if len(images) > 1 else images[0],
            None if keys is None else jnp.concatenate(own, axis=1) if len(own) > 1 else own[0],
        )


def _features(
    parts: _Parts,
    weights: Params,
    images: Float[Array, "batch height width channels"],
    *,
    blocks: int = 0,
    attention: bool = False,
    attention_block: int = -1,
    projections: int = 0,
    cls_only: bool = False,
) -> Features:
    most, maps = parts.backbone.kept_blocks, parts.backbone.maps
    if blocks and not most:
        raise UserError(f"blocks={blocks}: this model has no transformer blocks")
    if attention and not maps:
        raise UserError("this model has no attention: there are no maps to return")
    if not (0 <= blocks <= most and (not maps or -maps <= attention_block < maps)):
        raise UserError(
            f"blocks={blocks}, attention_block={attention_block}: the model has {most} blocks"
            + ("" if maps == most else f", {maps} of them with a map of attention")
        )
    options: dict[str, int] = {"blocks": blocks} if blocks else {}
    if cls_only:
        options["cls_only"] = True
    if attention:
        options["map_of"] = attention_block % maps
    if projections:
        if not 0 < projections <= parts.backbone.projected:
            raise UserError(
                f"projections={projections}: the model has {parts.backbone.projected} blocks with "
                "queries of every patch"
            )
        options["project"] = projections
    params, stats = parted(under(BACKBONE, weights))
    return parts.backbone(params, stats, images, train=False, **options)[0]


def build(
    model: ModelConfig,
    head: HeadConfig,
    *,
    image_size: ImageSize,
    dtype: DTypeLike = jnp.float32,
    drop_path: float = 0.0,
) -> Model:
    """A model for square images of `image_size` pixels natively (any size and aspect at use).

    A vision transformer whose `image_size` is (height, width) has positions of that size alone.

    `dtype` (float32 or bfloat16) is that of the backbone's and head's matrix products alone:
    parameters, norms, residual stream, positions and logits are float32. `drop_path` is 0 for
    the teacher. Raises UserError for what cannot be built.
    """
    backbone = build_backbone(model, image_size=image_size, dtype=dtype, drop_path=drop_path)
    projection = DINOHead(
        inputs=backbone.sizes.width,
        prototypes=head.prototypes,
        hidden=head.hidden,
        bottleneck=head.bottleneck,
        layers=head.layers,
        norm_last_layer=head.norm_last_layer,
        batch_norm=head.batch_norm,
        dtype=dtype,
    )
    parts = _Parts(backbone, projection)
    return Model(
        init=partial(_init, parts),
        apply=partial(_apply, parts),
        embed=partial(_embed, parts),
        features=partial(_features, parts),
        patch_size=backbone.patch_size,
        width=backbone.sizes.width,
        depth=backbone.sizes.depth,
        heads=backbone.sizes.heads,
    )
