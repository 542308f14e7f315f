"""Average precision: closed forms, scikit-learn, a loop over thresholds, and ties."""

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from dino_jax.ops import precision
from dino_jax.ops.precision import (
    as_units,
    average_precision,
    mean_average_precision,
    percent_of_units,
)

FORMS = ("step", "area", "eleven")
RANKED = np.array([9.0, 8.0, 7.0, 6.0, 5.0])
RELEVANT = np.array([True, False, True, False, False])


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("step", 0.5 * 1 + 0.5 * 2 / 3),
        ("area", 0.5 * 1 + 0.5 * 2 / 3),
        ("eleven", (6 * 1 + 5 * 2 / 3) / 11),
    ],
)
def test_two_relevant_of_five_by_hand(form, expected):
    assert average_precision(RANKED, RELEVANT, form) == pytest.approx(expected, abs=1e-12)


def test_the_envelope_raises_a_dip():
    relevant = np.array([False, True, True, False, False])
    assert average_precision(RANKED, relevant) == pytest.approx(0.5 * 1 / 2 + 0.5 * 2 / 3)
    assert average_precision(RANKED, relevant, "area") == pytest.approx(2 / 3)


@pytest.mark.parametrize("form", FORMS)
def test_a_perfect_ranking_is_one_and_the_share_is_what_equal_scores_give(form):
    relevant = np.arange(20) < 7
    assert average_precision(-np.arange(20.0), relevant, form) == pytest.approx(1, abs=1e-12)
    assert average_precision(np.zeros(20), relevant, form) == pytest.approx(7 / 20)


def by_loop(scores, relevant, form):
    """The definitions, word for word, one threshold after another."""
    points = []
    for threshold in sorted(set(scores.tolist()), reverse=True):
        taken = scores >= threshold
        hits = int((taken & relevant).sum())
        points.append((hits / int(relevant.sum()), hits / int(taken.sum())))
    if form == "eleven":
        levels = [level / 10 for level in range(11)]
        reach = [[p for r, p in points if r >= level - 1e-12] for level in levels]
        return sum(max(each) for each in reach) / 11
    total, before = 0.0, 0.0
    for number, (recall, height) in enumerate(points):
        if form == "area":
            height = max(p for _, p in points[number:])
        total += (recall - before) * height
        before = recall
    return total


EXAMPLES = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        arrays.arrays(np.float64, n, elements=st.integers(-4, 4).map(float)),
        arrays.arrays(np.bool_, n),
    )
)


@pytest.mark.parametrize("form", FORMS)
@hypothesis.given(EXAMPLES)
@hypothesis.settings(deadline=None, max_examples=60)
def test_it_is_the_loop_and_scikit_learns_with_ties(form, example):
    scores, relevant = example
    hypothesis.assume(relevant.any())
    ours = average_precision(scores, relevant, form)
    assert ours == pytest.approx(by_loop(scores, relevant, form), abs=1e-12)
    if form == "step":
        assert ours == pytest.approx(average_precision_score(relevant, scores), abs=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_the_order_of_the_examples_does_not_matter(form):
    random = np.random.default_rng(0)
    scores, relevant = random.integers(0, 9, 100) / 3, random.random(100) < 0.2
    order = random.permutation(100)
    first = average_precision(scores, relevant, form)
    again = average_precision(scores[order], relevant[order], form)
    assert first == pytest.approx(again, rel=1e-14)


def test_the_mean_leaves_out_classes_without_relevant_examples_and_what_is_ignored():
    scores = np.stack([RANKED, RANKED, RANKED], axis=1)
    relevant = np.stack([RELEVANT, ~RELEVANT, np.zeros(5, bool)], axis=1)
    halves = (average_precision(RANKED, RELEVANT) + average_precision(RANKED, ~RELEVANT)) / 2
    assert mean_average_precision(scores, relevant) == pytest.approx(halves)
    ignored = np.zeros((5, 3), bool)
    ignored[1, 0] = ignored[[0, 2], 1] = True
    assert mean_average_precision(scores, relevant, ignored=ignored) == pytest.approx(1)
    assert np.isnan(mean_average_precision(scores[:, 2:], relevant[:, 2:]))


@pytest.mark.parametrize("form", FORMS)
def test_units_hold_all_that_the_mean_is_made_of(form):
    random = np.random.default_rng(0)
    scores, relevant = random.normal(size=(50, 3)), random.random((50, 3)) < 0.3
    ignored = (random.random((50, 3)) < 0.2) & ~relevant
    rows = random.integers(0, 50, 50)
    units = as_units(scores, relevant, ignored)[rows]
    expected = mean_average_precision(scores[rows], relevant[rows], form, ignored=ignored[rows])
    assert percent_of_units(units, form) == pytest.approx(100 * expected)


@pytest.mark.parametrize("form", FORMS)
def test_more_places_than_are_sorted_by_digits(form, monkeypatch):
    random = np.random.default_rng(0)
    scores, relevant = random.normal(size=(300, 2)), random.random((300, 2)) < 0.3
    expected = mean_average_precision(scores, relevant, form)
    monkeypatch.setattr(precision, "_SMALL", 20)
    assert mean_average_precision(scores, relevant, form) == expected


def test_what_cannot_be_ranked_is_refused():
    assert np.isnan(average_precision(RANKED, np.zeros(5, bool)))
    with pytest.raises(ValueError, match="not a number"):
        average_precision(np.array([1.0, np.nan]), np.array([True, False]))
