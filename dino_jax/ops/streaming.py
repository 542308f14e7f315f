"""The loss from embeddings and prototypes, the student's logits made a chunk at a time.

The loss of `losses.dino_loss` is a sum over crops of lse(z) - <q, z>, with q the sum of the targets
a crop is compared with. Both terms are sums over prototypes, so that a chunk of logits serves and
is forgotten; the backward pass makes it again. Neither the logits nor the weight-normed matrix of
the last layer, nor their gradients, ever exist whole.

Letters of the einsums: b example, v view, c crop, d entry of an embedding, k prototype.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.lax import PrecisionLike
from jaxtyping import Array, Float, Float32

from dino_jax.ops.losses import pair_weights
from dino_jax.types import Prototypes

LARGEST_WHOLE = 8192
"""Up to so many prototypes are one chunk, whose logits are kept for the backward pass: they take no
more memory than a backbone's activations, and a product is saved."""
CHUNK = 4096
"""Prototypes of a chunk where there are more: its products are as quick as those of the whole."""

Carry = TypeVar("Carry")


class Sums(NamedTuple):
    """What is known of every crop after some of the prototypes.

    `peak` is the largest logit so far, `total` the sum of exp(logit - peak), `agreement` that of
    q (logit - peak), `mass` that of q. No term of a sum differs in sign: nothing cancels, however
    large the logits are.
    """

    peak: Float32[Array, "batch crops"]
    total: Float32[Array, "batch crops"]
    agreement: Float32[Array, "batch crops"]
    mass: Float32[Array, "batch crops"]


class Chunk(NamedTuple):
    """Some of the prototypes: the embeddings' products with them, and what else makes logits."""

    raw: Float32[Array, "batch crops chunk"]
    direction: Float32[Array, "chunk width"]
    scale: Float32[Array, " chunk"]
    square: Float32[Array, " chunk"]
    targets: Float32[Array, "batch views chunk"]

    def logits(self) -> Float32[Array, "batch crops chunk"]:
        """The logits over the temperature, which is in `scale`."""
        return self.raw * self.scale[None, None, :]

    def wanted(self) -> Float32[Array, "batch crops chunk"]:
        """The sum of the targets that each crop is compared with."""
        # Spelt out: a product with two rows would make an array of its own.
        pairs = pair_weights(self.targets.shape[1], self.raw.shape[1])
        summed = jnp.zeros_like(self.raw)
        for view, own in enumerate(pairs):
            summed = summed + own[None, :, None] * self.targets[:, view, None, :]
        return summed


def chunk_of(prototypes: int, chunk: int | None) -> int:
    """Return how many prototypes' logits exist at a time: `chunk`, or by their number.

    That is all of up to 8,192, and 4,096 of more. A last chunk may be smaller.
    """
    if chunk is None:
        chunk = prototypes if prototypes <= LARGEST_WHOLE else CHUNK
    return min(chunk, prototypes)


def streamed_loss(
    embeddings: Float[Array, "batch crops width"],
    prototypes: Prototypes,
    targets: Float[Array, "batch views prototypes"],
    *,
    temperature: float,
    chunk: int | None = None,
) -> Float32[Array, ""]:
    """Return `dino_loss` of the embeddings' logits, which are never made as a whole.

    The embeddings (global crops first) and both parts of the prototypes receive a gradient, the
    targets none. `temperature` is the student's (> 0), `chunk` (>= 1) as in `chunk_of`. Paper
    section 3.1, equation 3; reference 1.5.
    """
    size = chunk_of(targets.shape[-1], chunk)
    return _streamed(
        embeddings.astype(jnp.float32),
        prototypes,
        jax.lax.stop_gradient(targets),
        temperature,
        size,
    )


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _streamed(
    x: Array, prototypes: Prototypes, targets: Array, temperature: float, size: int
) -> Array:
    return _forward(x, prototypes, targets, temperature, size)[0]


Kept = tuple[Array, Prototypes, Array, Sums, Array | None]


def _forward(
    x: Array, prototypes: Prototypes, targets: Array, temperature: float, size: int
) -> tuple[Array, Kept]:
    def add(sums: Sums, start: Array | int, count: int) -> Sums:
        return _merged(sums, _summed(_chunk(x, prototypes, targets, temperature, start, count)))

    rows, raw = x.shape[:2], None
    if size == targets.shape[-1]:
        whole = _chunk(x, prototypes, targets, temperature, 0, size)
        sums, raw = _summed(whole), whole.raw
    else:
        zero = jnp.zeros(rows, jnp.float32)
        lowest = jnp.full(rows, jnp.finfo(jnp.float32).min)
        sums = _over_chunks(add, Sums(lowest, zero, zero, zero), targets.shape[-1], size)
    entropy = sums.mass * jnp.log(sums.total) - sums.agreement
    loss = entropy.sum() / _pairs(targets, x)
    return loss, (x, prototypes, targets, sums, raw)


def _backward(
    temperature: float, size: int, kept: Kept, gradient: Array
) -> tuple[Array, Prototypes, Array]:
    x, prototypes, targets, sums, raw = kept
    count = targets.shape[-1]
    factor = gradient / _pairs(targets, x)
    share = factor * sums.mass / sums.total

    def add(found: tuple[Array, Prototypes], start: Array | int, count: int) -> tuple:
        for_x, whole = found
        chunk = _chunk(x, prototypes, targets, temperature, start, count, raw=raw)
        soft = jnp.exp(chunk.logits() - sums.peak[:, :, None])
        for_logits = share[:, :, None] * soft - factor * chunk.wanted()
        turned = (for_logits * chunk.raw).sum(axis=(0, 1))
        scaled = for_logits * chunk.scale[None, None, :]
        for_x = for_x + _product("bck,kd->bcd", scaled, chunk.direction)
        along = _product("bck,bcd->kd", scaled, x)
        inward = (turned * chunk.scale / chunk.square)[:, None]
        part = Prototypes(
            along - inward * chunk.direction,
            (turned * jax.lax.rsqrt(chunk.square) / temperature)[:, None],
        )
        return for_x, jax.tree.map(
            lambda all_, some: jax.lax.dynamic_update_slice_in_dim(all_, some, start, 0),
            whole,
            part,
        )

    nothing = jax.tree.map(jnp.zeros_like, (x, prototypes))
    for_x, for_prototypes = _over_chunks(add, nothing, count, size)
    return for_x, for_prototypes, jnp.zeros_like(targets)


_streamed.defvjp(_forward, _backward)


def _product(letters: str, a: Array, b: Array) -> Array:
    """An einsum of float32 at its full precision.

    On an NVIDIA GPU by three products of TF32 halves, two and a half times as fast as one of
    float32 and as near: over unit vectors of 256 entries either is 2.9e-7 from the true products.
    """

    def by(precision: PrecisionLike) -> Callable[[Array, Array], Array]:
        return lambda a, b: jnp.einsum(letters, a, b, precision=precision)

    halves = jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3
    return jax.lax.platform_dependent(a, b, cuda=by(halves), default=by("highest"))


def _pairs(targets: Array, x: Array) -> float:
    """How many pairs of a view and another crop there are in the batch."""
    batch, views = targets.shape[:2]
    return float(batch * (views * x.shape[1] - min(views, x.shape[1])))


def _chunk(
    x: Array,
    prototypes: Prototypes,
    targets: Array,
    temperature: float,
    start: Array | int,
    count: int,
    *,
    raw: Array | None = None,
) -> Chunk:
    """The prototypes from `start` on; `raw` where the products were kept."""
    direction, scale = (
        jax.lax.dynamic_slice_in_dim(part, start, count, axis=0) for part in prototypes
    )
    square = jnp.square(direction).sum(axis=1)
    if raw is None:
        raw = _product("bcd,kd->bck", x, direction)
    # No epsilon, as in the reference: the rows are never zero.
    factor = scale[:, 0] * jax.lax.rsqrt(square) / temperature
    theirs = jax.lax.dynamic_slice_in_dim(targets, start, count, axis=2)
    return Chunk(raw, direction, factor, square, theirs)


def _summed(chunk: Chunk) -> Sums:
    logits, pairs = chunk.logits(), pair_weights(chunk.targets.shape[1], chunk.raw.shape[1])
    peak = logits.max(axis=-1)
    below = logits - peak[:, :, None]
    agreement = (chunk.wanted() * below).sum(axis=-1)
    mass = jnp.einsum("bv,vc->bc", chunk.targets.sum(axis=-1), pairs, precision="highest")
    return Sums(peak, jnp.exp(below).sum(axis=-1), agreement, mass)


def _merged(one: Sums, other: Sums) -> Sums:
    peak = jnp.maximum(one.peak, other.peak)
    total, agreement = jnp.zeros_like(peak), jnp.zeros_like(peak)
    for sums in (one, other):
        gap = sums.peak - peak
        total = total + sums.total * jnp.exp(gap)
        agreement = agreement + sums.agreement + gap * sums.mass
    return Sums(peak, total, agreement, one.mass + other.mass)


def _over_chunks(
    body: Callable[[Carry, Array | int, int], Carry], carry: Carry, prototypes: int, size: int
) -> Carry:
    """The carry after `body(carry, start, count)` of every chunk, in their order."""
    full, rest = divmod(prototypes, size)
    if full == 1:
        carry = body(carry, 0, size)
    else:
        carry = jax.lax.fori_loop(0, full, lambda i, kept: body(kept, i * size, size), carry)
    return body(carry, full * size, rest) if rest else carry
