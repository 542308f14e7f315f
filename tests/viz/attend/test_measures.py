"""Distance, entropy and similarity against loops over every pair, and in closed form."""

import numpy as np
import pytest

from dino_jax.viz.attend import measures
from dino_jax.viz.attend.maps import Projections
from dino_jax.viz.attend.measures import Measures, mean_of, measured

ROWS, COLUMNS, PATCH, CHANNELS = 3, 4, 8, 5
TOKENS = 1 + ROWS * COLUMNS


def held(queries, keys):
    return Projections(
        queries.astype(np.float32), keys.astype(np.float32), ROWS, COLUMNS, (0, 1)[: len(queries)]
    )


def drawn(seed=0, spread=1.0):
    random = np.random.default_rng(seed)
    shape = (2, 3, TOKENS, CHANNELS)
    return held(spread * random.normal(size=shape), random.normal(size=shape))


def oracle(queries, keys):
    """One head, by loops over tokens."""
    weights = np.exp(queries.astype(float) @ keys.astype(float).T)
    weights /= weights.sum(axis=1, keepdims=True)
    distances, entropies, cosines = [], [], []
    for one in range(1, TOKENS):
        row, total, far = weights[one], 0.0, 0.0
        for other in range(1, TOKENS):
            y, x = divmod(one - 1, COLUMNS)
            v, u = divmod(other - 1, COLUMNS)
            far += row[other] * PATCH * ((y - v) ** 2 + (x - u) ** 2) ** 0.5
            total += row[other]
        distances.append(far / total)
        entropies.append(-sum(p * np.log(p) for p in row))
        for other in range(1, TOKENS):
            if other != one:
                a, b = weights[one, 1:], weights[other, 1:]
                cosines.append(a @ b / np.sqrt((a @ a) * (b @ b)))
    return np.mean(distances), np.mean(entropies), np.mean(cosines)


@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("rows_at_once", [5, 512])
def test_they_are_those_of_the_loops(spread, rows_at_once, monkeypatch):
    monkeypatch.setattr(measures, "_ROWS", rows_at_once)
    given = drawn(1, spread)
    found = measured(given, PATCH)
    for block, head in np.ndindex(2, 3):
        wanted = oracle(given.queries[block, head], given.keys[block, head])
        got = [each[block, head] for each in (found.distance, found.entropy, found.similarity)]
        np.testing.assert_allclose(got, wanted, rtol=1e-5)
    np.testing.assert_allclose(found.spread, found.entropy / np.log(TOKENS))


def test_even_attention_has_the_entropy_of_its_tokens_and_one_map():
    zero = np.zeros((1, 1, TOKENS, CHANNELS))
    found = measured(held(zero, drawn().keys[:1, :1]), PATCH)
    np.testing.assert_allclose(found.entropy, np.log(TOKENS), rtol=1e-6)
    np.testing.assert_allclose(found.spread, 1, rtol=1e-6)
    np.testing.assert_allclose(found.similarity, 1, rtol=1e-6)
    y, x = np.divmod(np.arange(ROWS * COLUMNS), COLUMNS)
    apart = np.hypot(y[:, None] - y[None], x[:, None] - x[None])
    np.testing.assert_allclose(found.distance, PATCH * apart.mean(), rtol=1e-6)


def test_a_patch_that_attends_to_itself_alone_is_at_no_distance_and_like_none():
    one = 60 * np.eye(TOKENS)[None, None]
    found = measured(held(one, one / 6), PATCH)
    for values in (found.distance, found.entropy, found.similarity):
        assert abs(values.item()) < 1e-6


def test_equal_queries_have_one_map_whatever_it_is():
    given = drawn(2, 3.0)
    same = np.repeat(given.queries[:, :, 3:4], TOKENS, axis=2)
    found = measured(held(same, given.keys), PATCH)
    np.testing.assert_allclose(found.similarity, 1, rtol=1e-5)
    assert (found.spread < 0.95).all()


def test_one_patch_is_like_no_other():
    lone = Projections(*np.ones((2, 1, 1, 2, 3), np.float32), 1, 1, (0,))
    found = measured(lone, PATCH)
    assert np.isnan(found.similarity).all()
    assert found.distance.item() == 0


def test_the_mean_is_over_pictures():
    each = [Measures(*(np.full((1, 2), float(k)) for _ in range(4))) for k in (1, 3)]
    assert all((values == 2).all() for values in mean_of(each))
