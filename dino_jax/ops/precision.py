"""Average precision of a ranking, in the three forms that are in use, on the host in float64.

`step` sums precision over the increments of recall (scikit-learn's); `area` first raises the
precision to the highest at any greater recall (PASCAL VOC from 2010 on); `eleven` averages that
highest precision at the recalls 0, 0.1, ..., 1 (PASCAL VOC 2007). Equal scores count as one place
in the ranking, so that no figure hangs on the order the examples came in.
"""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

Form = Literal["step", "area", "eleven"]


class Curve(NamedTuple):
    """Precision and recall at each distinct score, from the highest score down."""

    recall: Float[np.ndarray, " places"]
    precision: Float[np.ndarray, " places"]


def precision_recall(scores: Float[np.ndarray, " n"], relevant: Bool[np.ndarray, " n"]) -> Curve:
    """Precision and recall among the examples that score as much as each distinct score or more.

    Raises ValueError where nothing is relevant, or a score is not a number.
    """
    if np.isnan(scores).any():
        raise ValueError("a score is not a number, so the examples cannot be ranked")
    if not relevant.any():
        raise ValueError("nothing is relevant, so there is no recall")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    found = np.cumsum(relevant[order], dtype=np.float64)[last]
    return Curve(found / found[-1], found / (last + 1))


def average_precision(
    scores: Float[np.ndarray, " n"], relevant: Bool[np.ndarray, " n"], form: Form = "step"
) -> float:
    """Average precision in [0, 1] of one ranking; not a number where nothing is relevant."""
    if not relevant.any():
        return float("nan")
    return _FORMS[form](precision_recall(scores, relevant))


def mean_average_precision(
    scores: Float[np.ndarray, "n classes"],
    relevant: Bool[np.ndarray, "n classes"],
    form: Form = "step",
    *,
    ignored: Bool[np.ndarray, "n classes"] | None = None,
) -> float:
    """Mean over the classes, in [0, 1], of each class's average precision over the examples.

    A class without a relevant example does not count; without any such class the mean is not a
    number. `ignored` are labels that count neither for nor against (PASCAL VOC's difficult ones).
    """
    each = []
    for number in range(scores.shape[1]):
        kept = slice(None) if ignored is None else ~ignored[:, number]
        each.append(average_precision(scores[kept, number], relevant[kept, number], form))
    counted = [value for value in each if not np.isnan(value)]
    return float(np.mean(counted)) if counted else float("nan")


def as_units(
    scores: Float[np.ndarray, "n classes"],
    relevant: Bool[np.ndarray, "n classes"],
    ignored: Bool[np.ndarray, "n classes"] | None = None,
) -> Float[np.ndarray, "n classes 2"]:
    """One row an example, for resampling: its scores, and 1 relevant, 0 not, -1 ignored."""
    marks = relevant.astype(np.float64)
    if ignored is not None:
        marks[ignored] = -1
    return np.stack([scores.astype(np.float64), marks], axis=-1)


def percent_of_units(units: Float[np.ndarray, "n classes 2"], form: Form = "step") -> float:
    """The mean average precision of `as_units`, in percent."""
    scores, marks = units[..., 0], units[..., 1]
    return 100 * mean_average_precision(scores, marks > 0, form, ignored=marks < 0)


def _step(curve: Curve) -> float:
    return float(np.sum(np.diff(curve.recall, prepend=0.0) * curve.precision))


def _area(curve: Curve) -> float:
    return float(np.sum(np.diff(curve.recall, prepend=0.0) * _envelope(curve.precision)))


def _eleven(curve: Curve) -> float:
    # From whole tenths, so that a recall of exactly 0.3 reaches the level 0.3.
    levels = np.arange(11) / 10
    places = np.searchsorted(curve.recall, levels - 1e-12)
    return float(np.mean(_envelope(curve.precision)[places]))


def _envelope(precision: Float[np.ndarray, " places"]) -> Float[np.ndarray, " places"]:
    """The highest precision at this recall or a greater one."""
    return np.maximum.accumulate(precision[::-1])[::-1]


_FORMS: Mapping[Form, Callable[[Curve], float]] = {"step": _step, "area": _area, "eleven": _eleven}
