"""Masks of attention mass, and the overlap of masks with objects."""

import numpy as np
import pytest

from dino_jax.ops import attention_mask


def by_loop(row, fraction):
    """The rule in words: from the smallest up, keep once the sum exceeds 1 - fraction."""
    kept, total = np.zeros(len(row), bool), 0.0
    for index in np.argsort(row, kind="stable"):
        total += row[index] / row.sum()
        kept[index] = total > 1 - fraction
    return kept


@pytest.mark.parametrize("fraction", [0.05, 0.37, 0.6, 0.8, 1.0])
def test_masks_are_those_of_a_loop(fraction):
    maps = np.random.default_rng(0).exponential(size=(2, 3, 50)).astype(np.float32)
    masks = attention_mask.mass_masks(maps, fraction)
    for place in np.ndindex(2, 3):
        np.testing.assert_array_equal(masks[place], by_loop(maps[place].astype(float), fraction))


def test_masks_hold_the_mass_and_not_a_patch_more():
    maps = np.random.default_rng(1).exponential(size=(4, 60)).astype(np.float32)
    for fraction in (0.3, 0.6, 0.9):
        masks = attention_mask.mass_masks(maps, fraction)
        for row, mask in zip(maps / maps.sum(axis=1, keepdims=True), masks, strict=True):
            assert row[mask].sum() >= fraction - 1e-6
            assert row[mask].sum() - row[mask].min() < fraction + 1e-6
            assert row[mask].min() >= row[~mask].max()


def test_masks_grow_with_the_fraction_and_ignore_the_scale_and_the_order():
    random = np.random.default_rng(2)
    maps = random.exponential(size=(3, 40)).astype(np.float32)
    small, large = (attention_mask.mass_masks(maps, each) for each in (0.4, 0.7))
    assert (large | small == large).all()
    np.testing.assert_array_equal(attention_mask.mass_masks(maps * 8, 0.4), small)
    order = random.permutation(40)
    np.testing.assert_array_equal(attention_mask.mass_masks(maps[:, order], 0.4), small[:, order])


def test_one_patch_with_all_the_mass_and_a_map_without_any():
    maps = np.zeros((2, 9), np.float32)
    maps[0, 4] = 0.3
    masks = attention_mask.mass_masks(maps, 0.6)
    np.testing.assert_array_equal(np.flatnonzero(masks[0]), [4])
    assert not masks[1].any()


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1])
def test_a_fraction_outside_is_refused(fraction):
    with pytest.raises(ValueError, match="fraction"):
        attention_mask.mass_masks(np.ones((1, 4), np.float32), fraction)


def test_overlaps_in_closed_form():
    rows = np.arange(6)[:, None] * np.ones((1, 8), int)
    masks = np.stack([rows < 3, rows < 6, rows < 0])
    objects = np.stack([rows < 2, (rows >= 2) & (rows < 4), rows < 0])
    wanted = [[2 / 3, 1 / 3, 0], [1 / 4, 1 / 3, 0], [0, 0, 0]]
    np.testing.assert_allclose(attention_mask.overlaps(masks, objects), wanted)
    best, head = attention_mask.best_overlaps(attention_mask.overlaps(masks, objects))
    np.testing.assert_allclose(best, [2 / 3, 1 / 3, 0])
    np.testing.assert_array_equal(head, [0, 1, 0])


def test_what_does_not_count_changes_nothing():
    random = np.random.default_rng(3)
    masks, objects = random.random((2, 4, 10, 12)) < 0.5
    counted = random.random((10, 12)) < 0.7
    found = attention_mask.overlaps(masks, objects, counted)
    np.testing.assert_array_equal(
        attention_mask.overlaps(masks | ~counted, objects ^ ~counted, counted), found
    )
    for i, j in np.ndindex(4, 4):
        both = (masks[j] & objects[i] & counted).sum()
        assert found[i, j] == both / ((masks[j] | objects[i]) & counted).sum()


def test_every_pixel_has_the_patch_it_lies_in():
    maps = np.random.default_rng(4).random((2, 3, 5)) < 0.5
    large = attention_mask.enlarged(maps, 4)
    assert large.shape == (2, 12, 20)
    for place in np.ndindex(2, 12, 20):
        assert large[place] == maps[place[0], place[1] // 4, place[2] // 4]


def test_the_centred_map_is_an_ellipse_of_the_image_s_proportions():
    found = attention_mask.centred_map(60, 90)
    assert found.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(found, found[::-1, ::-1], rtol=1e-5)
    mask = attention_mask.mass_masks(found.reshape(1, -1), 0.6).reshape(60, 90)
    # A Gaussian cut by the image: the ellipse with 60 % of what is left of it.
    assert mask.mean() == pytest.approx(0.32, abs=0.03)
    assert mask.any(axis=1).mean() == pytest.approx(mask.any(axis=0).mean(), abs=0.03)
