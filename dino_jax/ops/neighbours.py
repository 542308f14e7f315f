"""Weighted nearest neighbours: a search that streams the bank over all devices, and the votes."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

AnyArray = jax.Array | np.ndarray
BANK_CHUNK = 32768
QUERY_CHUNK = 1024
_VOTERS = 2048  # queries whose votes are counted at once
_Best = tuple[Array, Array]  # products and indices found so far


def unit(vectors: Float[AnyArray, "*n d"]) -> Float[Array, "*n d"]:
    """Scale each row to length one, as the reference does before the vote (zero rows stay zero)."""
    vectors = jnp.asarray(vectors, jnp.float32)
    length = jnp.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / jnp.maximum(length, 1e-12)


class _Layout(NamedTuple):
    """Which rows of the bank a device looks at, and when.

    Device i holds `visits` chunks of `rows` rows, one after the other, so that the bank's order is
    that of the devices. A chunk's size depends on the bank alone: every product is then rounded in
    the same way however many devices there are.
    """

    mesh: Mesh
    total: int
    rows: int
    visits: int

    @property
    def padded(self) -> bool:
        """Whether some rows stand for nothing."""
        return self.mesh.size * self.visits * self.rows > self.total

    @property
    def split(self) -> NamedSharding:
        """The leading axis over the devices."""
        return NamedSharding(self.mesh, PartitionSpec(self.mesh.axis_names))

    @property
    def whole(self) -> NamedSharding:
        """The same on every device."""
        return NamedSharding(self.mesh, PartitionSpec())


def nearest(
    queries: Float[AnyArray, "q d"],
    bank: Float[AnyArray, "n d"],
    *,
    k: int,
    cosine: bool = False,
    mesh: Mesh | None = None,
    bank_chunk: int = BANK_CHUNK,
    query_chunk: int = QUERY_CHUNK,
) -> tuple[Float[np.ndarray, "q k"], Int[np.ndarray, "q k"]]:
    """Find the k largest inner products of every query with the bank, best first.

    Equal products go to the smaller bank index. With `cosine` all rows are scaled to length one
    first. The bank is split over the devices of the mesh (default: one) and sent piece by piece,
    so it may be larger than their memory; memory-mapped, larger than the host's. Queries must
    fit. Only each device's k best meet. Returns products and bank indices, on the host. Raises
    ValueError if the bank holds fewer than k rows.
    """
    if not 1 <= k <= len(bank):
        raise ValueError(f"k must lie between 1 and the {len(bank)} vectors of the bank, not {k}")
    if not len(queries):
        return np.zeros((0, k), np.float32), np.zeros((0, k), np.int32)
    layout = _layout(len(bank), bank_chunk, mesh or Mesh(np.array(jax.local_devices()[:1]), "data"))
    bank, asked = np.asarray(bank), np.asarray(queries)
    # One compiled shape for every block of queries, whatever is left over at the end.
    block = min(query_chunk, len(asked))
    starts = range(0, len(asked), block)
    blocks = [_placed(asked[start : start + block], block, cosine, layout) for start in starts]
    best = [_nothing(block, k, layout) for _ in blocks]
    for visit in range(layout.visits):
        rows = _rows(bank, visit, cosine, layout)
        # So that no more than two pieces of the bank are on the devices at once.
        jax.block_until_ready(best)
        best = [
            _visited(found, some, rows, jnp.int32(visit), layout=layout)
            for found, some in zip(best, blocks, strict=True)
        ]
    done = [_merged_over_devices(found, layout=layout) for found in best]
    products, indices = (np.concatenate(part)[: len(asked)] for part in zip(*done, strict=True))
    return products, indices


def _layout(count: int, bank_chunk: int, mesh: Mesh) -> _Layout:
    chunks = -(-count // bank_chunk)
    # Chunks of like size, for the least padding.
    return _Layout(mesh, count, rows=-(-count // chunks), visits=-(-chunks // mesh.size))


def _nothing(block: int, k: int, layout: _Layout) -> _Best:
    shape = layout.mesh.size, block, k
    return (
        jnp.full(shape, -jnp.inf, jnp.float32, device=layout.split),
        jnp.full(shape, layout.total, jnp.int32, device=layout.split),
    )


def _placed(rows: np.ndarray, length: int, cosine: bool, layout: _Layout) -> Array:
    """Rows filled up with zeros to `length`, on every device."""
    filled = _filled(rows, length)
    placed = jax.make_array_from_callback(filled.shape, layout.whole, lambda index: filled[index])
    return _unit(placed) if cosine else placed


def _rows(bank: np.ndarray, visit: int, cosine: bool, layout: _Layout) -> Array:
    """What the devices look at in one visit, (devices, rows, d)."""

    def of_device(index: Any) -> np.ndarray:
        start = ((index[0].start or 0) * layout.visits + visit) * layout.rows
        return _filled(bank[start : start + layout.rows], layout.rows)[None]

    shape = layout.mesh.size, layout.rows, bank.shape[1]
    placed = jax.make_array_from_callback(shape, layout.split, of_device)
    return _unit(placed) if cosine else placed


def _filled(rows: np.ndarray, length: int) -> Float[np.ndarray, "length d"]:
    filled = np.zeros((length, rows.shape[1]), np.float32)
    filled[: len(rows)] = rows
    return filled


_unit = jax.jit(unit)


@functools.partial(jax.jit, static_argnames=("layout",), donate_argnames=("best",))
def _visited(
    best: _Best,
    queries: Float[Array, "q d"],
    rows: Float[Array, "devices rows d"],
    visit: Int[Array, ""],
    *,
    layout: _Layout,
) -> _Best:
    """The best of those found before and of this visit's rows, on each device for itself."""

    def on_device(best: _Best, queries: Array, rows: Array, visit: Array) -> _Best:
        first = (jax.lax.axis_index(layout.mesh.axis_names) * layout.visits + visit) * layout.rows
        products = jnp.matmul(queries, rows[0].T, precision=jax.lax.Precision.HIGHEST)
        if layout.padded:
            there = first + jnp.arange(layout.rows, dtype=jnp.int32) < layout.total
            products = jnp.where(there[None, :], products, -jnp.inf)
        k = best[0].shape[-1]
        # Two selections, since one over k + rows columns would copy all the products.
        found, place = jax.lax.top_k(products, min(k, layout.rows))
        merged = _first_of((best[0][0], best[1][0]), (found, first + place), k)
        return merged[0][None], merged[1][None]

    split, whole = layout.split.spec, PartitionSpec()
    return jax.shard_map(
        on_device, mesh=layout.mesh, in_specs=(split, whole, split, whole), out_specs=split
    )(best, queries, rows, visit)


def _first_of(before: _Best, after: _Best, k: int) -> _Best:
    """The k largest of two sets; the selection is stable, so equal ones come from `before`."""
    products, indices = (
        jnp.concatenate(parts, axis=-1) for parts in zip(before, after, strict=True)
    )
    products, place = jax.lax.top_k(products, k)
    return products, jnp.take_along_axis(indices, place, axis=-1)


@functools.partial(jax.jit, static_argnames=("layout",))
def _merged_over_devices(best: _Best, *, layout: _Layout) -> _Best:
    # Every device's best, on all devices: the only thing that is sent between them.
    found = [jax.lax.with_sharding_constraint(part, layout.whole) for part in best]
    parts = list(zip(*found, strict=True))
    merged = functools.reduce(lambda a, b: _first_of(a, b, a[0].shape[-1]), parts)
    return jax.lax.with_sharding_constraint(merged, layout.whole)


@functools.partial(jax.jit, static_argnames=("classes",))
def vote(
    similarities: Float[Array, "q k"],
    labels: Int[Array, "q k"],
    *,
    temperature: float | Float[Array, ""],
    classes: int,
) -> Float[Array, "q classes"]:
    """Add up exp(similarity / temperature) of the neighbours of each class.

    `similarities` are cosines, `labels` the classes of those neighbours. Votes are relative to
    the nearest neighbour's, which changes no order and cannot overflow (reference, section 1.10).
    """
    weights = _weights(similarities, temperature)
    rows = jnp.arange(len(labels))[:, None]
    return jnp.zeros((len(labels), classes), jnp.float32).at[rows, labels].add(weights)


@jax.jit
def share(
    similarities: Float[Array, "q k"],
    labels: Bool[Array, "q k classes"],
    *,
    temperature: float | Float[Array, ""],
) -> Float[Array, "q classes"]:
    """The share of the votes, in [0, 1], whose neighbours show each class.

    For examples with any number of labels. Shares, unlike votes, compare between queries, which
    average precision needs.
    """
    weights = _weights(similarities, temperature)
    # Over the sum of both, so that rounding does not rank those that all neighbours show.
    shown, other = (
        jnp.einsum("qk,qkc->qc", weights, each.astype(jnp.float32), precision="highest")
        for each in (labels, ~labels)
    )
    return shown / (shown + other)


def _weights(similarities: Array, temperature: float | Array) -> Array:
    logits = similarities / temperature
    return jnp.exp(logits - jnp.max(logits, axis=1, keepdims=True))


def knn_votes(
    queries: Float[AnyArray, "q d"],
    bank: Float[AnyArray, "n d"],
    labels: Int[AnyArray, " labels"] | Bool[AnyArray, "labels classes"],
    *,
    k: Sequence[int],
    temperature: float,
    classes: int | None = None,
    mesh: Mesh | None = None,
    bank_chunk: int = BANK_CHUNK,
) -> dict[int, Float[np.ndarray, "q classes"]]:
    """Classify by weighted k-NN on cosine similarity, for several k from one search.

    Features come as they are (they are scaled to length one here); `labels` are those of the
    bank, from 0, or which classes each shows: then the answer is `share`, else `vote`. `classes`
    defaults to the largest label plus one. A k above the size of the bank counts the whole bank.
    Returns votes by k (paper, section 4.1; reference, section 1.10).
    """
    labels = np.asarray(labels)
    if len(labels) != np.shape(bank)[0]:
        raise ValueError(f"{np.shape(bank)[0]} bank features came with {len(labels)} labels")
    if classes is None and labels.ndim == 1:
        classes = int(labels.max()) + 1
    counted = share if labels.ndim == 2 else functools.partial(vote, classes=classes)
    longest = min(max(k), len(labels))
    similarities, indices = nearest(
        queries, bank, k=longest, cosine=True, mesh=mesh, bank_chunk=bank_chunk
    )
    blocks = [slice(start, start + _VOTERS) for start in range(0, max(len(indices), 1), _VOTERS)]
    return {
        each: np.concatenate(
            [
                counted(similarities[b, :each], labels[indices[b, :each]], temperature=temperature)
                for b in blocks
            ]
        )
        for each in k
    }
