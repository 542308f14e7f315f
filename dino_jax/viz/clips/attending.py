"""Maps of attention of frame after frame: the numbers of `viz.attend.maps`, several at a time."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from dino_jax.interop.encoder import Encoder, finite
from dino_jax.models.vit import Features
from dino_jax.ops.photometric import normalise
from dino_jax.types import Params
from dino_jax.viz.attend.maps import (
    CLS,
    check_attention,
    check_head,
    class_attention,
    is_crossed,
    mean_of_heads,
    softmax,
)

_PATCHES = 8192  # at once: the memory for attention grows with these times one frame's
_MOST = 16  # frames at once


def maps_of_frames(
    encoder: Encoder,
    frames: Iterable[UInt8[np.ndarray, "height width channels"]],
    *,
    block: int = -1,
    head: int | None = None,
    batch_size: int | None = None,
) -> Iterator[Float[np.ndarray, "rows columns"]]:
    """What CLS attends to in each frame: a map of one head, or the mean of all, as a still's.

    Frames have one shape, whole patches. They are read `batch_size` at a time (by default as many
    as hold 8,192 patches), the last batch filled up, so that one program is compiled. The next
    batch is read while one is computed.

    Raises:
        UserError: no attention, no such block or head, or weights that diverged.
    """
    chosen = check_attention(encoder, block=block)
    check_head(encoder, head)
    frames = iter(frames)
    if (first := next(frames, None)) is None:
        return
    rows, columns = (side // encoder.patch_size for side in first.shape[:2])
    size = batch_size or min(max(1, _PATCHES // (rows * columns)), _MOST)
    frames, last = itertools.chain([first], frames), None
    while batch := list(itertools.islice(frames, size)):
        filled = np.stack([*batch, *[batch[-1]] * (size - len(batch))])
        computed = len(batch), _asked(encoder, filled, chosen)
        if last is not None:
            yield from _finished(encoder, *last, head, rows, columns)
        last = computed
    if last is not None:
        yield from _finished(encoder, *last, head, rows, columns)


def _asked(
    encoder: Encoder, frames: UInt8[np.ndarray, "batch height width channels"], block: int
) -> tuple[Array, ...]:
    """Begin to compute: queries of CLS and all keys of a ViT, the attention itself of an XCiT."""
    given = {"features": encoder.features, "mean": tuple(encoder.mean), "std": tuple(encoder.std)}
    if is_crossed(encoder):
        return (class_attention(encoder.params, jnp.asarray(frames), block=block, **given),)
    last = encoder.depth - block
    return _projected(encoder.params, jnp.asarray(frames), last=last, **given)


def _finished(
    encoder: Encoder,
    count: int,
    found: tuple[Array, ...],
    head: int | None,
    rows: int,
    columns: int,
) -> Iterator[Float[np.ndarray, "{rows} {columns}"]]:
    values = [finite(np.asarray(each)[:count], encoder) for each in found]
    if len(values) == 2:
        queries, keys = (each.astype(np.float64) for each in values)
        attention = softmax(np.einsum("bhc,bhnc->bhn", queries, keys))
    else:
        attention = values[0]
    maps = attention[..., 1:].reshape(count, -1, rows, columns)
    yield from mean_of_heads(maps) if head is None else maps[:, head]


@partial(jax.jit, static_argnames=("features", "last", "mean", "std"))
def _projected(
    params: Params,
    frames: UInt8[Array, "batch height width channels"],
    *,
    features: Callable[..., Features],
    last: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> tuple[Float[Array, "batch heads each"], Float[Array, "batch heads tokens each"]]:
    found = features(params, normalise(frames, mean, std), projections=last).projections[0]
    return found[:, 0, :, CLS], found[:, 1]
