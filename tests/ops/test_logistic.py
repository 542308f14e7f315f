"""Logistic regression: scikit-learn's minimum, a closed form, chunks, devices, several labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from sklearn.linear_model import LogisticRegression

from dino_jax.ops.logistic import Classifier, fit, logits, nothing, objective, place


def made(number=400, inputs=20, classes=4, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, number)
    means = random.normal(size=(classes, inputs)) * 0.4
    features = (means[labels] + random.normal(size=(number, inputs))).astype(np.float32)
    return features / np.sqrt(inputs), labels


def plain_objective(weight, bias, features, labels, l2):
    """The definition in float64, by numpy."""
    found = features.astype(np.float64) @ weight.T + bias
    if labels.ndim == 2:
        losses = np.logaddexp(0, found).sum(1) - (labels * found).sum(1)
    else:
        losses = np.logaddexp.reduce(found, axis=1) - found[np.arange(len(labels)), labels]
    return losses.mean() + l2 / 2 * np.sum(weight**2)


@pytest.mark.parametrize("l2", [1e-1, 1e-3, 1e-5])
def test_it_is_scikit_learns_minimum(l2):
    features, labels = made()
    theirs = LogisticRegression(C=1 / (l2 * len(labels)), tol=1e-8, max_iter=5000)
    theirs.fit(features.astype(np.float64), labels)
    found = fit(place(features, labels), nothing(4, 20), l2)
    ours = [np.asarray(each, np.float64) for each in found.classifier]
    least = plain_objective(theirs.coef_, theirs.intercept_, features, labels, l2)
    assert plain_objective(*ours, features, labels, l2) == pytest.approx(least, rel=1e-5)
    assert float(found.objective) == pytest.approx(least, rel=1e-4)
    predicted = logits(found.classifier, jnp.asarray(features)).argmax(1)
    assert np.mean(np.asarray(predicted) == theirs.predict(features)) > 0.99


def test_several_labels_are_scikit_learns_one_vs_rest():
    features, labels = made()
    relevant = np.stack([labels == 0, labels % 2 == 0, labels != 3], axis=1)
    found = fit(place(features, relevant), nothing(3, 20), 1e-2)
    for number in range(3):
        theirs = LogisticRegression(C=1 / (1e-2 * len(labels)), tol=1e-8, max_iter=5000)
        theirs.fit(features.astype(np.float64), relevant[:, number])
        np.testing.assert_allclose(found.classifier.weight[number], theirs.coef_[0], atol=2e-3)
        assert float(found.classifier.bias[number]) == pytest.approx(theirs.intercept_[0], abs=2e-3)


def test_ignored_labels_count_neither_way():
    features, labels = made()
    relevant = np.stack([labels == 0, labels == 1, labels < 3], axis=1)
    ignored = np.zeros_like(relevant)
    ignored[::3, 0] = True
    changed = relevant ^ ignored
    first, second = (
        fit(place(features, each, ignored=ignored), nothing(3, 20), 1e-2)
        for each in (relevant, changed)
    )
    np.testing.assert_array_equal(first.classifier.weight, second.classifier.weight)


def test_without_information_the_bias_is_the_shares_logarithm():
    labels = np.repeat([0, 1, 2], [10, 30, 60])
    found = fit(place(np.zeros((100, 2), np.float32), labels), nothing(3, 2), 1e-3)
    shares = jax.nn.softmax(found.classifier.bias)
    np.testing.assert_allclose(shares, [0.1, 0.3, 0.6], atol=1e-4)
    entropy = -sum(p * np.log(p) for p in (0.1, 0.3, 0.6))
    assert float(found.objective) == pytest.approx(entropy, abs=1e-6)


def test_chunks_and_devices_do_not_matter():
    features, labels = made(number=101)
    mesh = Mesh(np.array(jax.devices()), ("data",))
    whole, split = place(features, labels), place(features, labels, mesh=mesh, chunk=4)
    assert split.features.shape == (4, 32, 20)
    assert len(split.features.sharding.device_set) == 8
    random = np.random.default_rng(1)
    classifier = Classifier(
        jnp.asarray(random.normal(size=(4, 20)), jnp.float32),
        jnp.asarray(random.normal(size=4), jnp.float32),
    )
    expected = plain_objective(*map(np.asarray, classifier), features, labels, 0.1)
    for examples in (whole, split):
        assert float(objective(classifier, examples, 0.1)) == pytest.approx(expected, rel=1e-6)
    gradients = [jax.grad(objective)(classifier, examples, 0.1) for examples in (whole, split)]
    np.testing.assert_allclose(gradients[0].weight, gradients[1].weight, atol=1e-6)


def test_a_search_ends_where_it_is_told():
    features, labels = made()
    examples = place(features, labels)
    assert int(fit(examples, nothing(4, 20), 1e-5, iterations=3).iterations) == 3
    done = fit(examples, nothing(4, 20), 1e-2)
    again = fit(examples, done.classifier, 1e-2)
    assert int(done.iterations) < 200
    assert int(again.iterations) <= 10
    assert float(again.objective) <= float(done.objective) * (1 + 1e-6)
