"""The k-NN vote against loops over numpy, ties and chunking included."""

import re

import hypothesis
import jax
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


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(
    seed=strategies.integers(0, 2**32 - 1),
    k=strategies.sampled_from([1, 8]),
    chunk=strategies.sampled_from([3, 29]),
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


def on(devices):
    return jax.sharding.Mesh(np.array(jax.devices()[:devices]), ("data",))


@pytest.mark.parametrize(("count", "chunk"), [(5, 4), (257, 4), (257, 32)])
def test_one_device_and_eight_give_the_same_bits(count, chunk):
    rng = np.random.default_rng(count)
    # Every vector twice: the tie must go to the smaller index across devices too.
    bank = np.tile(rng.normal(size=(-(-count // 2), 7)).astype(np.float32), (2, 1))[:count]
    queries = rng.normal(size=(9, 7)).astype(np.float32)
    k = min(20, count)
    sizes = {"bank_chunk": chunk, "query_chunk": 4, "cosine": True, "k": k}
    one = neighbours.nearest(queries, bank, mesh=on(1), **sizes)
    for devices in (8,) if chunk == 32 else (3, 8):
        many = neighbours.nearest(queries, bank, mesh=on(devices), **sizes)
        np.testing.assert_array_equal(one[0], many[0])
        np.testing.assert_array_equal(one[1], many[1])


@hypothesis.settings(max_examples=8, deadline=None)
@hypothesis.given(seed=strategies.integers(0, 2**32 - 1), devices=strategies.sampled_from([2, 8]))
def test_ties_go_to_the_smaller_index_across_devices(seed, devices):
    rng = np.random.default_rng(seed)
    queries, bank = rng.integers(-1, 2, (10, 3)), rng.integers(-1, 2, (29, 3))
    _, indices = neighbours.nearest(
        queries.astype(np.float32), bank.astype(np.float32), k=8, bank_chunk=3, mesh=on(devices)
    )
    np.testing.assert_array_equal(
        indices, np.argsort(-queries @ bank.T, axis=1, kind="stable")[:, :8]
    )


def test_only_the_best_of_each_device_are_sent():
    devices, block, k = 8, 4, 3
    layout = neighbours._layout(4096, 64, on(devices))
    best = neighbours._nothing(block, k, layout)
    rows = neighbours._rows(np.zeros((4096, 16), np.float32), 0, False, layout)
    queries = neighbours._placed(np.zeros((block, 16), np.float32), block, False, layout)
    visit = neighbours._visited.lower(best, queries, rows, np.int32(0), layout=layout)
    merge = neighbours._merged_over_devices.lower(best, layout=layout)
    words = ("all-gather", "all-reduce", "all-to-all", "collective-permute")
    text = visit.compile().as_text()
    assert not any(word in text for word in words)
    moved = [
        int(np.prod([int(side) for side in shape.split(",")]))
        for shape in re.findall(r"= \w+\[([\d,]+)\]\S* all-gather", merge.compile().as_text())
    ]
    assert moved
    assert max(moved) <= devices * block * k


def test_a_memory_mapped_bank_of_halves_is_searched_as_it_is(tmp_path):
    rng = np.random.default_rng(5)
    bank = rng.normal(size=(300, 6)).astype(np.float16)
    np.save(tmp_path / "bank.npy", bank)
    mapped = np.load(tmp_path / "bank.npy", mmap_mode="r")
    queries = rng.normal(size=(5, 6)).astype(np.float32)
    _, indices = neighbours.nearest(queries, mapped, k=7, bank_chunk=64)
    exact = queries.astype(np.float64) @ bank.astype(np.float64).T
    np.testing.assert_array_equal(indices, np.argsort(-exact, axis=1)[:, :7])


def test_no_queries_have_no_neighbours():
    products, indices = neighbours.nearest(np.zeros((0, 3)), np.zeros((4, 3)), k=2)
    assert products.shape == indices.shape == (0, 2)


def test_shares_of_several_labels_are_weighted_means_of_the_neighbours_labels():
    rng = np.random.default_rng(6)
    queries, bank = (rng.normal(size=(n, 5)).astype(np.float32) for n in (7, 30))
    shown = rng.random((30, 4)) < 0.4
    shares = neighbours.knn_votes(queries, bank, shown, k=(6,), temperature=0.3)[6]
    queries, bank = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, bank))
    for query, ours in zip(queries, shares, strict=True):
        similarities = bank @ query
        best = np.argsort(-similarities)[:6]
        weights = np.exp(similarities[best] / 0.3)
        np.testing.assert_allclose(ours, weights @ shown[best] / weights.sum(), rtol=1e-5)
    one_hot = np.eye(3, dtype=bool)[rng.integers(0, 3, 30)]
    shares = neighbours.knn_votes(queries, bank, one_hot, k=(6,), temperature=0.3)[6]
    votes = neighbours.knn_votes(queries, bank, one_hot.argmax(1), k=(6,), temperature=0.3)[6]
    np.testing.assert_allclose(shares, votes / votes.sum(axis=1, keepdims=True), rtol=1e-5)
