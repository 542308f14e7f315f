"""Fits on one set of labelled features, with the penalty that does best on a part of them."""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Int

from dino_jax.ops import logistic
from dino_jax.ops.logistic import Classifier, Examples, Fit
from dino_jax.ops.precision import Form, mean_average_precision
from dino_jax.ops.scores import accuracy

log = logging.getLogger(__name__)
_ROWS = 8192

Rows = Int[np.ndarray, "k"]


class Targets(NamedTuple):
    """What is to be told: a class each (n,), or whether each label applies (n, classes)."""

    values: Int[np.ndarray, "n"] | Bool[np.ndarray, "n classes"]
    classes: int
    ignored: Bool[np.ndarray, "n classes"] | None = None
    """Labels that count neither way."""

    @property
    def several(self) -> bool:
        """Whether an image may have several labels."""
        return self.values.ndim == 2

    def of(self, rows: Int[np.ndarray, " k"]) -> "Targets":
        """Those of some examples."""
        ignored = None if self.ignored is None else self.ignored[rows]
        return self._replace(values=self.values[rows], ignored=ignored)


class Search(NamedTuple):
    """How a fit is looked for."""

    penalties: tuple[float, ...]
    """The weights of the penalty to choose among; one is taken as it is."""
    iterations: int
    mesh: Mesh | None
    form: Form


class Found(NamedTuple):
    """A fit of all examples, and how its penalty was chosen."""

    fit: Fit
    mean: Float[np.ndarray, "inputs"]
    """What is taken off features before they are multiplied."""
    l2: float
    by_penalty: dict[float, float]
    """Percent right (or mean average precision) on the held-out examples; may be empty."""

    def logits(self, features: Float[np.ndarray, "n inputs"]) -> Float[np.ndarray, "n classes"]:
        """What the fit says of features."""
        return _logits(self.fit.classifier, features, self.mean)


def fitted(
    features: Float[np.ndarray, "n inputs"],
    targets: Targets,
    split: Callable[[], Sequence[Rows]],
    search: Search,
) -> Found:
    """Choose the penalty on held-out parts, then fit all examples with it.

    `split` gives the parts, one or several; each is answered by a fit of all other examples. Of
    penalties that do equally well the strongest is taken.
    """
    start: Classifier | None = None
    by_penalty: dict[float, float] = {}
    l2 = search.penalties[0]
    if len(search.penalties) > 1:
        by_penalty, start = _tried(features, targets, split(), search)
        l2 = max(by_penalty, key=lambda penalty: (by_penalty[penalty], penalty))
    mean = features.mean(axis=0)
    found = _fit(_placed(features, targets, mean, search.mesh), start, targets, l2, search)
    return Found(found, mean, l2, by_penalty)


def _tried(
    features: np.ndarray, targets: Targets, parts: Sequence[Rows], search: Search
) -> tuple[dict[float, float], Classifier | None]:
    """Scores by penalty over all parts held out, and a classifier to begin the last fit with.

    Each fit begins where that of the penalty before ended, from the strongest down.
    """
    penalties = sorted(search.penalties, reverse=True)
    answers: dict[float, list[np.ndarray]] = {penalty: [] for penalty in penalties}
    classifier: Classifier | None = None
    for held in parts:
        learnt = np.setdiff1d(np.arange(len(features)), held)
        mean = features[learnt].mean(axis=0)
        own = targets.of(learnt)
        examples = _placed(features[learnt], own, mean, search.mesh)
        classifier = None
        for penalty in penalties:
            classifier = _fit(examples, classifier, own, penalty, search).classifier
            answers[penalty].append(_logits(classifier, features[held], mean))
    asked = targets.of(np.concatenate(parts))
    scores = {
        penalty: score(np.concatenate(found), asked, search.form)
        for penalty, found in answers.items()
    }
    return scores, classifier


def score(answers: Float[np.ndarray, "n classes"], targets: Targets, form: Form) -> float:
    """Top-1 in percent, or the mean average precision in percent of several labels."""
    if not targets.several:
        return accuracy(answers, targets.values)
    return 100 * mean_average_precision(answers, targets.values, form, ignored=targets.ignored)


def _fit(
    examples: Examples, start: Classifier | None, targets: Targets, l2: float, search: Search
) -> Fit:
    if start is None:
        start = logistic.nothing(targets.classes, examples.features.shape[-1])
    found = logistic.fit(examples, start, l2, iterations=search.iterations)
    log.info(
        "logistic: %d images, penalty %g: objective %.5f after %d iterations",
        *(int(examples.number), l2, float(found.objective), int(found.iterations)),
    )
    return found


def _placed(rows: np.ndarray, targets: Targets, mean: np.ndarray, mesh: Mesh | None) -> Examples:
    # Off with the mean: the biases take it up, and the search needs fewer steps.
    return logistic.place(rows - mean[None], targets.values, ignored=targets.ignored, mesh=mesh)


def _logits(classifier: Classifier, features: np.ndarray, mean: np.ndarray) -> np.ndarray:
    held = jax.tree.map(jnp.asarray, classifier)
    parts = [
        np.asarray(logistic.logits(held, jnp.asarray(features[start : start + _ROWS] - mean[None])))
        for start in range(0, len(features), _ROWS)
    ]
    return np.concatenate(parts)


def scaled(
    features: Float[np.ndarray, "n inputs"], *, length: float | None
) -> Float[np.ndarray, "n inputs"]:
    """Features divided by one length, or each by its own (None)."""
    if length is not None:
        return np.asarray(features, np.float32) / np.float32(length)
    own = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(own, 1e-12), np.float32)


def common_length(features: Float[np.ndarray, "n inputs"]) -> float:
    """The root of the mean squared length, by which a penalty is comparable between networks."""
    squares = np.sum(np.square(features, dtype=np.float64), axis=1)
    return float(np.sqrt(np.mean(squares))) or 1.0
