"""Labels carried through a video by matching patches (reference, section 1.10, DAVIS-2017).

Each patch of a frame takes the labels of the patches most like it, in the first frame and in the
last few, near its own place. Only that neighbourhood is ever compared: the frame is worked through
in tiles, so that memory does not grow with the square of the number of patches.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from dino_jax.ops.neighbours import unit

TILE = 8
"""Side in patches of the tiles a frame is worked through in: larger ones compare more in vain."""


class Context(NamedTuple):
    """The frames that labels are taken from: the first, and a ring of the last ones.

    `features` are of length one, `segments` say how much of each label a patch has, and `passed`
    counts the frames since the first; places of the ring that are not filled yet are not looked at.
    """

    features: Float[Array, "frames rows columns width"]
    segments: Float[Array, "frames rows columns labels"]
    passed: Int[Array, ""]


@functools.partial(jax.jit, static_argnames=("length",))
def begin(
    features: Float[Array, "rows columns width"],
    segments: Float[Array, "rows columns labels"],
    *,
    length: int,
) -> Context:
    """The context of the second frame: the first frame, and room for the `length` last ones."""
    frames = 1 + length
    place = jnp.zeros((frames, *features.shape), jnp.float32).at[0].set(unit(features))
    labels = jnp.zeros((frames, *segments.shape), jnp.float32).at[0].set(segments)
    return Context(place, labels, jnp.int32(0))


@functools.partial(jax.jit, static_argnames=("neighbourhood", "top_k", "temperature"))
def advance(
    context: Context,
    features: Float[Array, "rows columns width"],
    *,
    neighbourhood: int = 12,
    top_k: int = 5,
    temperature: float = 0.1,
) -> tuple[Context, Float[Array, "rows columns labels"]]:
    """Segment the next frame by its patch features; return the context with it, and its segments.

    A patch looks at those at most `neighbourhood` rows and columns away (0: at all) in every frame
    of the context together, keeps the `top_k` with the highest cosine, and all that equal the last
    of these, and takes the mean of their segments weighted by exp(cosine / `temperature`). The sum
    over labels is that of the context's, 1.
    """
    features = unit(features)
    segments = _propagated(context, features, neighbourhood, top_k, temperature)
    length = len(context.features) - 1
    if not length:
        return context, segments
    place = 1 + context.passed % length
    following = Context(
        context.features.at[place].set(features),
        context.segments.at[place].set(segments),
        context.passed + 1,
    )
    return following, segments


def _propagated(
    context: Context,
    features: Float[Array, "rows columns width"],
    neighbourhood: int,
    top_k: int,
    temperature: float,
) -> Float[Array, "rows columns labels"]:
    rows, columns, width = features.shape
    frames = len(context.features)
    reach = neighbourhood or max(rows, columns)
    tall, wide = min(TILE, rows), min(TILE, columns)
    source_tall, source_wide = min(tall + 2 * reach, rows), min(wide + 2 * reach, columns)
    filled = jnp.arange(frames, dtype=jnp.int32) <= context.passed

    def tile(corner: Int[Array, "2"]) -> Float[Array, "places labels"]:
        # Slices of one size everywhere: at a border they reach further than need be, inwards.
        top = jnp.clip(corner[0] - reach, 0, rows - source_tall)
        left = jnp.clip(corner[1] - reach, 0, columns - source_wide)
        target = jax.lax.dynamic_slice(features, (*corner, 0), (tall, wide, width))
        sources, segments = (
            jax.lax.dynamic_slice(
                each, (0, top, left, 0), (frames, source_tall, source_wide, each.shape[-1])
            )
            for each in (context.features, context.segments)
        )
        near_rows = _near(corner[0], tall, top, source_tall, reach)
        near_columns = _near(corner[1], wide, left, source_wide, reach)
        seen = (
            near_rows[:, None, None, :, None]
            & near_columns[None, :, None, None, :]
            & filled[None, None, :, None, None]
        )
        cosines = jnp.matmul(
            target.reshape(-1, width),
            sources.reshape(-1, width).T,
            precision=jax.lax.Precision.HIGHEST,
        )
        cosines = jnp.where(seen.reshape(cosines.shape), cosines, -jnp.inf)
        weights = _weights(cosines, top_k, temperature)
        return jnp.matmul(
            weights,
            segments.reshape(-1, segments.shape[-1]),
            precision=jax.lax.Precision.HIGHEST,
        )

    corners, order = _tiles(rows, columns, tall, wide)
    found = jax.lax.map(tile, jnp.asarray(corners, jnp.int32))
    found = found.reshape(-1, found.shape[-1])[order]
    return found.reshape(rows, columns, -1)


def _weights(
    cosines: Float[Array, "targets sources"], top_k: int, temperature: float
) -> Float[Array, "targets sources"]:
    """Weights that sum to 1 over the sources kept; those at -inf are never kept."""
    best = jax.lax.top_k(cosines, min(top_k, cosines.shape[1]))[0]
    # Without the barrier XLA for CPUs works the selection into what follows, five times slower.
    best, cosines = jax.lax.optimization_barrier((best, cosines))
    peak, last = best[:, :1], best[:, -1:]
    kept = (cosines >= last) & (cosines > -jnp.inf)
    # Relative to the best: the quotient is the same, and no temperature makes it overflow.
    weights = jnp.where(kept, jnp.exp((cosines - peak) / temperature), 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def _near(
    target: Int[Array, ""], targets: int, source: Int[Array, ""], sources: int, reach: int
) -> Bool[Array, "targets sources"]:
    """Which source rows (or columns) lie within reach of which target rows (or columns)."""
    own = target + jnp.arange(targets, dtype=jnp.int32)
    others = source + jnp.arange(sources, dtype=jnp.int32)
    return jnp.abs(own[:, None] - others[None, :]) <= reach


def _tiles(
    rows: int, columns: int, tall: int, wide: int
) -> tuple[Int[np.ndarray, "tiles 2"], Int[np.ndarray, " places"]]:
    """Corners of tiles that cover the frame, and where each patch lies among all their places.

    The last tile of a line ends with it, so it may cover again what the one before has covered.
    """
    tops = np.minimum(np.arange(0, rows, tall), rows - tall)
    lefts = np.minimum(np.arange(0, columns, wide), columns - wide)
    corners = np.stack(np.meshgrid(tops, lefts, indexing="ij"), axis=-1).reshape(-1, 2)
    row, column = np.arange(rows), np.arange(columns)
    tile = (row // tall)[:, None] * len(lefts) + (column // wide)[None, :]
    within_row = row - tops[row // tall]
    within_column = column - lefts[column // wide]
    order = tile * tall * wide + within_row[:, None] * wide + within_column[None, :]
    return corners, order.reshape(-1)


@functools.partial(jax.jit, static_argnames=("patch",))
def decide(
    segments: Float[Array, "rows columns labels"], *, patch: int
) -> Int[Array, "height width"]:
    """The label of every pixel: segments enlarged `patch` times, each stretched to 0..1, the most.

    A label that no patch has stays at 0, one that all have alike at 1; of equals the lowest wins.
    """
    fine = _enlarged(_enlarged(segments, patch, axis=1), patch, axis=0)
    low, high = (reduce(fine, axis=(0, 1), keepdims=True) for reduce in (jnp.min, jnp.max))
    span = jnp.where(high > low, high - low, 1.0)
    even = jnp.where(high > 0, 1.0, jnp.zeros_like(fine))
    return jnp.argmax(jnp.where(high > low, (fine - low) / span, even), axis=-1)


def _enlarged(values: Float[Array, "..."], factor: int, *, axis: int) -> Float[Array, "..."]:
    """Linear interpolation between the centres, the outermost values repeated beyond them."""
    count = values.shape[axis]
    places = np.maximum((np.arange(count * factor) + 0.5) / factor - 0.5, 0)
    before = places.astype(np.int64)
    shape = [1] * values.ndim
    shape[axis] = -1
    share = jnp.asarray((places - before).reshape(shape), jnp.float32)
    after = np.minimum(before + 1, count - 1)
    return (1 - share) * jnp.take(values, before, axis) + share * jnp.take(values, after, axis)
