"""Generalised means and descriptors over scales: closed forms and an oracle of loops."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.ops import pooling


@pytest.fixture
def patches() -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).uniform(0.1, 2, (3, 7, 5)), jnp.float32)


def test_power_one_is_the_mean_and_a_high_one_nears_the_maximum(patches):
    np.testing.assert_allclose(pooling.gem(patches, power=1), patches.mean(axis=1), rtol=1e-6)
    high = pooling.gem(patches, power=80)
    np.testing.assert_allclose(high, patches.max(axis=1), rtol=0.03)


def test_the_order_of_patches_is_nothing_and_scale_comes_through(patches):
    found = pooling.gem(patches)
    np.testing.assert_allclose(pooling.gem(patches[:, ::-1]), found, rtol=1e-6)
    np.testing.assert_allclose(pooling.gem(3 * patches), 3 * found, rtol=1e-5)


def test_what_is_not_positive_counts_as_the_least():
    patches = jnp.array([[[-5.0], [0.0], [2.0]]])
    wanted = ((1e-6**4 + 1e-6**4 + 2.0**4) / 3) ** (1 / 4)
    np.testing.assert_allclose(pooling.gem(patches), [[wanted]], rtol=1e-6)
    np.testing.assert_allclose(pooling.gem(-jnp.ones((1, 4, 2))), 1e-6, rtol=1e-5)


def bilinear(image: np.ndarray, scale: float) -> np.ndarray:
    """One pixel after the other, between its four neighbours."""
    sides = [math.floor(side * scale) for side in image.shape[:2]]
    found = np.zeros((*sides, image.shape[2]))
    for place in np.ndindex(*sides):
        at = [max((k + 0.5) / scale - 0.5, 0) for k in place]
        low = [min(int(a), side - 1) for a, side in zip(at, image.shape, strict=False)]
        high = [min(k + 1, side - 1) for k, side in zip(low, image.shape, strict=False)]
        y, x = (a - k for a, k in zip(at, low, strict=True))
        found[place] = (1 - y) * ((1 - x) * image[low[0], low[1]] + x * image[low[0], high[1]])
        found[place] += y * ((1 - x) * image[high[0], low[1]] + x * image[high[0], high[1]])
    return found


@pytest.mark.parametrize("scale", [1 / math.sqrt(2), 0.5, 0.3])
@pytest.mark.parametrize("shape", [(12, 17), (9, 9), (4, 31)])
def test_shrinking_is_bilinear_without_antialiasing(shape, scale):
    images = np.random.default_rng(1).normal(size=(2, *shape, 3)).astype(np.float32)
    found = pooling.shrunk(jnp.asarray(images), scale)
    for ours, image in zip(found, images, strict=True):
        np.testing.assert_allclose(ours, bilinear(image, scale), atol=1e-5)


def test_the_scale_one_changes_nothing_and_a_half_averages_two_by_two():
    images = jnp.asarray(np.random.default_rng(2).normal(size=(1, 6, 8, 3)), jnp.float32)
    assert pooling.shrunk(images, 1.0) is images
    wanted = images.reshape(1, 3, 2, 4, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(pooling.shrunk(images, 0.5), wanted, atol=1e-6)


def test_a_descriptor_over_scales_is_the_mean_at_length_one():
    images = np.random.default_rng(3).normal(size=(4, 16, 16, 3)).astype(np.float32)

    def describe(images):
        return jnp.stack([images.mean(axis=(1, 2, 3)), images.std(axis=(1, 2, 3))], axis=1)

    found = pooling.multi_scale(describe, jnp.asarray(images))
    each = [describe(pooling.shrunk(jnp.asarray(images), scale)) for scale in pooling.SCALES]
    mean = np.mean(each, axis=0)
    wanted = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
