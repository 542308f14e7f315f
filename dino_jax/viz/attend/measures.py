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
    patches = held.rows * held.columns
    y, x = np.divmod(np.arange(patches, dtype=np.float32), np.float32(held.columns))
    distance, entropy = np.zeros((2, blocks, heads))
    together = np.zeros((blocks, heads, patches))
    for start in range(0, patches, _ROWS):
        part = slice(start, start + _ROWS)
        apart = np.hypot(y[part, None] - y[None], x[part, None] - x[None])
        for each in np.ndindex(blocks, heads):
            found = _rows(held.queries[each][1:][part], held.keys[each], apart)
            distance[each] += found[0]
            entropy[each] += found[1]
            together[each] += found[2]
    entropy /= patches
    pairs = patches * (patches - 1)
    alike = (np.square(together).sum(axis=-1) - patches) / pairs if pairs else entropy * np.nan
    return Measures(distance * patch / patches, entropy, entropy / np.log(1 + patches), alike)


def mean_of(each: Sequence[Measures]) -> Measures:
    """The mean over pictures."""
    return Measures(*(np.mean([one[k] for one in each], axis=0) for k in range(4)))


def _rows(
    queries: Float[np.ndarray, "asking channels"],
    keys: Float[np.ndarray, "tokens channels"],
    apart: Float[np.ndarray, "asking patches"],
) -> tuple[float, float, Float[np.ndarray, "patches"]]:
    """Sums over some patches that ask: distance in patches, entropy, and maps of length one."""
    logits = queries @ keys.T
    logits -= logits.max(axis=1, keepdims=True)
    weights = np.exp(logits)
    total = weights.sum(axis=1)
    # -sum p ln p, with p = weights / total: ln p is the logit less ln total.
    entropy = np.log(total) - (weights * logits).sum(axis=1) / total
    among = weights[:, 1:]
    distance = (among * apart).sum(axis=1) / among.sum(axis=1)
    length = np.sqrt(np.square(among).sum(axis=1))
    together = (1 / length) @ among
    return float(distance.sum(dtype=np.float64)), float(entropy.sum(dtype=np.float64)), together
