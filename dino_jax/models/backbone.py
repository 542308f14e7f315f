"""One interface to the families of backbones: what each is made of, and how it is run."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from dino_jax.config import ModelConfig, UserError
from dino_jax.config.architectures import RESNET_STRIDE, Architecture, architecture_of
from dino_jax.models.initial import RESNET_RULES, VIT_RULES, Rule, draw, fresh_stats, xcit_rules
from dino_jax.models.naming import flatten, unflatten
from dino_jax.models.remat import POLICIES
from dino_jax.models.resnet import ResNet
from dino_jax.models.vit import (
    Features,
    ImageSize,
    VisionTransformer,
    drop_path_factors,
    sides,
)
from dino_jax.models.xcit import CLASS_BLOCKS, XCiT
from dino_jax.models.xcit import drop_path_factors as xcit_drop_path_factors
from dino_jax.types import Params, Stats

LONGEST_UNROLLED = 12
"""`blocks = "auto"` unrolls up to this depth, that of every named architecture but one: the scan's
loop and the stacking of parameters cost 3 to 12 % of every step on CPU, and what it saves is
compile time, paid once a run. Deeper stacks are scanned, since compile time grows with depth, and
those with `model.remat`, whose memory XLA:CPU saves in a scan alone."""


class Backbone(NamedTuple):
    """A network from images to features, by parameters without the prefix `backbone.`."""

    module: nn.Module
    rules: Sequence[Rule]
    sizes: Architecture
    image_size: ImageSize
    channels: int
    patch_size: int
    """Pixels of an image that share one of its `patches`, along a side."""
    factors: Callable[[Key[Array, "batch"]], Array] | None = None
    """From a key a sample to what drop path multiplies the branches of every block by; None: it
    drops nothing."""
    batch_norm: bool = False
    """Whether it keeps batch statistics, and tells training from evaluation."""
    kept_blocks: int = 0
    """The most `blocks` it can return."""
    maps: int = 0
    """Blocks whose attention it can return."""
    projected: int = 0
    """Blocks whose queries and keys it can return: those in which every token asks every token."""

    def init(self, key: Key[Array, ""]) -> tuple[Params, Stats]:
        """Fresh parameters and batch statistics (empty where it has none)."""
        sample = jax.ShapeDtypeStruct((1, *sides(self.image_size), self.channels), jnp.float32)
        options: dict[str, Any] = {"train": False} if self.batch_norm else {}
        declared = jax.eval_shape(lambda x: self.module.init(key, x, **options), sample)
        params = draw(key, flatten(declared["params"]), self.rules)
        return params, fresh_stats(flatten(declared.get("batch_stats", {})))

    def __call__(
        self,
        params: Params,
        stats: Stats,
        images: Float[Array, "batch height width channels"],
        *,
        train: bool,
        **options: Any,
    ) -> tuple[Features, Stats]:
        """Features of normalised images, and the statistics after them.

        In training batch normalisation reads the batch and updates the statistics; in evaluation
        it reads the statistics and leaves them. `options` are the module's own.
        """
        _check_channels(images.shape[-1], self.channels)
        variables = {"params": unflatten(params)}
        if not self.batch_norm:
            return cast(Features, self.module.apply(variables, images, **options)), {}
        if not stats:
            raise ValueError("this network is run with its batch statistics: pass params | stats")
        variables["batch_stats"] = unflatten(stats)
        if not train:
            found = self.module.apply(variables, images, train=False, **options)
            return cast(Features, found), stats
        found, changed = self.module.apply(
            variables, images, train=True, mutable=["batch_stats"], **options
        )
        return cast(Features, found), flatten(changed["batch_stats"])


def build_backbone(
    model: ModelConfig, *, image_size: ImageSize, dtype: DTypeLike, drop_path: float
) -> Backbone:
    """The backbone that a configuration names, for images of `image_size` pixels (see `build`).

    Raises:
        UserError: what cannot be built.
    """
    sizes = architecture_of(model)
    _check(model, drop_path)
    asked = _Asked(model, sizes, image_size, dtype, drop_path)
    return {"vit": _vit, "resnet": _resnet, "xcit": _xcit}[sizes.family](asked)


class _Asked(NamedTuple):
    model: ModelConfig
    sizes: Architecture
    image_size: ImageSize
    dtype: DTypeLike
    drop_path: float

    @property
    def shared(self) -> tuple[Architecture, ImageSize, int]:
        return self.sizes, self.image_size, self.model.channels

    @property
    def scanned(self) -> bool:
        long = self.sizes.depth > LONGEST_UNROLLED
        wanted = long or self.model.remat != "none"
        return self.model.blocks == "scanned" or (self.model.blocks == "auto" and wanted)


def _check(model: ModelConfig, drop_path: float) -> None:
    if model.blocks not in ("auto", "unrolled", "scanned"):
        raise UserError(f"model.blocks is {model.blocks!r}: expected auto, unrolled or scanned")
    if model.remat not in ("none", *POLICIES):
        raise UserError(f"model.remat is {model.remat!r}: expected none, dots or blocks")
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


def _vit(asked: _Asked) -> Backbone:
    (width, depth, heads), patch = asked.sizes[1:4], asked.model.patch_size
    smallest = min(sides(asked.image_size))
    if patch < 1 or smallest < patch:
        raise UserError(
            f"an image of {smallest} pixels holds no patch of {patch}: raise "
            "crops.global_size or lower model.patch_size"
        )
    drop = asked.drop_path
    module = VisionTransformer(
        width,
        depth,
        heads,
        patch,
        asked.image_size,
        asked.dtype,
        scanned=asked.scanned,
        attention=asked.model.attention,
        remat=asked.model.remat,
    )
    return Backbone(
        module,
        VIT_RULES,
        *asked.shared,
        patch_size=patch,
        factors=partial(drop_path_factors, rate=drop, depth=depth) if drop else None,
        kept_blocks=depth,
        maps=depth,
        projected=depth,
    )


def _resnet(asked: _Asked) -> Backbone:
    """Without drop path, whatever its rate: the original leaves it out too (main_dino.py:175)."""
    if asked.model.remat != "none":
        raise UserError(
            f"model.remat is {asked.model.remat!r}: a ResNet keeps all that its gradient needs; "
            "set model.remat to none"
        )
    return Backbone(
        ResNet(asked.sizes.width, asked.sizes.stages, asked.dtype),
        RESNET_RULES,
        *asked.shared,
        patch_size=RESNET_STRIDE,
        batch_norm=True,
    )


def _xcit(asked: _Asked) -> Backbone:
    (width, depth, heads), patch = asked.sizes[1:4], asked.model.patch_size
    drop = asked.drop_path
    return Backbone(
        XCiT(
            width,
            depth,
            heads,
            patch,
            asked.dtype,
            scanned=asked.scanned,
            remat=asked.model.remat,
        ),
        xcit_rules(asked.sizes.layer_scale),
        *asked.shared,
        patch_size=patch,
        factors=partial(xcit_drop_path_factors, rate=drop, depth=depth) if drop else None,
        batch_norm=True,
        kept_blocks=CLASS_BLOCKS,
        maps=CLASS_BLOCKS,
    )
