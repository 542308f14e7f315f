"""The vision transformer of DINO (reference: `vision_transformer.py`)."""

import math
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from dino_jax.config import UserError
from dino_jax.models.block import Block, Shown
from dino_jax.models.initial import DECLARED
from dino_jax.models.layers import LayerNorm, PatchProjection
from dino_jax.models.posembed import interpolate
from dino_jax.models.remat import rematerialised, rematerialised_body

ImageSize = int | tuple[int, int]
"""Pixels of a side, or (height, width) where the position table is that of this size alone."""


def sides(size: ImageSize) -> tuple[int, int]:
    """Height and width in pixels."""
    return (size, size) if isinstance(size, int) else size


class Features(NamedTuple):
    """What a backbone says about images, all float32.

    `cls` and `patches` are the final norm's output; `attention` the softmaxed map of one block;
    `blocks` the outputs of the last blocks, earliest first, each through the final norm;
    `projections` the queries, already times 1 / sqrt(channels), and the keys of the last blocks,
    earliest first: softmax(queries keys^T) is the map of attention, from any token.
    """

    cls: Float[Array, "batch width"]
    patches: Float[Array, "batch patches width"]
    attention: Float[Array, "batch heads tokens tokens"] | None = None
    blocks: tuple[Float[Array, "batch tokens width"], ...] = ()
    projections: tuple[Float[Array, "batch 2 heads tokens channels"], ...] = ()


def drop_path_rates(rate: float, depth: int) -> Float[Array, "depth"]:
    """The probability of dropping a branch, rising linearly from 0 in the first block to `rate`."""
    return jnp.linspace(0.0, rate, depth)


def drop_path_factors(
    keys: Key[Array, "batch"], rate: float, depth: int
) -> Float[Array, "depth 2 batch"]:
    """Multipliers of the two residual branches of every block: 0, or 1 / (1 − its rate).

    Every draw is a function of the sample's own key, independent of what else is in the batch.
    """
    draws = jax.vmap(lambda key: jax.random.uniform(key, (depth, 2)))(keys).transpose(1, 2, 0)
    rates = jnp.broadcast_to(drop_path_rates(rate, depth)[:, None, None], draws.shape)
    return jnp.where(draws >= rates, 1 / (1 - rates), 0.0)


class Blocks(nn.Module):
    """The stack of blocks, run one by one or by `lax.scan` over their stacked parameters.

    Both ways read the same parameter tree, one leaf per block and tensor.
    """

    depth: int
    heads: int
    dtype: DTypeLike = jnp.float32
    scanned: bool = False
    attention: str = "auto"
    remat: str = "none"

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        factors: Float[Array, "depth 2 batch"] | None,
        *,
        keep: int,
        map_of: int | None,
        project: int = 0,
        asking: int | None = None,
    ) -> tuple[list[Float[Array, "batch _ width"]], list[Shown]]:
        """The last `keep` (≥ 1) block outputs, and what the blocks show that were not scanned.

        Shown are the map of block `map_of` and the projections of the last `project` blocks. The
        last block puts out its first `asking` tokens, or all.
        """
        start, first_projected = 0, self.depth - project
        if self.scanned and not self.is_initializing():
            mapped = self.depth if map_of is None else map_of
            start = min(self.depth - keep, mapped, first_projected)
            x = self._scan(x, factors, start)
        outputs, shown = [], []
        for index in range(start, self.depth):
            block = Block(self.heads, self.dtype, self.attention, name=str(index))
            own = None if factors is None else factors[index]
            showing: dict[str, Any] = {
                "return_map": index == map_of,
                "return_projections": index >= first_projected,
            }
            last = asking if index == self.depth - 1 else None
            call = rematerialised(partial(_run, asking=last, **showing), self.remat)
            x, found = call(block, x, own)
            outputs.append(x)
            shown.append(found)
        return (outputs or [x])[-keep:], shown

    def _scan(self, x: Array, factors: Array | None, count: int) -> Array:
        """Run the first `count` blocks by one traced body."""
        if count == 0:
            return x
        params = [self.variables["params"][str(index)] for index in range(count)]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
        block = Block(self.heads, self.dtype, self.attention, parent=None)

        def body(x: Array, inputs: tuple) -> tuple[Array, None]:
            own, factors = inputs
            return block.apply({"params": own}, x, factors)[0], None

        inputs = stacked, None if factors is None else factors[:count]
        return jax.lax.scan(rematerialised_body(body, self.remat), x, inputs)[0]


def _run(block: Block, x: Array, factors: Array | None, **options: Any) -> tuple[Array, Shown]:
    return block(x, factors, **options)


class PatchEmbed(nn.Module):
    """Cut an image into patches and project each (one level of names, as in the original)."""

    width: int
    patch_size: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch patches features"]:
        """One token per whole patch, row by row."""
        return PatchProjection(self.width, self.patch_size, self.dtype, name="proj")(images)


class VisionTransformer(nn.Module):
    """Patches, a class token, learned positions, `depth` pre-norm blocks and a final norm."""

    width: int
    depth: int
    heads: int
    patch_size: int
    image_size: ImageSize
    dtype: DTypeLike = jnp.float32
    scanned: bool = False
    attention: str = "auto"
    remat: str = "none"

    def setup(self) -> None:
        """Declare the parameters under the original's names."""
        native = math.prod(side // self.patch_size for side in sides(self.image_size))
        self.cls_token = self.param("cls_token", DECLARED, (1, 1, self.width), jnp.float32)
        self.pos_embed = self.param("pos_embed", DECLARED, (1, native + 1, self.width), jnp.float32)
        self.patch_embed = PatchEmbed(self.width, self.patch_size, self.dtype)
        self.blocks = Blocks(
            self.depth, self.heads, self.dtype, self.scanned, self.attention, self.remat
        )
        self.norm = LayerNorm()

    def tokens(
        self, images: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch tokens features"]:
        """What enters the first block: class token and patches with positions added, float32."""
        height, width = images.shape[1:3]
        if min(height, width) < self.patch_size:
            raise UserError(
                f"a crop of {height}x{width} pixels is smaller than a patch of {self.patch_size}: "
                "raise the crop size or lower model.patch_size"
            )
        patches = self.patch_embed(images).astype(jnp.float32)
        cls = jnp.broadcast_to(self.cls_token, (patches.shape[0], 1, self.width))
        positions = interpolate(
            self.pos_embed,
            height,
            width,
            self.patch_size,
            baked=None if isinstance(self.image_size, int) else self.image_size,
        )
        tokens = jnp.concatenate([cls, patches], axis=1)
        return tokens + jnp.broadcast_to(positions, tokens.shape)

    def __call__(
        self,
        images: Float[Array, "batch height width channels"],
        factors: Float[Array, "depth 2 batch"] | None = None,
        *,
        blocks: int = 0,
        map_of: int | None = None,
        project: int = 0,
        cls_only: bool = False,
    ) -> Features:
        """Encode normalised images; `factors` are the drop path's, absent outside training.

        With `cls_only` there are no patches, and the last block computes none but what the class
        token needs of them: three quarters of a block saved, the class token is the same.
        """
        outputs, shown = self.blocks(
            self.tokens(images),
            factors,
            keep=max(blocks, 1),
            map_of=map_of,
            project=project,
            asking=1 if cls_only else None,
        )
        normed = tuple(self.norm(output) for output in outputs)
        last = normed[-1]
        return Features(
            last[:, 0],
            last[:, 1:],
            next((each.map for each in shown if each.map is not None), None),
            normed if blocks else (),
            tuple(each.projections for each in shown if each.projections is not None),
        )
