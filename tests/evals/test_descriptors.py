"""Descriptions without weights: what they ignore, and what they must not."""

import numpy as np
import pytest

from dino_jax.evals import descriptors


def noise(count=3, size=32, channels=3, low=60, high=180):
    shape = (count, size, size, channels)
    return np.random.default_rng(0).integers(low, high, shape, dtype=np.uint8)


def cosine(first, second):
    return (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


@pytest.mark.parametrize("size", [16, 32, 100])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_description_is_finite_and_tells_images_apart(size, channels):
    images = noise(size=size, channels=channels)
    for descriptor in descriptors.DESCRIPTORS:
        for describe in descriptor.variants:
            found = describe(images)
            assert found.dtype == np.float32
            assert found.shape[0] == 3
            assert np.isfinite(found).all()
            assert (found[0] != found[1]).any()


def test_a_black_image_is_described_without_a_warning():
    for descriptor in descriptors.DESCRIPTORS:
        for describe in descriptor.variants:
            assert np.isfinite(describe(np.zeros((1, 32, 32, 3), np.uint8))).all()


def test_raw_pixels_are_the_image():
    images = noise(size=8)
    np.testing.assert_allclose(descriptors.pixels(images), images.reshape(3, -1) / 255, rtol=1e-6)


@pytest.mark.parametrize("describe", [descriptors.centred_pixels, descriptors.stretched_histogram])
def test_brightness_and_contrast_cancel(describe):
    grey = np.repeat(noise(channels=1), 3, axis=3)
    changed = (grey // 2 + 20).astype(np.uint8)
    assert cosine(describe(grey), describe(changed)).min() > 0.98


@pytest.mark.parametrize(
    "describe", [descriptors.stretched_histogram, descriptors.colour_histogram]
)
def test_histograms_ignore_where_and_count_every_pixel(describe):
    images = noise()
    np.testing.assert_allclose(describe(images), describe(images[:, ::-1, ::-1]), atol=1e-6)
    np.testing.assert_allclose((describe(images) ** 2).sum(1), 32 * 32, rtol=1e-5)


def test_oriented_gradients_see_orientation():
    ramp = np.repeat(np.linspace(0, 255, 32)[None, :, None], 32, axis=0)
    across = np.repeat(ramp, 3, axis=2).astype(np.uint8)[None]
    down = across.swapaxes(1, 2)
    assert cosine(descriptors.gradients(across), descriptors.gradients(down)).max() < 0.2
