"""Average precision of rankings: closed forms, an oracle of loops, and what junk must not do."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dino_jax.ops import ranking


def area(order: list[int], positives: set[int], junk: set[int]) -> float:
    """The area under the points of precision over recall, one result after the other."""
    found, seen, last, total = 0, 0, 1.0, 0.0
    for image in order:
        if image in junk and image not in positives:
            continue
        seen += 1
        if image in positives:
            found += 1
            before = last if seen == 1 else (found - 1) / (seen - 1)
            total += (before + found / seen) / 2 / len(positives)
    return total


@st.composite
def queries(draw: st.DrawFn) -> tuple[list[int], list[int], list[int]]:
    count = draw(st.integers(1, 30))
    order = draw(st.permutations(range(count)))
    kinds = draw(st.lists(st.sampled_from("pjn"), min_size=count, max_size=count))
    chosen = ([image for image in range(count) if kinds[image] == kind] for kind in "pj")
    return list(order), *chosen


@given(queries())
def test_it_is_the_area_under_precision_over_recall(query):
    order, positives, junk = query
    found = ranking.ranked_query(np.array(order), positives, junk)
    if not positives:
        assert found is None
        return
    assert found.average_precision == pytest.approx(area(order, set(positives), set(junk)))
    assert 0 <= found.average_precision <= 1 + 1e-12


@given(queries())
def test_junk_counts_as_if_it_were_not_there(query):
    order, positives, junk = query
    without = np.array([image for image in order if image not in junk], np.int64)
    assert ranking.ranked_query(np.array(order), positives, junk) == ranking.ranked_query(
        without, positives
    )


def test_the_best_ranking_scores_one_and_one_positive_at_place_k_by_trapezoids():
    first = ranking.ranked_query(np.arange(10), [0, 1, 2])
    assert first == ranking.RankedQuery(1.0, (1.0, 1.0, 1.0))
    # Precision is 0 before place 4 (from 0) and a fifth behind it.
    alone = ranking.ranked_query(np.arange(10), [4])
    assert alone.average_precision == pytest.approx((0 + 1 / 5) / 2)


def test_precision_at_a_cut_counts_no_more_results_than_up_to_the_last_positive():
    found = ranking.ranked_query(np.arange(20), [0, 2], cuts=(1, 3, 5, 10))
    assert found.precision == (1.0, 2 / 3, 2 / 3, 2 / 3)


def test_positives_that_were_not_retrieved_count_as_not_found():
    found = ranking.ranked_query(np.array([3, 4]), [0, 3])
    assert found.average_precision == 0.5
    none = ranking.ranked_query(np.array([3, 4]), [0])
    assert none == ranking.RankedQuery(0.0, (0.0, 0.0, 0.0))


def test_queries_without_positives_are_left_out_of_the_means():
    orders = np.stack([np.arange(4)] * 3)
    found = ranking.ranked(orders, [[0], [], [3]], [[], [], []])
    scored = [1.0, (0 + 1 / 4) / 2]
    assert found.mean_average_precision == sum(scored) / 2
    assert math.isnan(found.average_precision[1])
    assert np.isnan(found.precision[1]).all()
    nothing = ranking.ranked(orders, [[], [], []], [[], [], []])
    assert math.isnan(nothing.mean_average_precision)
    assert math.isnan(nothing.mean_precision[0])


def test_the_ranking_is_by_cosine_and_equal_images_by_number():
    database = np.array([[1, 0], [0, 2], [3, 0], [-1, 0], [1, 1]], np.float32)
    orders = ranking.ranking(np.array([[2, 0], [0, -1]], np.float32), database)
    np.testing.assert_array_equal(orders, [[0, 2, 4, 1, 3], [0, 2, 3, 4, 1]])
