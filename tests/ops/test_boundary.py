"""J and F against loops, against morphology of scikit-image, and in closed form."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from skimage import morphology

from dino_jax.ops import boundary


def blobs(seed, shape):
    """A mask of a few overlapping discs, some of them cut by the border."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    mask = np.zeros(shape, bool)
    for _ in range(rng.integers(0, 4)):
        y, x, r = (
            rng.uniform(0, shape[0]),
            rng.uniform(0, shape[1]),
            rng.uniform(1, 1 + max(shape) / 3),
        )
        mask |= (rows - y) ** 2 + (columns - x) ** 2 < r * r
    return mask ^ (rng.random(shape) < 0.01)


def contour_by_loops(mask):
    rows, columns = mask.shape
    edge = np.zeros_like(mask)
    for y in range(rows):
        for x in range(columns):
            below, right = y + 1 < rows, x + 1 < columns
            neighbours = [(y + 1, x)] * below + [(y, x + 1)] * right
            neighbours += [(y + 1, x + 1)] * (below and right)
            edge[y, x] = any(mask[y, x] != mask[other] for other in neighbours)
    return edge


def accuracy_by_morphology(truth, predicted, tolerance):
    reach = np.ceil(tolerance * np.sqrt(truth.shape[0] ** 2 + truth.shape[1] ** 2))
    disk = morphology.disk(reach)
    truth, predicted = contour_by_loops(truth), contour_by_loops(predicted)
    if not truth.any() or not predicted.any():
        return float(truth.any() == predicted.any())
    precision = (predicted & morphology.dilation(truth, disk)).sum() / predicted.sum()
    recall = (truth & morphology.dilation(predicted, disk)).sum() / truth.sum()
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(
    seed=strategies.integers(0, 2**32 - 1),
    shape=strategies.tuples(strategies.integers(1, 40), strategies.integers(1, 40)),
    tolerance=strategies.sampled_from([0.008, 0.05, 0.15, 0.5]),
)
def test_contour_accuracy_is_that_of_morphology(seed, shape, tolerance):
    truth, predicted = blobs(seed, shape), blobs(seed + 1, shape)
    ours = boundary.contour_accuracy(truth, predicted, tolerance=tolerance)
    assert ours == pytest.approx(accuracy_by_morphology(truth, predicted, tolerance), abs=1e-12)
    union = (truth | predicted).sum()
    expected = (truth & predicted).sum() / union if union else 1
    assert boundary.region_similarity(truth, predicted) == expected


@pytest.mark.parametrize("reach", [0, 1, 2, 5, 8, 60])
def test_dilation_reaches_as_far_as_the_disk(reach):
    mask = np.random.default_rng(0).random((31, 47)) < 0.01
    rows, columns = np.indices(mask.shape)
    expected = np.zeros_like(mask)
    for y, x in np.argwhere(mask):
        expected |= (rows - y) ** 2 + (columns - x) ** 2 <= reach * reach
    np.testing.assert_array_equal(boundary.dilated(mask, reach), expected)


def test_a_shift_by_no_more_than_the_tolerance_costs_no_contour():
    rows, columns = np.indices((480, 854))
    truth = (abs(rows - 200) < 60) & (abs(columns - 300) < 90)
    for shift, perfect in [(0, True), (8, True), (9, False)]:
        accuracy = boundary.contour_accuracy(truth, np.roll(truth, shift, axis=1))
        assert (accuracy == 1) == perfect
    assert boundary.region_similarity(truth, np.roll(truth, 8, axis=1)) == (179 - 8) / (179 + 8)


def test_empty_masks_and_masks_without_contour():
    nothing, everything = np.zeros((9, 9), bool), np.ones((9, 9), bool)
    some = np.eye(9, dtype=bool)
    assert boundary.region_similarity(nothing, nothing) == 1
    assert boundary.region_similarity(nothing, some) == 0
    assert boundary.contour_accuracy(nothing, everything) == 1  # neither has a contour
    assert boundary.contour_accuracy(nothing, some) == 0
    assert boundary.contour_accuracy(some, nothing) == 0


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 47, 48, 300])
def test_statistics_are_those_of_the_official_definition(count):
    scores = np.random.default_rng(count).random(count)
    mean, recall, decay = boundary.statistics(scores)
    assert mean == pytest.approx(sum(scores) / count)
    assert recall == pytest.approx(sum(score > 0.5 for score in scores) / count)
    # Quarters of frames 1..count, rounded to the nearest, half to the next, ends in both.
    ends = [int(np.floor(1 + (count - 1) * i / 4 + 0.5 + 1e-9)) for i in range(5)]
    quarters = [scores[ends[i] - 1 : ends[i + 1]] for i in range(4)]
    assert decay == pytest.approx(quarters[0].mean() - quarters[3].mean())


def test_recall_does_not_count_exactly_one_half():
    assert boundary.statistics(np.array([0.5, 0.5, 0.6, 0.4])).recall == 0.25
