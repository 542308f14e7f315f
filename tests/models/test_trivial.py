"""What stands in for a network: raw pixels and colours."""

import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.evals.descriptors import colour_histogram
from dino_jax.models.trivial import PATCH, TRIVIAL, colour, pixels


def images(count: int = 3, height: int = 24, width: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3)).astype(np.uint8)


def test_small_images_are_their_own_pixels_less_the_mean() -> None:
    values = jnp.asarray(images(height=16, width=32)) / 255.0
    flat = np.asarray(values).reshape(3, -1)
    found = pixels({}, values).cls
    np.testing.assert_allclose(found, flat - flat.mean(axis=1, keepdims=True), atol=1e-6)


def test_large_images_are_reduced_to_32_pixels() -> None:
    assert pixels({}, jnp.zeros((2, 64, 96, 3))).cls.shape == (2, 21 * 32 * 3)


def test_pixel_patches_are_means_of_squares() -> None:
    values = np.asarray(images()) / np.float32(255)
    found = np.asarray(pixels({}, jnp.asarray(values)).patches)
    assert found.shape == (3, 3 * 5, 4 * 4 * 3)
    row, column, inner = 2, 3, (1, 2)
    top, left = row * PATCH + 2 * inner[0], column * PATCH + 2 * inner[1]
    expected = values[1, top : top + 2, left : left + 2].mean(axis=(0, 1))
    np.testing.assert_allclose(
        found[1, row * 5 + column].reshape(4, 4, 3)[inner], expected, atol=1e-6
    )


def test_colour_of_an_image_is_the_histogram_descriptor() -> None:
    raw = images(height=16, width=24)
    found = np.asarray(colour({}, jnp.asarray(raw) / 255.0).cls)
    expected = colour_histogram(raw) / np.sqrt(16 * 24)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_colour_patches_are_histograms_of_their_own() -> None:
    raw = images(height=16, width=24)
    found = np.asarray(colour({}, jnp.asarray(raw) / 255.0).patches)
    expected = colour_histogram(raw[:, 8:16, 16:24]) / PATCH
    np.testing.assert_allclose(found[:, 5], expected, atol=1e-6)


@pytest.mark.parametrize("name", TRIVIAL)
def test_what_only_a_network_has_is_refused(name: str) -> None:
    _, function = TRIVIAL[name]
    for options in ({"attention": True}, {"blocks": 1}):
        with pytest.raises(UserError, match="name a network"):
            function({}, jnp.zeros((1, 16, 16, 3)), **options)


@pytest.mark.parametrize("name", TRIVIAL)
def test_an_image_smaller_than_a_patch_is_refused(name: str) -> None:
    _, function = TRIVIAL[name]
    with pytest.raises(UserError, match="smaller than a patch"):
        function({}, jnp.zeros((1, 4, 16, 3)))
