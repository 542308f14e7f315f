"""Stochastic depth: rates, expectation, independence."""

import jax
import jax.numpy as jnp
import numpy as np

from dino_jax.models.vit import Block, drop_path_factors, drop_path_rates


def keys(count: int) -> jax.Array:
    return jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(count))


def test_factors_keep_the_expectation_at_the_rate_of_each_block() -> None:
    depth, rate, count = 5, 0.4, 4000
    factors = np.asarray(drop_path_factors(keys(count), rate, depth))
    assert factors.shape == (depth, 2, count)
    assert np.all(factors[0] == 1)
    for block, own in enumerate(np.linspace(0, rate, depth)):
        values = np.unique(factors[block])
        np.testing.assert_allclose(values, [0, 1 / (1 - own)] if own else [1], rtol=1e-6)
        error = np.sqrt(own / (1 - own) / (2 * count))
        assert abs(factors[block].mean() - 1) <= 5 * error


def test_branches_blocks_and_samples_are_independent() -> None:
    kept = np.asarray(drop_path_factors(keys(4000), 0.5, 4))[1:].reshape(6, -1) > 0
    correlation = np.corrcoef(kept)
    assert np.abs(correlation - np.eye(6)).max() < 5 / np.sqrt(kept.shape[1])


def test_a_sample_draws_by_its_own_key() -> None:
    several = drop_path_factors(keys(8), 0.5, 3)
    order = np.array([6, 1])
    np.testing.assert_array_equal(drop_path_factors(keys(8)[order], 0.5, 3), several[:, :, order])


def test_rates_of_one_block() -> None:
    np.testing.assert_array_equal(drop_path_rates(0.3, 1), [0.0])


def test_each_branch_is_dropped_by_its_own_factor() -> None:
    """Branches are attention, then the MLP; a factor of 0 leaves the stream as it came."""
    block = Block(heads=2)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 4, 8)), jnp.float32)
    shapes = jax.eval_shape(block.init, jax.random.key(0), x)
    draw = np.random.default_rng(1).standard_normal
    variables = jax.tree.map(lambda leaf: jnp.asarray(draw(leaf.shape), jnp.float32), shapes)

    @jax.jit
    def run(factors: jax.Array) -> jax.Array:
        return block.apply(variables, x, factors)[0]

    whole = run(jnp.ones((2, 3)))
    np.testing.assert_allclose(whole, block.apply(variables, x)[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(run(jnp.zeros((2, 3))), x)
    # Samples 0, 1, 2: attention alone, the MLP alone, both.
    mixed = run(jnp.asarray([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]))
    np.testing.assert_allclose(mixed[2], whole[2], rtol=1e-5, atol=1e-5)
    only_mlp = jax.tree.map(lambda leaf: leaf, variables)
    only_mlp["params"]["attn"]["proj"] = jax.tree.map(
        jnp.zeros_like, variables["params"]["attn"]["proj"]
    )
    np.testing.assert_allclose(mixed[1], block.apply(only_mlp, x)[0][1], rtol=1e-5, atol=1e-5)
    assert not np.allclose(mixed[0], mixed[1])
