"""Accuracy, view retrieval and effective rank: closed forms and numpy."""

import numpy as np
import pytest

from dino_jax.ops import scores


def f32(array):
    return np.asarray(array, np.float32)


def rankme_by_numpy(features, *, centred=False):
    features = np.asarray(features, np.float64)
    if centred:
        features = features - features.mean(0)
    values = np.linalg.svd(features, compute_uv=False)
    shares = values / values.sum()
    shares = shares[shares > 0]
    return np.exp(-(shares * np.log(shares)).sum())


@pytest.mark.parametrize("size", [1, 5, 32])
def test_rank_of_the_identity_is_its_size(size):
    assert scores.effective_rank(f32(np.eye(size))) == pytest.approx(size, rel=1e-6)
    # Subtracting the mean takes away one direction and leaves the others equal.
    centred = scores.effective_rank(f32(np.eye(size)), centred=True)
    assert centred == pytest.approx(size - 1, rel=1e-6)


def test_rank_of_one_direction_is_one_and_of_a_constant_is_zero_when_centred():
    rng = np.random.default_rng(0)
    line = np.outer(rng.normal(size=50), rng.normal(size=20))
    assert scores.effective_rank(f32(line)) == pytest.approx(1, abs=1e-4)
    constant = np.tile(rng.normal(size=(1, 20)), (50, 1))
    assert scores.effective_rank(f32(constant)) == pytest.approx(1, abs=1e-4)
    assert scores.effective_rank(f32(constant), centred=True) == 0
    assert scores.effective_rank(f32(np.zeros((50, 20)))) == 0


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (64, 64)])
@pytest.mark.parametrize("centred", [False, True])
def test_rank_is_numpy_s_in_float64(shape, centred):
    features = np.random.default_rng(1).normal(size=shape) + 0.5
    ours = scores.effective_rank(f32(features), centred=centred)
    assert ours == pytest.approx(rankme_by_numpy(features, centred=centred), rel=1e-5)


def test_rank_ignores_scale_and_rotation_and_when_centred_an_offset():
    rng = np.random.default_rng(2)
    features = rng.normal(size=(60, 12)) * np.arange(1, 13)
    rotation = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    plain = scores.effective_rank(f32(features))
    assert scores.effective_rank(f32(1000 * features @ rotation)) == pytest.approx(plain, rel=1e-5)
    plain = scores.effective_rank(f32(features), centred=True)
    moved = scores.effective_rank(f32(features + 3), centred=True)
    assert moved == pytest.approx(plain, rel=1e-4)


def test_views_that_agree_are_all_found_and_constant_ones_by_chance():
    features = np.random.default_rng(3).normal(size=(20, 6))
    assert scores.retrieval_top1(f32(features), f32(2 * features)) == 100
    assert scores.retrieval_top1(f32(np.ones((20, 6))), f32(np.ones((20, 6)))) == 100 / 20


def test_retrieval_is_the_mean_of_both_directions():
    # Second views 0 and 1 are equal: as a gallery they lose one, as queries none.
    first = np.eye(4)
    second = np.eye(4)
    second[1] = [1, 0.5, 0, 0]
    second[0] = [1, 0.4, 0, 0]
    # Ways: first 1 finds second 1 (0.447 against 0.371); first 0 finds second 0; second 1 finds
    # first 0, which is wrong. Seven of eight.
    assert scores.retrieval_top1(f32(first), f32(second)) == 100 * 7 / 8
    assert scores.retrieval_top1(f32(second), f32(first)) == 100 * 7 / 8


def test_accuracy_counts_and_ties_go_to_the_smaller_class():
    votes = f32([[3, 2, 1], [3, 2, 1], [1, 1, 1], [0, 0, 5]])
    labels = np.array([0, 1, 1, 2])
    assert scores.accuracy(votes, labels) == 50
    assert scores.accuracy(votes, labels, k=2) == 100
    assert scores.accuracy(votes, labels, k=5) == 100


def test_hits_are_the_places_in_a_stable_order_and_what_is_no_number_is_missed():
    """Few distinct values, so that many are equal; six classes, so that five are not all."""
    random = np.random.default_rng(0)
    answers = f32(random.integers(0, 4, (200, 6)))
    labels = random.integers(0, 6, 200)
    order = np.argsort(-answers, axis=1, kind="stable")
    places = [row.tolist().index(label) for row, label in zip(order, labels, strict=True)]
    found = scores.hits(answers, labels)
    assert {name: each.tolist() for name, each in found.items()} == {
        f"top{k}": [place < k for place in places] for k in (1, 5)
    }
    assert found["top1"].sum() < found["top5"].sum() < 200
    for column in (slice(None), 2):
        answers[:, column] = np.nan
        assert not np.any(list(scores.hits(answers, labels).values()))


def test_five_of_five_classes_say_nothing():
    answers, labels = f32(np.eye(5)), np.array([0, 1, 2, 3, 0])
    assert list(scores.hits(answers, labels)) == ["top1"]
    assert scores.hits(answers, labels, few=True)["top5"].all()


def test_balanced_accuracy_weighs_classes_alike():
    votes = f32(np.eye(3)[[0, 0, 0, 0]])
    labels = np.array([0, 0, 0, 2])
    assert scores.accuracy(votes, labels) == 75
    assert scores.balanced_accuracy(votes, labels) == 50
