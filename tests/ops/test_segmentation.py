"""Targets by patch, predictions by pixel, and the scores of segmentation."""

import numpy as np
import pytest

from dino_jax.ops import segmentation


def test_shares_are_counts_of_the_patch_s_pixels():
    labels = np.random.default_rng(0).integers(0, 5, (12, 20)).astype(np.uint8)
    shares = segmentation.patch_shares(labels, 3, 5, 4)  # label 4 is void
    for row, column in np.ndindex(3, 5):
        patch = labels[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        wanted = [(patch == each).mean() for each in range(4)]
        np.testing.assert_allclose(shares[5 * row + column], wanted, rtol=1e-6)


@pytest.mark.parametrize("shape", [(13, 21), (5, 40), (97, 64)])
def test_every_pixel_goes_to_the_patch_its_centre_lies_in(shape):
    labels = np.random.default_rng(1).integers(0, 3, shape).astype(np.uint8)
    rows, columns = 3, 4
    counts = np.zeros((rows * columns, 3))
    for y, x in np.ndindex(shape):
        row, column = int((y + 0.5) / shape[0] * rows), int((x + 0.5) / shape[1] * columns)
        counts[row * columns + column, labels[y, x]] += 1
    wanted = counts / counts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        segmentation.patch_shares(labels, rows, columns, 3), wanted, rtol=1e-6
    )


def test_void_has_no_share_and_a_mask_may_be_smaller_than_the_grid():
    assert not segmentation.patch_shares(np.full((8, 8), 255, np.uint8), 2, 2, 3).any()
    shares = segmentation.patch_shares(np.zeros((1, 1), np.uint8), 2, 2, 3)
    assert shares.sum() == 1


def test_logits_are_enlarged_bilinearly_about_the_pixels_centres():
    random = np.random.default_rng(2)
    logits = random.normal(size=(3, 4, 5)).astype(np.float32)
    height, width = 10, 18
    wanted = np.zeros((height, width), int)
    for y, x in np.ndindex(height, width):
        v = np.clip((y + 0.5) * 3 / height - 0.5, 0, 2)
        u = np.clip((x + 0.5) * 4 / width - 0.5, 0, 3)
        top, left = min(int(v), 1), min(int(u), 2)
        v, u = v - top, u - left
        upper = (1 - u) * logits[top, left] + u * logits[top, left + 1]
        lower = (1 - u) * logits[top + 1, left] + u * logits[top + 1, left + 1]
        wanted[y, x] = ((1 - v) * upper + v * lower).argmax()
    found = segmentation.pixel_classes(logits, height=height, width=width)
    np.testing.assert_array_equal(found, wanted)


def test_confusion_and_its_scores_in_closed_form():
    labels = np.array([[0, 0, 0, 1], [1, 1, 255, 3]], np.uint8)  # 3 is void as well
    predicted = np.array([[0, 0, 1, 1], [1, 0, 0, 1]], np.uint8)
    counts = segmentation.confusion(labels, predicted, 3)
    np.testing.assert_array_equal(counts, [[2, 1, 0], [1, 2, 0], [0, 0, 0]])
    np.testing.assert_array_equal(segmentation.class_overlaps(counts), [0.5, 0.5, np.nan])
    assert segmentation.mean_overlap(counts[None]) == pytest.approx(50)
    assert segmentation.pixel_accuracy(counts[None]) == pytest.approx(100 * 4 / 6)


def test_pixels_of_all_images_count_together():
    one = np.array([[8, 0], [0, 0]])
    other = np.array([[0, 0], [1, 1]])
    both = segmentation.mean_overlap(np.stack([one, other]))
    assert both == pytest.approx(100 * (8 / 9 + 1 / 2) / 2)
    mean = (segmentation.mean_overlap(one[None]) + segmentation.mean_overlap(other[None])) / 2
    assert both != pytest.approx(mean)
    assert segmentation.mean_overlap(np.zeros((1, 2, 2), int)) == 0


def test_a_class_that_is_predicted_but_not_there_counts_and_one_that_is_neither_does_not():
    counts = np.zeros((1, 3, 3), int)
    counts[0, 0, 0], counts[0, 0, 1] = 3, 1
    assert segmentation.mean_overlap(counts) == pytest.approx(100 * (3 / 4 + 0) / 2)
