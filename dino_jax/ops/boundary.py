"""How well a mask follows another: region similarity J and contour accuracy F of DAVIS.

F and the statistics keep to the official evaluation, not only to the paper's words (Perazzi et
al. 2016, "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation"): where a
contour lies, how far it may be off, and where the quarters of a sequence begin and end.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

Mask = Bool[np.ndarray, "h w"]

TOLERANCE = 0.008
"""How far contours may lie apart, as a fraction of the image's diagonal."""
RECALLED = 0.5
"""A frame is recalled when it scores more than this."""


class Statistics(NamedTuple):
    """Of the scores of one object in the frames of its sequence, each a fraction.

    `mean`, over frames; `recall`, the frames above `RECALLED`; `decay`, the mean of the first
    quarter of the sequence less that of the last (negative where it gets better).
    """

    mean: float
    recall: float
    decay: float


def region_similarity(truth: Mask, predicted: Mask) -> float:
    """J, the intersection over the union of two masks; 1 where both are empty."""
    union = np.count_nonzero(truth | predicted)
    return np.count_nonzero(truth & predicted) / union if union else 1.0


def contour(mask: Mask) -> Mask:
    """Pixels that differ from a neighbour to the right, below, or below to the right.

    A contour so lies half a pixel up and left of the true one. The last row looks only right, the
    last column only down, the last pixel nowhere; what leaves the picture has no contour there.
    """
    edge = np.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    edge[:-1] |= mask[:-1] ^ mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edge


def contour_accuracy(truth: Mask, predicted: Mask, *, tolerance: float = TOLERANCE) -> float:
    """F, the harmonic mean of precision and recall of the predicted contour's pixels.

    A pixel counts if the other contour comes within `tolerance` of the diagonal, rounded up to
    whole pixels. F is 1 where neither mask has a contour, and 0 where one has none.
    """
    reach = int(np.ceil(tolerance * np.linalg.norm(truth.shape)))
    truth, predicted = contour(truth), contour(predicted)
    of_truth, of_predicted = np.count_nonzero(truth), np.count_nonzero(predicted)
    if not of_truth or not of_predicted:
        return 0.0 if of_truth or of_predicted else 1.0
    window = _window(truth | predicted)
    truth, predicted = truth[window], predicted[window]
    precision = np.count_nonzero(predicted & dilated(truth, reach)) / of_predicted
    recall = np.count_nonzero(truth & dilated(predicted, reach)) / of_truth
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def dilated(mask: Mask, reach: int) -> Mask:
    """Every pixel with a true one at most `reach` pixels away (nothing lies outside)."""
    rows, columns = mask.shape
    # How many are true up to each column: a difference of two counts the true ones of a span.
    counts = np.zeros((rows, columns + 1), np.int32)
    np.cumsum(mask, axis=1, out=counts[:, 1:])
    found = np.zeros_like(mask)
    for down in range(min(reach, rows - 1) + 1):
        half = math.isqrt(reach * reach - down * down)
        first = np.maximum(np.arange(columns) - half, 0)
        last = np.minimum(np.arange(columns) + half + 1, columns)
        wide = counts[:, last] > counts[:, first]
        found[: rows - down] |= wide[down:]
        found[down:] |= wide[: rows - down]
    return found


def statistics(scores: Float[np.ndarray, " frames"]) -> Statistics:
    """Mean, recall and decay of the scores of one object; the quarters share their end frames.

    The scores are those of the second frame up to the last but one, at least one (paper of DAVIS,
    and `db_statistics` of the official evaluation).
    """
    count = len(scores)
    ends = (np.round(np.linspace(1, count, 5) + 1e-10) - 1).astype(int)
    first, last = (scores[ends[i] : ends[i + 1] + 1] for i in (0, 3))
    return Statistics(
        float(scores.mean()),
        float((scores > RECALLED).mean()),
        float(first.mean() - last.mean()),
    )


def _window(mask: Mask) -> tuple[slice, slice]:
    """The smallest part of a mask that holds all that is true (at least one pixel is)."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
