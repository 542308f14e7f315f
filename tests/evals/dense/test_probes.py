"""The probes: closed forms, oracles, and independence of how the work is cut up."""

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.evals.dense import probes
from dino_jax.evals.dense.tokens import Tokens
from dino_jax.train.sharding import make_mesh


def tokens(count=90, width=5, classes=3, seed=0, *, void=True):
    random = np.random.default_rng(seed)
    features = random.normal(3, 2, (count, width)) * np.arange(1, width + 1)
    logits = features @ random.normal(size=(width, classes)) / 5 + random.normal(size=classes)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    shares *= random.random((count, 1)) ** void
    shares[:7] *= not void
    return Tokens(features.astype(np.float32), shares.astype(np.float32))


def fit(given, *, decay=0.0, iterations=150, devices=1):
    return probes.fit_linear(given, decay=decay, iterations=iterations, mesh=make_mesh(devices))


def shares_of(logits):
    logits = np.asarray(logits, np.float64)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def test_shares_that_a_linear_map_gave_are_given_back():
    given = tokens(void=False)
    found = shares_of(fit(given).logits(given.features))
    np.testing.assert_allclose(found, given.shares, atol=2e-3)


def test_the_gradient_of_the_whole_loss_vanishes_at_the_end():
    """By hand, in float64: weights of what is void, standardised features, decay of the weights."""
    given, decay = tokens(), 0.03
    probe = fit(given, decay=decay)
    mean, std = given.features.mean(axis=0), given.features.std(axis=0)
    standard = (given.features.astype(np.float64) - mean) / std
    error = shares_of(probe.logits(given.features)) * given.shares.sum(axis=1, keepdims=True)
    error = (error - given.shares) / given.shares.sum(dtype=np.float64)
    np.testing.assert_allclose(
        standard.T @ error + decay * probe.weight * std[:, None], 0, atol=2e-4
    )
    np.testing.assert_allclose(error.sum(axis=0), 0, atol=2e-4)


@pytest.mark.parametrize(("chunk", "devices"), [(16, 1), (32, 8), (1000, 8)])
def test_neither_chunks_nor_devices_change_the_probe(monkeypatch, chunk, devices):
    given = tokens()
    whole = fit(given, decay=0.01, iterations=60)
    monkeypatch.setattr(probes, "CHUNK", chunk)
    found = fit(given, decay=0.01, iterations=60, devices=devices)
    np.testing.assert_allclose(found.weight, whole.weight, atol=1e-3)


def test_what_is_void_teaches_nothing_and_a_constant_feature_breaks_nothing():
    given = tokens()
    changed = given.features.copy()
    changed[:7] = np.flip(changed[:7])  # the moments of the features stay near
    kept = Tokens(given.features[7:], given.shares[7:])
    alone = fit(kept, decay=0.01)
    constant = np.concatenate([kept.features, np.full((len(kept.features), 1), 4, np.float32)], 1)
    wider = fit(Tokens(constant, kept.shares), decay=0.01)
    np.testing.assert_allclose(
        shares_of(wider.logits(constant)), shares_of(alone.logits(kept.features)), atol=1e-3
    )


def test_the_vote_is_that_of_a_loop():
    given, k, temperature = tokens(), 6, 0.1
    queries = tokens(seed=1).features[:9]
    found = np.asarray(
        probes.nearest_patches(given, k=k, temperature=temperature, bank=1000, seed=0)(queries)
    )
    kept = [row for row in range(90) if given.shares[row].any()]
    bank = given.features[kept].astype(np.float64)
    bank /= np.linalg.norm(bank, axis=1, keepdims=True)
    for query, votes in zip(queries.astype(np.float64), found, strict=True):
        cosine = bank @ query / np.linalg.norm(query)
        wanted = np.zeros(3)
        for row in np.argsort(-cosine)[:k]:
            wanted[given.shares[kept[row]].argmax()] += np.exp(cosine[row] / temperature)
        np.testing.assert_allclose(votes, wanted / wanted.sum(), rtol=1e-4, atol=1e-6)


def test_a_drawn_bank_is_the_same_again_and_holds_k_at_least():
    given = tokens()
    queries = given.features[:5]

    def votes(seed, k=3, bank=20):
        return probes.nearest_patches(given, k=k, temperature=0.1, bank=bank, seed=seed)(queries)

    np.testing.assert_array_equal(votes(1), votes(1))
    assert not np.array_equal(votes(1), votes(2))
    np.testing.assert_allclose(np.asarray(votes(1, k=20)).sum(axis=1), 1, rtol=1e-5)
    with pytest.raises(UserError, match="--k=21 wants 21 training patches, but there are 20"):
        votes(1, k=21)
