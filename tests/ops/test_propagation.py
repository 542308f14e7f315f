"""Label propagation against loops that follow the reference's description, all pairs at once."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies

from dino_jax.ops import propagation


def segments_by_loops(frames, segments, target, *, neighbourhood, top_k, temperature):
    """Float64: exp, then the mask, then the best over all frames, then each target's sum to 1."""

    def unit(x):
        return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)

    rows, columns = target.shape[:2]
    frames, target = [unit(frame) for frame in frames], unit(target)
    found = np.zeros((rows, columns, segments[0].shape[-1]))
    for y in range(rows):
        for x in range(columns):
            weights, labels = [], []
            for frame, held in zip(frames, segments, strict=True):
                for i in range(rows):
                    for j in range(columns):
                        near = max(abs(i - y), abs(j - x)) <= neighbourhood or not neighbourhood
                        cosine = target[y, x] @ frame[i, j]
                        weights.append(near * np.exp(cosine / temperature))
                        labels.append(held[i, j])
            weights = np.array(weights)
            least = np.sort(weights)[::-1][: min(top_k, len(weights))][-1]
            weights[weights < least] = 0
            found[y, x] = (weights / weights.sum()) @ np.array(labels)
    return found


@hypothesis.settings(max_examples=8, deadline=None)
@hypothesis.given(
    seed=strategies.integers(0, 2**32 - 1),
    shape=strategies.sampled_from([(3, 4), (9, 5), (2, 11), (8, 8)]),
    neighbourhood=strategies.sampled_from([0, 1, 2, 12]),
    top_k=strategies.sampled_from([1, 5, 40]),
    length=strategies.sampled_from([0, 1, 2]),
)
def test_segments_are_those_of_the_loops(seed, shape, neighbourhood, top_k, length):
    rng = np.random.default_rng(seed)
    settings = {"neighbourhood": neighbourhood, "top_k": top_k, "temperature": 0.1}
    features = rng.normal(size=(4, *shape, 6))
    first = np.eye(3)[rng.integers(0, 3, shape)]
    context = propagation.begin(
        jnp.asarray(features[0], jnp.float32), jnp.asarray(first, jnp.float32), length=length
    )
    frames, segments = [features[0]], [first]
    for target in features[1:]:
        context, found = propagation.advance(context, jnp.asarray(target, jnp.float32), **settings)
        expected = segments_by_loops(frames, segments, target, **settings)
        np.testing.assert_allclose(found, expected, atol=2e-5)
        last = len(frames) - min(length, len(frames))  # of those held now, how many go
        frames = [features[0], *[*frames, target][1 + last :]]
        segments = [first, *[*segments, expected][1 + last :]]


@pytest.mark.parametrize("shape", [(19, 26), (8, 17), (5, 40)])
@pytest.mark.parametrize("neighbourhood", [0, 3])
def test_tiles_do_not_show(monkeypatch, shape, neighbourhood):
    rng = np.random.default_rng(0)
    features = jnp.asarray(rng.normal(size=(2, *shape, 8)), jnp.float32)
    first = jax.nn.one_hot(rng.integers(0, 4, shape), 4)
    found = []
    for side in (8, 64):
        monkeypatch.setattr(propagation, "TILE", side)
        jax.clear_caches()
        context = propagation.begin(features[0], first, length=2)
        for _ in range(3):
            context, segments = propagation.advance(
                context, features[1], neighbourhood=neighbourhood
            )
        found.append(np.asarray(segments))
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    np.testing.assert_allclose(found[0].sum(axis=-1), 1, atol=1e-6)


def test_all_that_equal_the_last_kept_are_kept():
    # Four sources exactly alike: with two to keep, the other two count the same.
    features = jnp.ones((1, 4, 3))
    first = jnp.eye(4)[None]
    context = propagation.begin(features, first, length=7)
    _, segments = propagation.advance(context, features, top_k=2)
    np.testing.assert_allclose(segments, np.full((1, 4, 4), 0.25), atol=1e-6)


def test_a_low_temperature_does_not_overflow():
    features = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4, 5)), jnp.float32)
    first = jax.nn.one_hot(np.arange(16).reshape(4, 4), 16)
    context = propagation.begin(features, first, length=7)
    _, segments = propagation.advance(context, features, temperature=0.001)
    np.testing.assert_allclose(segments, first, atol=1e-5)  # each finds itself


def decisions_by_loops(segments, patch):
    rows, columns, labels = segments.shape
    fine = np.zeros((rows * patch, columns * patch, labels))
    for y in range(rows * patch):
        for x in range(columns * patch):
            row, column = ((place + 0.5) / patch - 0.5 for place in (y, x))
            for i in (int(np.floor(row)), int(np.floor(row)) + 1):
                for j in (int(np.floor(column)), int(np.floor(column)) + 1):
                    weight = (1 - abs(row - i)) * (1 - abs(column - j))
                    inside = min(max(i, 0), rows - 1), min(max(j, 0), columns - 1)
                    fine[y, x] += weight * segments[inside]
    for label in range(labels):
        channel = fine[:, :, label]
        if channel.max() > 0:
            channel -= channel.min()
            channel /= channel.max()
    return fine.argmax(axis=-1)


@pytest.mark.parametrize("patch", [1, 4, 8])
def test_decisions_are_those_of_the_loops(patch):
    segments = np.random.default_rng(patch).dirichlet(np.ones(4), (5, 7))
    segments[..., 3] = 0  # an object that is lost
    found = propagation.decide(jnp.asarray(segments, jnp.float32), patch=patch)
    np.testing.assert_array_equal(found, decisions_by_loops(segments, patch))


def test_a_label_that_all_patches_have_alike_fills_the_frame():
    segments = jnp.zeros((3, 3, 3)).at[..., 1].set(1.0)
    np.testing.assert_array_equal(propagation.decide(segments, patch=2), np.ones((6, 6)))
