"""Weighted nearest neighbours: the k-NN vote of the reference, streamed over the bank."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

AnyArray = jax.Array | np.ndarray
BANK_CHUNK = 8192
QUERY_CHUNK = 1024
_Best = tuple[Array, Array]  # products and indices found so far


def unit(vectors: Float[AnyArray, "n d"]) -> Float[Array, "n d"]:
    """Scale each row to length one, as the reference does before the vote (zero rows stay zero)."""
    vectors = jnp.asarray(vectors, jnp.float32)
    length = jnp.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / jnp.maximum(length, 1e-12)


def nearest(
    queries: Float[AnyArray, "q d"],
    bank: Float[AnyArray, "n d"],
    *,
    k: int,
    bank_chunk: int = BANK_CHUNK,
    query_chunk: int = QUERY_CHUNK,
) -> tuple[Float[Array, "q k"], Int[Array, "q k"]]:
    """Find the k largest inner products of every query with the bank, best first.

    Equal products go to the smaller bank index. Only `query_chunk` x `bank_chunk` products exist
    at once, so neither side need fit into memory as a full matrix. Returns products and bank
    indices. Raises ValueError if the bank holds fewer than k rows.
    """
    queries, bank = jnp.asarray(queries, jnp.float32), jnp.asarray(bank, jnp.float32)
    if not 1 <= k <= len(bank):
        raise ValueError(f"k must lie between 1 and the {len(bank)} vectors of the bank, not {k}")
    chunk = min(bank_chunk, len(bank))
    # One compiled shape for every block of queries, whatever is left over at the end.
    block = min(query_chunk, max(len(queries), 1))
    padding = -len(queries) % block
    padded = jnp.pad(queries, ((0, padding), (0, 0)))
    found = [
        _nearest_block(padded[start : start + block], bank, k=k, chunk=chunk)
        for start in range(0, len(padded), block)
    ]
    if not found:
        return jnp.zeros((0, k), jnp.float32), jnp.zeros((0, k), jnp.int32)
    products, indices = (jnp.concatenate(part)[: len(queries)] for part in zip(*found, strict=True))
    return products, indices


@functools.partial(jax.jit, static_argnames=("k", "chunk"))
def _nearest_block(
    queries: Float[Array, "q d"], bank: Float[Array, "n d"], *, k: int, chunk: int
) -> tuple[Float[Array, "q k"], Int[Array, "q k"]]:
    count = len(bank)
    chunks = -(-count // chunk)
    padded = jnp.pad(bank, ((0, chunks * chunk - count), (0, 0)))

    def visit(best: _Best, number: Int[Array, ""]) -> tuple[_Best, None]:
        rows = jax.lax.dynamic_slice_in_dim(padded, number * chunk, chunk)
        indices = number * chunk + jnp.arange(chunk, dtype=jnp.int32)
        products = jnp.matmul(queries, rows.T, precision=jax.lax.Precision.HIGHEST)
        products = jnp.where((indices < count)[None, :], products, -jnp.inf)
        # Two small selections instead of one over k + chunk columns that would copy the block.
        top, place = jax.lax.top_k(products, min(k, chunk))
        # Those found before stand first: a stable selection then prefers the smaller index.
        products = jnp.concatenate([best[0], top], axis=1)
        indices = jnp.concatenate([best[1], indices[place]], axis=1)
        top, place = jax.lax.top_k(products, k)
        return (top, jnp.take_along_axis(indices, place, axis=1)), None

    nothing = (
        jnp.full((len(queries), k), -jnp.inf, jnp.float32),
        jnp.full((len(queries), k), count, jnp.int32),
    )
    return jax.lax.scan(visit, nothing, jnp.arange(chunks, dtype=jnp.int32))[0]


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
    logits = similarities / temperature
    weights = jnp.exp(logits - jnp.max(logits, axis=1, keepdims=True))
    rows = jnp.arange(len(labels))[:, None]
    return jnp.zeros((len(labels), classes), jnp.float32).at[rows, labels].add(weights)


def knn_votes(
    queries: Float[AnyArray, "q d"],
    bank: Float[AnyArray, "n d"],
    labels: Int[AnyArray, " labels"],
    *,
    k: Sequence[int],
    temperature: float,
    classes: int | None = None,
    bank_chunk: int = BANK_CHUNK,
) -> dict[int, Float[Array, "q classes"]]:
    """Classify by weighted k-NN on cosine similarity, for several k from one search.

    Features come as they are (they are scaled to length one here); `labels` are those of the
    bank, from 0. `classes` defaults to the largest label plus one. A k above the size of the bank
    counts the whole bank. Returns votes by k (paper, section 4.1; reference, section 1.10).
    """
    labels = np.asarray(labels)
    if len(labels) != np.shape(bank)[0]:
        raise ValueError(f"{np.shape(bank)[0]} bank features came with {len(labels)} labels")
    classes = int(labels.max()) + 1 if classes is None else classes
    longest = min(max(k), len(labels))
    similarities, indices = nearest(unit(queries), unit(bank), k=longest, bank_chunk=bank_chunk)
    neighbours = jnp.asarray(labels)[indices]
    return {
        each: vote(
            similarities[:, :each], neighbours[:, :each], temperature=temperature, classes=classes
        )
        for each in k
    }
