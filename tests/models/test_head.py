"""The projection head on its own: properties, batch statistics, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.models.head import DINOHead, l2_normalise
from dino_jax.models.layers import BatchNorm

SMALL = {"inputs": 6, "prototypes": 9, "hidden": 8, "bottleneck": 4}


def features(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).standard_normal((*shape, 6)), jnp.float32)


def test_any_number_of_leading_axes() -> None:
    head = DINOHead(**SMALL)
    params, stats = head.init(jax.random.key(0))
    x = features(3, 5)
    logits, _ = head.apply(params, stats, x)
    flat, _ = head.apply(params, stats, x.reshape(15, 6))
    np.testing.assert_allclose(logits.reshape(15, 9), flat, atol=1e-6)


def test_logits_are_cosines_when_the_scale_is_one() -> None:
    head = DINOHead(**SMALL)
    params, stats = head.init(jax.random.key(0))
    # A bottleneck of the rows themselves: every prototype meets itself at cosine one.
    alone = DINOHead(inputs=4, prototypes=9, bottleneck=4, layers=1)
    rows = params["last_layer.weight_v"]
    identity = {
        "mlp.weight": jnp.eye(4),
        "mlp.bias": jnp.zeros(4),
        "last_layer.weight_v": rows,
        "last_layer.weight_g": jnp.ones((9, 1)),
    }
    logits, _ = alone.apply(identity, {}, 3 * rows)
    np.testing.assert_allclose(jnp.diag(logits), 1, atol=1e-6)
    assert np.abs(logits).max() <= 1 + 1e-6
    # The length of weight_v does not matter, that of weight_g scales the row.
    longer = params | {"last_layer.weight_v": 7 * rows}
    plain, _ = head.apply(params, stats, features(5))
    np.testing.assert_allclose(head.apply(longer, stats, features(5))[0], plain, atol=1e-6)
    scaled = params | {"last_layer.weight_g": 2 * params["last_layer.weight_g"]}
    np.testing.assert_allclose(head.apply(scaled, stats, features(5))[0], 2 * plain, atol=1e-6)


def test_normalising_zero_is_zero_with_a_finite_gradient() -> None:
    x = jnp.zeros((2, 4)).at[1].set(jnp.asarray([3.0, 0.0, 4.0, 0.0]))
    np.testing.assert_allclose(l2_normalise(x)[1], [0.6, 0, 0.8, 0], rtol=1e-6)
    np.testing.assert_array_equal(l2_normalise(x)[0], 0)
    gradient = jax.grad(lambda x: l2_normalise(x).sum())(x)
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("frozen", [True, False])
def test_the_scale_learns_only_without_norm_last_layer(frozen: bool) -> None:
    head = DINOHead(**SMALL, norm_last_layer=frozen)
    params, stats = head.init(jax.random.key(0))
    gradient = jax.grad(lambda p: jnp.square(head.apply(p, stats, features(5))[0]).sum())(params)
    assert np.any(gradient["last_layer.weight_g"]) != frozen
    assert np.any(gradient["last_layer.weight_v"])


def test_batch_norm_is_over_all_axes_but_the_last() -> None:
    x = 3 + 2 * features(4, 5)
    module = BatchNorm()
    start = module.init(jax.random.key(0), x, train=True)
    fresh = {"running_mean": jnp.zeros(6), "running_var": jnp.ones(6)}
    stats = fresh | {"num_batches_tracked": jnp.zeros((), jnp.int32)}
    ones = {"weight": jnp.ones(6), "bias": jnp.zeros(6)}
    assert jax.tree.structure(start["params"]) == jax.tree.structure(ones)
    y, new = module.apply(
        {"params": ones, "batch_stats": stats}, x, train=True, mutable=["batch_stats"]
    )
    rows = np.asarray(x, np.float64).reshape(-1, 6)
    expected = (rows - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-5)
    np.testing.assert_allclose(y.reshape(-1, 6), expected, atol=1e-5)
    new = new["batch_stats"]
    np.testing.assert_allclose(new["running_mean"], 0.1 * rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(new["running_var"], 0.9 + 0.1 * rows.var(0, ddof=1), rtol=1e-5)
    assert new["num_batches_tracked"] == 1


def test_batch_norm_sees_the_whole_sharded_batch() -> None:
    """Eight devices, one row of statistics: the logits are those of one device."""
    head = DINOHead(**SMALL, batch_norm=True)
    params, stats = head.init(jax.random.key(0))
    x = features(16, 3)
    alone, kept = jax.jit(head.apply)(params, stats, x)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    sharded, new = jax.jit(head.apply)(params, stats, jax.device_put(x, rows))
    np.testing.assert_allclose(sharded, alone, atol=2e-6)
    for name, value in kept.items():
        np.testing.assert_allclose(new[name], value, atol=1e-6, err_msg=name)


def test_evaluation_uses_the_running_statistics_and_leaves_them() -> None:
    head = DINOHead(**SMALL, batch_norm=True)
    params, stats = head.init(jax.random.key(0))
    one, kept = head.apply(params, stats, features(1), train=False)
    assert one.shape == (1, 9)
    assert all(np.array_equal(kept[name], stats[name]) for name in stats)


def test_errors_are_one_line() -> None:
    head = DINOHead(**SMALL, batch_norm=True)
    params, stats = head.init(jax.random.key(0))
    with pytest.raises(UserError, match="more than one row"):
        head.apply(params, stats, features(1))
    with pytest.raises(UserError, match=r"head\.layers is 0"):
        DINOHead(inputs=6, layers=0)
