"""How far, how widely and how differently the patches of a picture attend, by block and head.

Distance is the vision transformer paper's (Dosovitskiy et al., figure 7): pixels between a patch
and what it attends to, weighted by attention. Similarity tells whether attention has collapsed:
1 is one map, whichever patch asks.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from dino_jax.viz.attend.maps import Projections

_ROWS = 512
"""Patches that ask at once: what is held is so many rows of one head's map."""


class Measures(NamedTuple):
    """Means over the patches of a picture, a row a block and a column a head."""

    distance: Float[np.ndarray, "blocks heads"]
    """Pixels, of the attention to patches alone, scaled to a sum of 1."""
    entropy: Float[np.ndarray, "blocks heads"]
    """Nats, of a map over all tokens, CLS among them."""
    spread: Float[np.ndarray, "blocks heads"]
    """The entropy over the logarithm of the number of tokens: 1 is even attention."""
    similarity: Float[np.ndarray, "blocks heads"]
    """Mean cosine of the maps, over patches, of two different patches; NaN if there is but one."""


def measured(held: Projections, patch: int) -> Measures:
    """The measures of every block that is held; `patch` is in pixels."""
    blocks, heads = held.queries.shape[:2]
    found = np.empty((3, blocks, heads))
    for block in range(blocks):
        for head in range(heads):
            found[:, block, head] = _head(held, block, head)
    tokens = 1 + held.rows * held.columns
    return Measures(found[0] * patch, found[1], found[1] / np.log(tokens), found[2])


def mean_of(each: Sequence[Measures]) -> Measures:
    """The mean over pictures."""
    return Measures(*(np.mean([one[k] for one in each], axis=0) for k in range(4)))


def _head(held: Projections, block: int, head: int) -> tuple[float, float, float]:
    """Distance in patches, entropy, and similarity of one head, by parts of its map."""
    queries, keys = held.queries[block, head, 1:], held.keys[block, head]
    patches = len(queries)
    y, x = np.divmod(np.arange(patches, dtype=np.float32), np.float32(held.columns))
    distance = entropy = 0.0
    together = np.zeros(patches)
    for start in range(0, patches, _ROWS):
        part = slice(start, start + _ROWS)
        logits = queries[part] @ keys.T
        logits -= logits.max(axis=1, keepdims=True)
        weights = np.exp(logits)
        total = weights.sum(axis=1, dtype=np.float64)
        # -sum p ln p, with p = weights / total: ln p is the logit less ln total.
        expected = np.einsum("qt,qt->q", weights, logits, dtype=np.float64) / total
        entropy += float((np.log(total) - expected).sum())
        among = weights[:, 1:]
        apart = np.hypot(y[part, None] - y[None], x[part, None] - x[None])
        shared = among.sum(axis=1, dtype=np.float64)
        distance += float((np.einsum("qt,qt->q", among, apart, dtype=np.float64) / shared).sum())
        length = np.sqrt(np.einsum("qt,qt->q", among, among, dtype=np.float64))
        together += (among / length[:, None]).sum(axis=0)
    pairs = patches * (patches - 1)
    alike = (float(together @ together) - patches) / pairs if pairs else np.nan
    return distance / patches, entropy / patches, alike
