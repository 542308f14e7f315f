"""The cross-covariance image transformer, XCiT, as DINO trains it (reference: `xcit.py`)."""

from functools import partial
from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from dino_jax.config import UserError
from dino_jax.models.initial import DECLARED
from dino_jax.models.layers import LayerNorm
from dino_jax.models.remat import rematerialised, rematerialised_body
from dino_jax.models.vit import Features
from dino_jax.models.xcit_blocks import Block, ClassBlock, Grid
from dino_jax.models.xcit_tokens import PatchEmbed, PositionalEncoding

CLASS_BLOCKS = 2
"""Class-attention blocks after the trunk: those that see a class token."""


def drop_path_factors(
    keys: Key[Array, "batch"], rate: float, depth: int
) -> Float[Array, "depth 3 batch"]:
    """Multipliers of the three branches of every trunk block: 0, or 1 / (1 − `rate`).

    The rate is the same in all blocks (xcit.py:340). Every draw is a function of the sample's own
    key, independent of what else is in the batch.
    """
    draws = jax.vmap(lambda key: jax.random.uniform(key, (depth, 3)))(keys).transpose(1, 2, 0)
    return jnp.where(draws >= rate, 1 / (1 - rate), 0.0)


class Trunk(nn.Module):
    """The blocks without a class token, run one by one or by `lax.scan` over what they hold.

    Both ways read and write the same trees, one leaf per block and tensor.
    """

    depth: int
    heads: int
    dtype: DTypeLike = jnp.float32
    scanned: bool = False
    remat: str = "none"

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        grid: Grid,
        factors: Float[Array, "depth 3 batch"] | None,
        *,
        train: bool,
    ) -> Float[Array, "batch tokens width"]:
        """The patch tokens after the last block."""
        if self.scanned and not self.is_initializing():
            return self._scan(x, grid, factors, train)
        for index in range(self.depth):
            own = None if factors is None else factors[index]
            call = rematerialised(partial(_run, grid=grid, train=train), self.remat)
            x = call(Block(self.heads, self.dtype, name=str(index)), x, own)
        return x

    def _scan(self, x: Array, grid: Grid, factors: Array | None, train: bool) -> Array:
        """Run all blocks by one traced body, the batch statistics going in and coming out."""
        each = [
            {kind: self.variables[kind][str(index)] for kind in ("params", "batch_stats")}
            for index in range(self.depth)
        ]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
        block = Block(self.heads, self.dtype, parent=None)
        mutable = ["batch_stats"] if train else []

        def body(x: Array, inputs: tuple) -> tuple[Array, dict]:
            own, factors = inputs
            found = block.apply(own, x, grid, factors, train=train, mutable=mutable)
            return cast(tuple[Array, dict], found)

        x, changed = jax.lax.scan(rematerialised_body(body, self.remat), x, (stacked, factors))
        if train:
            for index in range(self.depth):
                own = jax.tree.map(lambda leaf, index=index: leaf[index], changed["batch_stats"])
                self.put_variable("batch_stats", str(index), own)
        return x


def _run(block: Block, x: Array, factors: Array | None, *, grid: Grid, train: bool) -> Array:
    return block(x, grid, factors, train=train)


class ClassBlocks(nn.Module):
    """The two blocks in which a class token gathers what the patches hold."""

    heads: int
    tokens_norm: bool = True
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch tokens width"], *, map_of: int | None, cls_only: bool
    ) -> tuple[list[Array], Float[Array, "batch heads 1 tokens"] | None]:
        """Every block's output, the last one's cut to the class token, and one block's map."""
        outputs, attention = [], None
        for index in range(CLASS_BLOCKS):
            block = ClassBlock(self.heads, self.tokens_norm, self.dtype, name=str(index))
            last = cls_only and index == CLASS_BLOCKS - 1
            x, found = block(x, cls_only=last, return_map=index == map_of)
            attention = attention if found is None else found
            outputs.append(x)
        return outputs, attention


class XCiT(nn.Module):
    """Convolutional patches, `depth` blocks of channel attention, two class-attention blocks.

    `tokens_norm` is False in the original's nano networks alone.
    """

    width: int
    depth: int
    heads: int
    patch_size: int
    dtype: DTypeLike = jnp.float32
    tokens_norm: bool = True
    scanned: bool = False
    remat: str = "none"

    def setup(self) -> None:
        """Declare the parameters under the original's names."""
        self.cls_token = self.param("cls_token", DECLARED, (1, 1, self.width), jnp.float32)
        self.patch_embed = PatchEmbed(self.width, self.patch_size, self.dtype)
        self.pos_embeder = PositionalEncoding(self.width)
        self.blocks = Trunk(self.depth, self.heads, self.dtype, self.scanned, self.remat)
        self.cls_attn_blocks = ClassBlocks(self.heads, self.tokens_norm, self.dtype)
        self.norm = LayerNorm()

    def __call__(
        self,
        images: Float[Array, "batch height width channels"],
        factors: Float[Array, "depth 3 batch"] | None = None,
        *,
        train: bool,
        blocks: int = 0,
        map_of: int | None = None,
        cls_only: bool = False,
    ) -> Features:
        """Encode normalised images of any size; `train` normalises by their own statistics.

        Only the class-attention blocks have a class token. So the attention is that of class block
        `map_of`, 0 or 1: shape (batch, heads, 1, tokens), the class token's row over itself and
        all patches; and `blocks`, at most 2, counts class-attention blocks. With `cls_only` there
        are no patches, and the last block computes the class token alone, which is the same.
        """
        if not 0 <= blocks <= CLASS_BLOCKS or map_of not in (None, *range(CLASS_BLOCKS)):
            raise UserError(
                f"blocks={blocks}, attention of block {map_of}: an XCiT has {CLASS_BLOCKS} "
                "blocks with a class token"
            )
        map_ = self.patch_embed(images, train=train)
        batch, *grid, width = map_.shape
        rows, columns = grid
        x = map_.reshape(batch, rows * columns, width)
        x = x + jnp.broadcast_to(self.pos_embeder((rows, columns)), x.shape)
        x = self.blocks(x, (rows, columns), factors, train=train)
        cls = jnp.broadcast_to(self.cls_token, (batch, 1, width))
        x = jnp.concatenate([cls, x], axis=1)
        outputs, attention = self.cls_attn_blocks(x, map_of=map_of, cls_only=cls_only)
        normed = tuple(self.norm(output) for output in outputs[-max(blocks, 1) :])
        last = normed[-1]
        return Features(last[:, 0], last[:, 1:], attention, normed if blocks else ())
