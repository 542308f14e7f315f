"""Average precision of a ranking, in the three forms that are in use, on the host in float64.

`step` sums precision over the increments of recall (scikit-learn's); `area` first raises the
precision to the highest at any greater recall (PASCAL VOC from 2010 on); `eleven` averages that
highest precision at the recalls 0, 0.1, ..., 1 (PASCAL VOC 2007). Equal scores count as one place
in the ranking, so that no figure hangs on the order the examples came in.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

Form = Literal["step", "area", "eleven"]
_SMALL = np.iinfo(np.uint16).max
"""Places up to this are sorted by their digits, several times as fast."""


def average_precision(
    scores: Float[np.ndarray, " n"], relevant: Bool[np.ndarray, " n"], form: Form = "step"
) -> float:
    """Average precision in [0, 1] of one ranking; not a number where nothing is relevant.

    Raises ValueError where a score is not a number.
    """
    return mean_average_precision(scores[:, None], relevant[:, None], form)


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
    Raises ValueError where a score is not a number.
    """
    return percent_of_units(as_units(scores, relevant, ignored), form) / 100


def as_units(
    scores: Float[np.ndarray, "n classes"],
    relevant: Bool[np.ndarray, "n classes"],
    ignored: Bool[np.ndarray, "n classes"] | None = None,
) -> Int[np.ndarray, "n classes 2"]:
    """One row an example, for resampling, with two whole numbers to a class.

    The first is the place of its score among the distinct ones, 0 the highest; the second is 1 if
    the example is relevant, 0 if not, -1 if it is ignored. Raises ValueError where a score is not
    a number.
    """
    if np.isnan(scores).any():
        raise ValueError("a score is not a number, so the examples cannot be ranked")
    marks = relevant.astype(np.int32)
    if ignored is not None:
        marks[ignored] = -1
    places = [np.unique(-column, return_inverse=True)[1] for column in scores.T]
    return np.stack([np.stack(places, axis=1).astype(np.int32), marks], axis=-1)


def percent_of_units(units: Int[np.ndarray, "n classes 2"], form: Form = "step") -> float:
    """The mean average precision of `as_units`, in percent."""
    places, marks = units[..., 0].T, np.ascontiguousarray(units[..., 1].T)
    small = places.size == 0 or places.max() <= _SMALL
    places = places.astype(np.uint16 if small else np.int64, order="C")
    order = np.argsort(places, axis=1, kind="stable")
    marks = np.take_along_axis(marks, order, axis=1)
    places = np.take_along_axis(places, order, axis=1)
    found = np.cumsum(marks > 0, axis=1, dtype=np.float64)
    total = found[:, -1:]
    precision = found / np.maximum(np.cumsum(marks >= 0, axis=1), 1)
    # Of equal scores the precision is that after the last of them.
    ends = np.diff(places.astype(np.int64), axis=1, append=-1) != 0
    if form == "step":
        each = _over_relevant(_at_ends(precision, ends), marks, total)
    else:
        highest = np.maximum.accumulate(np.where(ends, precision, 0)[:, ::-1], axis=1)[:, ::-1]
        each = (
            _over_relevant(highest, marks, total)
            if form == "area"
            else _at_levels(highest, found, total)
        )
    counted = total[:, 0] > 0
    return 100 * float(np.mean(each[counted])) if counted.any() else float("nan")


def _at_ends(
    precision: Float[np.ndarray, "classes n"], ends: Bool[np.ndarray, "classes n"]
) -> Float[np.ndarray, "classes n"]:
    """The precision at the next end, of every place."""
    count = precision.shape[1]
    marked = np.where(ends, np.arange(count)[None], count - 1)
    return np.take_along_axis(
        precision, np.minimum.accumulate(marked[:, ::-1], axis=1)[:, ::-1], axis=1
    )


def _over_relevant(
    precision: Float[np.ndarray, "classes n"],
    marks: Shaped[np.ndarray, "classes n"],
    total: Float[np.ndarray, "classes 1"],
) -> Float[np.ndarray, " classes"]:
    """Its mean over the relevant examples: recall grows by the same at each of them."""
    return np.sum(np.where(marks > 0, precision, 0), axis=1) / np.maximum(total[:, 0], 1)


def _at_levels(
    highest: Float[np.ndarray, "classes n"],
    found: Float[np.ndarray, "classes n"],
    total: Float[np.ndarray, "classes 1"],
) -> Float[np.ndarray, " classes"]:
    """Its mean over the places where recall first reaches 0, 0.1, ..., 1."""
    rows = np.arange(len(highest))
    # From whole tenths, so that a recall of exactly 0.3 reaches the level 0.3.
    needed = [total[:, 0] * level / 10 - 1e-9 for level in range(11)]
    last = found.shape[1] - 1
    places = [np.minimum((found < each[:, None]).sum(axis=1), last) for each in needed]
    return np.mean([highest[rows, place] for place in places], axis=0)
