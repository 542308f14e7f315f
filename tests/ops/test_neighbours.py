"""The k-NN vote against loops over numpy, ties and chunking included."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from dino_jax.ops import neighbours


def vote_by_loops(queries, bank, labels, *, k, temperature, classes):
    """Float64, one query at a time; equal similarities go to the earlier row of the bank."""
    queries, bank = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, bank))
    votes = np.zeros((len(queries), classes))
    for row, query in enumerate(queries):
        similarities = [float(query @ other) for other in bank]
        order = sorted(range(len(bank)), key=lambda i: (-similarities[i], i))[:k]
        for i in order:
            votes[row, labels[i]] += np.exp(
                (similarities[i] - similarities[order[0]]) / temperature
            )
    return votes


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_votes_are_those_of_the_loops(chunk, temperature):
    rng = np.random.default_rng(0)
    queries, bank = rng.normal(size=(23, 9)), rng.normal(size=(101, 9))
    labels = rng.integers(0, 6, 101)
    votes = neighbours.knn_votes(
        queries.astype(np.float32),
        bank.astype(np.float32),
        labels,
        k=(1, 5, 20, 101),
        temperature=temperature,
        classes=6,
        bank_chunk=chunk,
    )
    for k, ours in votes.items():
        oracle = vote_by_loops(queries, bank, labels, k=k, temperature=temperature, classes=6)
        np.testing.assert_allclose(ours, oracle, rtol=3e-5, atol=3e-5)


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(
    seed=strategies.integers(0, 2**32 - 1),
    k=strategies.sampled_from([1, 3, 8]),
    chunk=strategies.sampled_from([1, 3, 8, 29]),
)
def test_ties_go_to_the_smaller_index_whatever_the_chunks(seed, k, chunk):
    # Small integers: products are exact and many are equal.
    rng = np.random.default_rng(seed)
    queries, bank = rng.integers(-1, 2, (10, 3)), rng.integers(-1, 2, (29, 3))
    products, indices = neighbours.nearest(
        queries.astype(np.float32), bank.astype(np.float32), k=k, bank_chunk=chunk, query_chunk=4
    )
    exact = queries @ bank.T
    order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_array_equal(products, np.take_along_axis(exact, order, axis=1))


def test_negative_products_are_found_though_the_bank_is_padded():
    queries, bank = -np.ones((2, 4), np.float32), np.arange(1, 6, dtype=np.float32)[:, None]
    products, indices = neighbours.nearest(queries, np.tile(bank, (1, 4)), k=5, bank_chunk=4)
    np.testing.assert_array_equal(indices, np.tile(np.arange(5), (2, 1)))
    np.testing.assert_array_equal(products[0], -4 * bank[:, 0])


def test_scale_of_features_does_not_matter():
    rng = np.random.default_rng(1)
    queries, bank = (rng.normal(size=(n, 5)).astype(np.float32) for n in (7, 30))
    labels = rng.integers(0, 3, 30)
    plain = neighbours.knn_votes(queries, bank, labels, k=(5,), temperature=0.07)[5]
    scaled = neighbours.knn_votes(8 * queries, bank / 4, labels, k=(5,), temperature=0.07)[5]
    np.testing.assert_allclose(plain, scaled, rtol=1e-5)


def test_a_temperature_near_zero_is_the_nearest_neighbour_and_does_not_overflow():
    rng = np.random.default_rng(2)
    queries, bank = (rng.normal(size=(n, 5)).astype(np.float32) for n in (7, 30))
    labels = rng.integers(0, 3, 30)
    votes = neighbours.knn_votes(queries, bank, labels, k=(1, 20), temperature=1e-4)
    assert np.isfinite(votes[20]).all()
    np.testing.assert_array_equal(votes[1].argmax(1), votes[20].argmax(1))


def test_k_above_the_bank_counts_the_whole_bank():
    rng = np.random.default_rng(3)
    queries, bank = (rng.normal(size=(n, 5)).astype(np.float32) for n in (7, 12))
    labels = rng.integers(0, 3, 12)
    votes = neighbours.knn_votes(queries, bank, labels, k=(12, 200), temperature=0.07)
    np.testing.assert_array_equal(votes[12], votes[200])


def test_zero_features_stay_finite():
    votes = neighbours.knn_votes(
        np.zeros((2, 3), np.float32),
        np.zeros((4, 3), np.float32),
        np.arange(4),
        k=(2,),
        temperature=0.07,
    )[2]
    np.testing.assert_array_equal(votes, [[1, 1, 0, 0]] * 2)


def test_classes_come_from_the_labels_and_mistakes_are_refused():
    bank = np.eye(4, dtype=np.float32)
    votes = neighbours.knn_votes(bank[:1], bank, np.array([0, 7, 2, 1]), k=(1,), temperature=0.07)
    assert votes[1].shape == (1, 8)
    with pytest.raises(ValueError, match="4 bank features came with 3 labels"):
        neighbours.knn_votes(bank, bank, np.arange(3), k=(1,), temperature=0.07)
    with pytest.raises(ValueError, match="k must lie between 1 and the 4"):
        neighbours.nearest(bank, bank, k=5)
