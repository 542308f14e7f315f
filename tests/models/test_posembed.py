"""Position interpolation against a plain loop, and its properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.models.posembed import interpolate, interpolation_matrix


def kernel(x: float) -> float:
    """Keys' cubic convolution in its power form, a = −3/4."""
    x = abs(x)
    if x <= 1:
        return 1.25 * x**3 - 2.25 * x**2 + 1
    return -0.75 * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def by_loops(grid: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Sixteen taps a point, clamped at the border, coordinates scaled by (n + 0.1) / grid."""
    height, width, depth = grid.shape
    out = np.zeros((rows, columns, depth))
    for r in range(rows):
        y = (r + 0.5) * height / (rows + 0.1) - 0.5
        for c in range(columns):
            x = (c + 0.5) * width / (columns + 0.1) - 0.5
            for i in range(int(np.floor(y)) - 1, int(np.floor(y)) + 3):
                for j in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
                    value = grid[np.clip(i, 0, height - 1), np.clip(j, 0, width - 1)]
                    out[r, c] += kernel(y - i) * kernel(x - j) * value
    return out


@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (5, 9), (1, 6), (8, 2), (6, 6)])
def test_it_is_the_sum_over_sixteen_taps(rows: int, columns: int) -> None:
    embed = np.random.default_rng(0).standard_normal((1, 37, 3)).astype(np.float32)
    height, width = 4 * rows + 1, 4 * columns  # not square: never taken as native
    ours = interpolate(jnp.asarray(embed), height, width, 4)
    expected = by_loops(embed[0, 1:].reshape(6, 6, 3), rows, columns).reshape(-1, 3)
    np.testing.assert_allclose(ours[0, 1:], expected, atol=2e-6)
    np.testing.assert_array_equal(ours[:, :1], embed[:, :1])


def test_native_size_is_untouched_only_if_square() -> None:
    embed = jnp.asarray(np.random.default_rng(0).standard_normal((1, 37, 2)), jnp.float32)
    for side in (24, 27):  # what remains beyond the last patch does not matter
        assert interpolate(embed, side, side, 4) is embed
    for height, width in ((24, 25), (16, 36), (36, 16)):  # as many patches, another shape
        assert not np.array_equal(interpolate(embed, height, width, 4), embed)


@pytest.mark.parametrize(("source", "target"), [(14, 6), (14, 30), (14, 61), (28, 115), (3, 1)])
def test_matrices_keep_constants(source: int, target: int) -> None:
    matrix = interpolation_matrix(source, target)
    assert matrix.shape == (target, source)
    assert matrix.dtype == np.float64
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)


def test_rows_and_columns_are_not_confused() -> None:
    embed = np.random.default_rng(0).standard_normal((1, 37, 2)).astype(np.float32)
    turned = embed.copy()
    turned[0, 1:] = embed[0, 1:].reshape(6, 6, 2).swapaxes(0, 1).reshape(36, 2)
    wide = interpolate(jnp.asarray(embed), 12, 32, 4)[0, 1:].reshape(3, 8, 2)
    tall = interpolate(jnp.asarray(turned), 32, 12, 4)[0, 1:].reshape(8, 3, 2)
    np.testing.assert_allclose(wide, tall.swapaxes(0, 1), atol=1e-6)


def test_gradient_is_the_transpose() -> None:
    embed = jnp.ones((1, 37, 2))
    out, pull = jax.vjp(lambda e: interpolate(e, 12, 12, 4), embed)
    (gradient,) = pull(jnp.ones_like(out))
    ones = np.ones(3)
    weight = np.outer(
        interpolation_matrix(6, 3).T @ ones, interpolation_matrix(6, 3).T @ ones
    ).ravel()
    np.testing.assert_allclose(gradient[0, 1:, 0], weight, atol=1e-6)
    np.testing.assert_array_equal(gradient[0, 0], 1)


def test_a_baked_table_serves_its_own_grid_alone() -> None:
    embed = jnp.asarray(np.random.default_rng(0).standard_normal((1, 13, 2)), jnp.float32)
    for height, width in ((12, 16), (14, 19)):  # what remains beyond the last patch does not matter
        assert interpolate(embed, height, width, 4, baked=(12, 16)) is embed
    for height, width in ((16, 12), (8, 24), (12, 12), (16, 16)):
        with pytest.raises(UserError, match=f"image of {height}x{width} .* those of 12x16 alone"):
            interpolate(embed, height, width, 4, baked=(12, 16))
