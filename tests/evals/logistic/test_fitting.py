"""Fits with a penalty chosen on held-out parts, against scikit-learn on the same parts."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from dino_jax.evals.logistic.fitting import Search, Targets, common_length, fitted, scaled, score
from dino_jax.evals.logistic.subsets import held_out_parts

NUMBER, INPUTS, CLASSES = 120, 12, 3
PENALTIES = (1.0, 1e-2, 1e-4)
SEARCH = Search(PENALTIES, 500, None, "step")


def made(seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(NUMBER) % CLASSES
    means = np.random.default_rng(9).normal(size=(CLASSES, INPUTS))
    rows = 0.5 * means[labels] + random.normal(size=(NUMBER, INPUTS)) + 3
    return rows.astype(np.float32) / 5, labels


def sklearns(l2, number):
    return LogisticRegression(C=1 / (l2 * number), tol=1e-8, max_iter=5000)


def test_the_penalty_and_the_fit_are_scikit_learns():
    rows, labels = made()
    targets = Targets(labels, CLASSES)
    parts = held_out_parts(targets, 0.25, seed=0)
    found = fitted(rows, targets, lambda: parts, SEARCH)
    expected = {}
    for l2 in PENALTIES:
        right = 0
        for held in parts:
            learnt = np.setdiff1d(np.arange(NUMBER), held)
            theirs = sklearns(l2, len(learnt)).fit(rows[learnt], labels[learnt])
            right += (theirs.predict(rows[held]) == labels[held]).sum()
        expected[l2] = 100 * right / NUMBER
    assert found.by_penalty == pytest.approx(expected)
    assert found.l2 == max(expected, key=lambda l2: (expected[l2], l2))

    theirs = sklearns(found.l2, NUMBER).fit(rows, labels)
    new, _ = made(seed=1)
    ours = found.logits(new)
    reference = theirs.decision_function(new)
    # Logits are told up to a number to each row.
    ours -= ours.mean(axis=1, keepdims=True)
    reference -= reference.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(ours, reference, atol=0.02 * np.abs(reference).max())


def test_of_equal_penalties_the_strongest_and_of_one_no_choice():
    rows, labels = made()
    easy = rows + 10 * np.eye(INPUTS, dtype=np.float32)[labels]
    targets = Targets(labels, CLASSES)
    parts = held_out_parts(targets, 0.5, seed=0)
    found = fitted(easy, targets, lambda: parts, SEARCH)
    assert set(found.by_penalty.values()) == {100.0}
    assert found.l2 == 1.0

    def never():
        raise AssertionError("nothing is to be chosen")

    alone = fitted(rows, targets, never, SEARCH._replace(penalties=(1e-3,)))
    assert (alone.l2, alone.by_penalty) == (1e-3, {})


def test_several_labels_are_chosen_by_their_precision():
    rows, labels = made()
    relevant = np.stack([labels == 0, labels < 2], axis=1)
    ignored = np.zeros_like(relevant)
    ignored[::7, 0] = True
    targets = Targets(relevant, 2, ignored)
    parts = held_out_parts(targets, 0.5, seed=0)
    found = fitted(rows, targets, lambda: parts, SEARCH)
    assert max(found.by_penalty.values()) > 70
    assert score(found.logits(rows), targets, "step") > 80


def test_scaling():
    rows, _ = made()
    np.testing.assert_allclose(np.linalg.norm(scaled(rows, length=None), axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(scaled(np.zeros((2, 3), np.float32), length=None), 0)
    shared = scaled(rows, length=common_length(rows))
    assert np.mean(np.sum(shared**2, axis=1)) == pytest.approx(1, abs=1e-5)
    assert common_length(np.zeros((2, 3), np.float32)) == 1
