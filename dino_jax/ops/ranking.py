"""Average precision of rankings as the benchmarks of retrieval compute it, on the host in float64.

The area under precision over recall by trapezoids, from a ranking that junk has been taken out of
(revisited Oxford and Paris, Radenović et al. 2018; Copydays and Holidays). The sums run in the
order of the benchmarks', so that the figures are theirs to the last bit.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from dino_jax.ops import neighbours
from dino_jax.ops.neighbours import AnyArray

CUTS = (1, 5, 10)
"""Mean precision is told at these many results."""


class RankedQuery(NamedTuple):
    """What one query scores: average precision and, at each cut, precision; all in [0, 1]."""

    average_precision: float
    precision: tuple[float, ...]


class Ranked(NamedTuple):
    """The means of all queries with a positive, and what each query scores (NaN: it has none)."""

    mean_average_precision: float
    mean_precision: tuple[float, ...]
    average_precision: Float[np.ndarray, " queries"]
    precision: Float[np.ndarray, "queries cuts"]


def ranking(
    queries: Float[AnyArray, "queries d"], database: Float[AnyArray, "images d"]
) -> Int[np.ndarray, "queries images"]:
    """For each query all images of the database by falling cosine; equal ones by their number."""
    similar = jnp.matmul(
        neighbours.unit(queries), neighbours.unit(database).T, precision=jax.lax.Precision.HIGHEST
    )
    return np.asarray(jnp.argsort(-similar, axis=1, stable=True))


def trapezoid(places: Int[np.ndarray, " found"], positives: int) -> float:
    """Average precision of one query by trapezoids.

    `places` are those of the positives found, ascending from 0, among all that is not junk;
    `positives` counts all there are, found or not (reference: utils.py `compute_ap`, and
    eval_copy_detection.py `score_ap_from_ranks_1`, which are one formula).
    """
    before = np.arange(len(places))
    left = np.where(places == 0, 1.0, before / np.maximum(places, 1))
    right = (before + 1) / (places + 1)
    terms = (left + right) * (1 / positives) / 2
    # Summed from the first to the last: `sum` of numpy adds in pairs.
    return float(np.cumsum(terms)[-1]) if len(terms) else 0.0


def ranked_query(
    order: Int[np.ndarray, " images"],
    positives: Sequence[int],
    junk: Sequence[int] = (),
    *,
    cuts: Sequence[int] = CUTS,
) -> RankedQuery | None:
    """Score the ranking `order` of one query; None where there are no positives.

    Junk is taken out of the ranking. Precision at a cut counts no more results than there are up
    to the last positive, as the benchmark does (reference: utils.py `compute_map`).
    """
    if not len(positives):
        return None
    found = np.flatnonzero(np.isin(order, positives))
    skipped = np.flatnonzero(np.isin(order, np.asarray(junk, np.int64)))
    places = found - np.searchsorted(skipped, found)
    precision = []
    for cut in cuts:
        counted = min(int(places.max()) + 1, cut) if len(places) else cut
        precision.append(float(np.sum(places < counted) / counted))
    return RankedQuery(trapezoid(places, len(positives)), tuple(precision))


def ranked(
    orders: Int[np.ndarray, "queries images"],
    positives: Sequence[Sequence[int]],
    junk: Sequence[Sequence[int]],
    *,
    cuts: Sequence[int] = CUTS,
) -> Ranked:
    """Score every query; those without positives are left out of the means.

    Without any query that has some, the means are not numbers.
    """
    each = [
        ranked_query(order, good, bad, cuts=cuts)
        for order, good, bad in zip(orders, positives, junk, strict=True)
    ]
    scored = [query for query in each if query is not None]
    none = RankedQuery(float("nan"), (float("nan"),) * len(cuts))
    count = len(scored) or float("nan")
    return Ranked(
        # Python's sum adds from the first to the last; with floats it may compensate, so not it.
        float(np.cumsum([query.average_precision for query in scored] or [0.0])[-1]) / count,
        tuple(
            float(np.cumsum([query.precision[k] for query in scored] or [0.0])[-1]) / count
            for k in range(len(cuts))
        ),
        np.array([(query or none).average_precision for query in each], np.float64),
        np.array([(query or none).precision for query in each], np.float64).reshape(-1, len(cuts)),
    )
