"""Logistic regression by L-BFGS: multinomial, or one sigmoid to each of several labels.

The objective is the mean loss of the examples plus l2 / 2 times the squared weights; biases are
free. scikit-learn's `LogisticRegression` has the same minimum at C = 1 / (l2 * examples). The
paper's own (table 10, by the package cyanure) is of this form.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, Shaped

CHUNK = 8192
"""Rows whose logits exist at once, on each device."""
_MEMORY, _SEARCH_STEPS = 10, 20
_STALLED = 3
"""Iterations without progress that float32 can see, after which the search ends."""


class Examples(NamedTuple):
    """Features and labels on the devices, in equal chunks of rows, filled up by rows that count 0.

    `targets` are classes (int), or 0 and 1 of every label; `counts` is 1 or 0, of a row or, with
    several labels, of each of its labels. `number` is how many rows there are really.
    """

    features: Float[Array, "chunks rows inputs"]
    targets: Int[Array, "chunks rows *classes"]
    counts: Float[Array, "chunks rows *classes"]
    number: Float[Array, ""]


class Classifier(NamedTuple):
    """A linear map to logits: weight (classes, inputs) and bias (classes,)."""

    weight: Float[Array, "classes inputs"]
    bias: Float[Array, "classes"]


class Fit(NamedTuple):
    """What a search came to: the objective there, and the largest entry of its gradient."""

    classifier: Classifier
    objective: Float[Array, ""]
    slope: Float[Array, ""]
    iterations: Int[Array, ""]


def place(
    features: Float[np.ndarray, "n inputs"],
    targets: Shaped[np.ndarray, "n *classes"],
    *,
    ignored: Bool[np.ndarray, "n classes"] | None = None,
    mesh: Mesh | None = None,
    chunk: int = CHUNK,
) -> Examples:
    """Lay examples out over the devices of a mesh, or on one device.

    `targets` are classes from 0 (n,), or whether each label applies (n, classes); `ignored` labels
    count neither way.
    """
    devices = 1 if mesh is None else mesh.size
    number = len(features)
    chunks = max(1, math.ceil(number / (chunk * devices)))
    # Sizes that differ by little share a compiled search.
    multiple = devices * min(64, chunk)
    rows = math.ceil(number / (chunks * multiple)) * multiple
    counts = np.ones(targets.shape, np.float32)
    if ignored is not None:
        counts[ignored] = 0

    def laid(values: np.ndarray, dtype: type) -> Array:
        filled = np.zeros((chunks * rows, *values.shape[1:]), dtype)
        filled[:number] = values
        filled = filled.reshape(chunks, rows, *values.shape[1:])
        if mesh is None:
            return jnp.asarray(filled)
        sharding = NamedSharding(mesh, PartitionSpec(None, mesh.axis_names))
        return jax.make_array_from_callback(filled.shape, sharding, lambda index: filled[index])

    return Examples(
        laid(features, np.float32),
        laid(targets, np.int32),
        laid(counts, np.float32),
        jnp.float32(number),
    )


def nothing(classes: int, inputs: int) -> Classifier:
    """The classifier that every search begins with where nothing better is known: zeros."""
    return Classifier(jnp.zeros((classes, inputs)), jnp.zeros(classes))


@jax.jit
def objective(
    classifier: Classifier, examples: Examples, l2: float | Float[Array, ""]
) -> Float[Array, ""]:
    """The mean loss (nats; summed over the labels where there are several) and the penalty."""

    @jax.checkpoint
    def add(total: Array, chunk: tuple[Array, Array, Array]) -> tuple[Array, None]:
        features, targets, counts = chunk
        return total + jnp.sum(counts * _losses(logits(classifier, features), targets)), None

    total, _ = jax.lax.scan(add, jnp.float32(0), examples[:3])
    return total / examples.number + l2 / 2 * jnp.sum(classifier.weight**2)


def logits(classifier: Classifier, features: Float[Array, "n inputs"]) -> Float[Array, "n classes"]:
    """Logits in float32, whatever a device's faster way of multiplying."""
    products = jnp.matmul(features, classifier.weight.T, precision=jax.lax.Precision.HIGHEST)
    return products + classifier.bias[None, :]


def _losses(found: Array, targets: Array) -> Array:
    if targets.ndim == found.ndim:
        return jax.nn.softplus(found) - targets * found
    own = jnp.take_along_axis(found, targets[:, None], axis=1)[:, 0]
    return jax.nn.logsumexp(found, axis=1) - own


@functools.partial(jax.jit, static_argnames=("iterations",))
def fit(
    examples: Examples,
    start: Classifier,
    l2: float | Float[Array, ""],
    *,
    iterations: int = 1000,
    tolerance: float = 1e-7,
) -> Fit:
    """Minimise the objective by L-BFGS from `start`.

    Ends when no entry of the gradient exceeds `tolerance`, when the objective stopped falling in
    float32, or after so many iterations. Features should be centred, which changes nothing of the
    minimum but the bias, and of a length about 1, or it takes many.
    """
    search = optax.scale_by_zoom_linesearch(_SEARCH_STEPS, initial_guess_strategy="one")
    solver = optax.lbfgs(memory_size=_MEMORY, linesearch=search)
    function = functools.partial(objective, examples=examples, l2=l2)
    value_and_grad = optax.value_and_grad_from_state(function)

    def going(carry: tuple) -> Array:
        _, _, _, slope, stalled, number = carry
        return (slope > tolerance) & (stalled < _STALLED) & (number < iterations)

    def step(carry: tuple) -> tuple:
        classifier, state, before, _, stalled, number = carry
        value, gradient = value_and_grad(classifier, state=state)
        updates, state = solver.update(
            gradient, state, classifier, value=value, grad=gradient, value_fn=function
        )
        classifier = optax.apply_updates(classifier, updates)
        value, gradient = value_and_grad(classifier, state=state)
        stalled = jnp.where(before - value > 1e-7 * jnp.abs(value), 0, stalled + 1)
        return classifier, state, value, _slope(gradient), stalled, number + 1

    value, gradient = jax.value_and_grad(function)(start)
    carry = (start, solver.init(start), value, _slope(gradient), jnp.int32(0), jnp.int32(0))
    classifier, _, value, slope, _, number = jax.lax.while_loop(going, step, carry)
    return Fit(classifier, value, slope, number)


def _slope(gradient: Classifier) -> Float[Array, ""]:
    return jnp.maximum(jnp.max(jnp.abs(gradient.weight)), jnp.max(jnp.abs(gradient.bias)))
