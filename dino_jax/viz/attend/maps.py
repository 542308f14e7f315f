"""Maps of attention: the numbers that every figure, page and film shows.

A network runs once and gives the queries and keys of all its blocks; from these the attention of
any token in any block follows without holding every token's (paper, section 4.2.2 and figure 8).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from dino_jax.config import UserError
from dino_jax.interop.encoder import Encoder, finite
from dino_jax.models.vit import Features
from dino_jax.models.xcit import CLASS_BLOCKS
from dino_jax.ops.photometric import normalise
from dino_jax.types import Params

CLS = 0
"""The class token; the patches follow, row by row."""

Point = tuple[float, float]
"""A place in a picture: x and y in [0, 1], from its left and from its top."""


class Projections(NamedTuple):
    """Queries (scaled) and keys of some blocks for one picture; token 0 is CLS."""

    queries: Float[np.ndarray, "blocks heads tokens channels"]
    keys: Float[np.ndarray, "blocks heads tokens channels"]
    rows: int
    columns: int
    blocks: tuple[int, ...]
    """The block of each entry, counted from 0."""

    def attention(self, block: int, token: int) -> Float[np.ndarray, "heads tokens"]:
        """What one token attends to in one block: softmaxed over all tokens, CLS among them.

        `block` may count from the end of the network if it is the last that is held. Raises
        UserError for a block that is not held.
        """
        place = self.place(block)
        logits = np.einsum(
            "hc,hnc->hn",
            self.queries[place, :, token].astype(np.float64),
            self.keys[place].astype(np.float64),
        )
        return softmax(logits)

    def place(self, block: int) -> int:
        """Where a block is held; raises UserError if it is not."""
        wanted = block if block >= 0 else self.blocks[-1] + 1 + block
        if wanted not in self.blocks:
            raise UserError(f"block {block} is not held: {', '.join(map(str, self.blocks))} are")
        return self.blocks.index(wanted)

    def token(self, point: Point) -> int:
        """The patch in which a point lies."""
        return token_at(point, self.rows, self.columns)


def softmax(logits: Float[np.ndarray, "*rows tokens"]) -> Float[np.ndarray, "*rows tokens"]:
    """Over the last axis, summed in float64, as float32."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


def token_at(point: Point, rows: int, columns: int) -> int:
    """The token of the patch in which a point lies.

    Raises:
        UserError: it lies outside the picture.
    """
    x, y = point
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise UserError(
            f"--point={x:g},{y:g}: expected shares of width and height between 0 and 1, from the "
            "left and from the top"
        )
    row, column = min(int(y * rows), rows - 1), min(int(x * columns), columns - 1)
    return 1 + row * columns + column


def check_attention(encoder: Encoder, *, block: int = -1, points: bool = False) -> int:
    """The block's number counted from 0, in a network that can show what is asked for.

    Raises:
        UserError: no attention, no such block, or points in a network whose patches do not ask.
    """
    if not encoder.heads:
        raise UserError(
            f"{encoder.name} ({encoder.arch}) has no attention: give a ViT (dino_vits16, a run) or "
            "an XCiT"
        )
    crossed, depth = is_crossed(encoder), block_count(encoder)
    if not -depth <= block < depth:
        which = " with a class token" if crossed else ""
        raise UserError(f"--block={block}: {encoder.name} has {depth} blocks{which}, from 0")
    if points and crossed:
        raise UserError(
            f"{encoder.name} is an XCiT: only its class token attends to patches, so there is no "
            "map from a point, nor of all patches: give a ViT"
        )
    return block % depth


def check_head(encoder: Encoder, head: int | None) -> None:
    """Refuse a head that there is not; None is the mean of all.

    Raises:
        UserError: the network has fewer.
    """
    if head is not None and not 0 <= head < encoder.heads:
        raise UserError(f"--head={head}: {encoder.name} has {encoder.heads} heads, from 0")


def mean_of_heads(
    maps: Float[np.ndarray, "*maps heads rows columns"],
) -> Float[np.ndarray, "*maps rows columns"]:
    """The mean over heads, in float64 and then float32, as the explorer's page computes it.

    Which patches hold a share of it may hang on its last bit.
    """
    return maps.mean(axis=-3, dtype=np.float64).astype(np.float32)


def is_crossed(encoder: Encoder) -> bool:
    """Whether it is an XCiT, in which only the class token attends to patches."""
    return encoder.arch.startswith("xcit")


def block_count(encoder: Encoder) -> int:
    """How many blocks have maps: all of a ViT, the two class blocks of an XCiT."""
    return CLASS_BLOCKS if is_crossed(encoder) else encoder.depth


def projections(
    encoder: Encoder,
    pixels: UInt8[np.ndarray, "height width channels"],
    *,
    blocks: Literal["all"] | Sequence[int] = "all",
) -> Projections:
    """Run a ViT on one picture and keep the queries and keys of `blocks` (negative: from the end).

    One program is compiled for a network and a shape, whatever the blocks.

    Raises:
        UserError: no ViT, no such block, or weights that diverged.
    """
    check_attention(encoder, points=True)
    if isinstance(blocks, str):
        chosen = tuple(range(encoder.depth))
    else:
        chosen = tuple(check_attention(encoder, block=each) for each in blocks)
    found = _projected(
        encoder.params,
        jnp.asarray(pixels)[None],
        features=encoder.features,
        depth=encoder.depth,
        mean=tuple(encoder.mean),
        std=tuple(encoder.std),
    )
    held = finite(np.stack([np.asarray(found[block][0]) for block in chosen], axis=1), encoder)
    rows, columns = (side // encoder.patch_size for side in pixels.shape[:2])
    return Projections(held[0], held[1], rows, columns, chosen)


def attention_maps(
    encoder: Encoder,
    pixels: UInt8[np.ndarray, "height width channels"],
    *,
    block: int = -1,
    points: Sequence[Point] = (),
) -> Float[np.ndarray, "queries heads rows columns"]:
    """What CLS, then the patch at each of `points`, attends to in one block: a map a head.

    A map sums to 1 less what the token gives to CLS. Any ViT; of an XCiT CLS in its two class
    blocks.

    Raises:
        UserError: see `check_attention` and `token_at`; or weights that diverged.
    """
    chosen = check_attention(encoder, block=block, points=bool(points))
    rows, columns = (side // encoder.patch_size for side in pixels.shape[:2])
    if is_crossed(encoder):
        found = class_attention(
            encoder.params,
            jnp.asarray(pixels)[None],
            features=encoder.features,
            block=chosen,
            mean=tuple(encoder.mean),
            std=tuple(encoder.std),
        )
        each = [finite(np.asarray(found)[0], encoder)]
    else:
        held = projections(encoder, pixels, blocks=(chosen,))
        tokens = [CLS, *(held.token(point) for point in points)]
        each = [held.attention(chosen, token) for token in tokens]
    return np.stack([maps[:, 1:].reshape(-1, rows, columns) for maps in each])


@partial(jax.jit, static_argnames=("features", "depth", "mean", "std"))
def _projected(
    params: Params,
    pixels: UInt8[Array, "1 height width channels"],
    *,
    features: Callable[..., Features],
    depth: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> tuple[Array, ...]:
    return features(params, normalise(pixels, mean, std), projections=depth).projections


@partial(jax.jit, static_argnames=("features", "block", "mean", "std"))
def class_attention(
    params: Params,
    pixels: UInt8[Array, "batch height width channels"],
    *,
    features: Callable[..., Features],
    block: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Float[Array, "batch heads tokens"]:
    """What CLS attends to in one block of a network that gives its attention."""
    normal = normalise(pixels, mean, std)
    found = features(params, normal, attention=True, attention_block=block).attention
    if found is None:
        raise ValueError("the network gave no attention")
    return found[:, :, CLS]
