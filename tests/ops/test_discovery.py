"""LOST and boxes: objects planted in features are found, as the paper's loops say."""

import numpy as np
import pytest

from dino_jax.ops import discovery


def planted(rows=12, columns=14, box=(3, 4, 8, 9), width=16, noise=0.0):
    """Features of an object and of a background that are opposites, and the object's mask."""
    left, top, right, bottom = box
    mask = np.zeros((rows, columns), bool)
    mask[top:bottom, left:right] = True
    direction = np.random.default_rng(0).normal(size=width)
    features = np.where(mask[..., None], direction, -direction)
    features = features + noise * np.random.default_rng(1).normal(size=features.shape)
    return features.astype(np.float32), mask


def by_loop(features, expansion):
    """Section 3.2 of the paper, patch by patch."""
    rows, columns, _ = features.shape
    flat = features.reshape(rows * columns, -1).astype(np.float64)
    count = len(flat)
    degree = [sum(flat[p] @ flat[q] >= 0 for q in range(count)) for p in range(count)]
    ranked = sorted(range(count), key=lambda p: degree[p])
    seed = ranked[0]
    joined = [q for q in ranked[:expansion] if flat[q] @ flat[seed] >= 0]
    alike = {q for q in range(count) if sum(flat[q] @ flat[s] for s in joined) >= 0} | {seed}
    reached, ahead = set(), [seed]
    while ahead:
        patch = ahead.pop()
        row, column = divmod(patch, columns)
        if patch in reached or patch not in alike:
            continue
        reached.add(patch)
        ahead += [patch - columns] * (row > 0) + [patch + columns] * (row < rows - 1)
        ahead += [patch - 1] * (column > 0) + [patch + 1] * (column < columns - 1)
    mask = np.zeros(count, bool)
    mask[list(reached)] = True
    return mask.reshape(rows, columns), divmod(seed, columns), len(joined), degree[seed]


@pytest.mark.parametrize("expansion", [1, 10, 100])
@pytest.mark.parametrize("seed", range(3))
def test_lost_is_the_paper_s(seed, expansion):
    random = np.random.default_rng(seed)
    smooth = random.normal(size=(5, 5, 6)).repeat(2, axis=0).repeat(2, axis=1)
    features = (smooth + 0.7 * random.normal(size=smooth.shape)).astype(np.float32)
    found = discovery.lost(features, expansion=expansion)
    mask, place, joined, degree = by_loop(features, expansion)
    np.testing.assert_array_equal(found.mask, mask)
    assert (found.seed, found.seeds, found.degree) == (place, joined, degree)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_planted_object_is_found_wherever_it_is(noise):
    for box in ((3, 4, 8, 9), (0, 0, 4, 5), (10, 8, 14, 12)):
        features, mask = planted(box=box, noise=noise)
        found = discovery.lost(features)
        np.testing.assert_array_equal(found.mask, mask)
        assert discovery.box_of(found.mask) == box
        assert found.degree == mask.sum()
        assert mask[found.seed]


def test_of_two_objects_alike_only_the_seed_s_is_taken():
    features, first = planted(box=(1, 1, 4, 4))
    second = planted(box=(8, 6, 12, 10))[1]
    features = np.where(second[..., None], -features, features)
    found = discovery.lost(features)
    assert any(np.array_equal(found.mask, each) for each in (first, second))


def test_the_scale_of_features_says_nothing():
    features = np.random.default_rng(5).normal(size=(8, 8, 12)).astype(np.float32)
    np.testing.assert_array_equal(discovery.lost(4 * features).mask, discovery.lost(features).mask)


def test_features_without_content_give_one_object_of_all():
    assert discovery.lost(np.zeros((4, 5, 3), np.float32)).mask.all()


def test_components_touch_along_sides_only():
    mask = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [1, 0, 1, 1]], bool)
    np.testing.assert_array_equal(
        discovery.largest_component(mask), [[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    )
    np.testing.assert_array_equal(discovery.component(mask, (0, 1)).sum(), 2)
    assert not discovery.component(mask, (1, 0)).any()
    assert not discovery.largest_component(np.zeros((2, 3), bool)).any()


def test_boxes_hold_their_region_and_no_more():
    mask = np.zeros((6, 9), bool)
    mask[2, 3], mask[4, 7] = True, True
    assert discovery.box_of(mask) == (3, 2, 8, 5)
    assert discovery.box_of(np.zeros((2, 2), bool)) is None


def test_overlaps_of_boxes_are_those_of_their_pixels():
    random = np.random.default_rng(6)
    corners = np.sort(random.integers(0, 15, (8, 2, 2)), axis=1)
    corners[:, 1] += 1
    boxes = corners.reshape(8, 4)

    def pixels(box):
        mask = np.zeros((16, 16), bool)
        mask[box[1] : box[3], box[0] : box[2]] = True
        return mask

    found = discovery.box_overlaps(tuple(map(int, boxes[0])), boxes)
    for value, box in zip(found, boxes, strict=True):
        both, either = pixels(boxes[0]) & pixels(box), pixels(boxes[0]) | pixels(box)
        assert value == pytest.approx(both.sum() / either.sum())


def test_a_box_is_right_from_half_an_overlap_on():
    truth = np.array([[0, 0, 10, 10], [50, 50, 60, 60]])
    assert discovery.localised((0, 0, 10, 5), truth)
    assert not discovery.localised((0, 0, 10, 4), truth)
    assert discovery.localised((50, 50, 60, 60), truth)
    assert not discovery.localised(None, truth)
    assert not discovery.localised((0, 0, 10, 10), np.zeros((0, 4), int))
