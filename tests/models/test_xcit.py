"""XCiT's parts: drop path, the class blocks, positions, depthwise sums, low precision."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import ModelConfig, UserError
from dino_jax.models.backbone import Backbone, build_backbone
from dino_jax.models.naming import unflatten
from dino_jax.models.xcit import CLASS_BLOCKS, drop_path_factors
from dino_jax.models.xcit_blocks import Block, depthwise
from dino_jax.models.xcit_tokens import fourier_table
from tests import golden

WIDTH, HEADS = 16, 2


def backbone(dtype: Any = jnp.float32, drop_path: float = 0.0, **options: Any) -> Backbone:
    config = ModelConfig(
        arch="xcit_small_12", width=WIDTH, heads=HEADS, depth=2, patch_size=8, **options
    )
    return build_backbone(config, image_size=32, dtype=dtype, drop_path=drop_path)


def variables_of(module: Any, *arguments: Any, scale: float = 1.0) -> dict:
    """Random weights, no two alike; statistics as they begin."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *arguments, train=True))
    leaves, tree = jax.tree.flatten(shapes["params"])
    rng = np.random.default_rng(0)
    drawn = [jnp.asarray(scale * rng.standard_normal(x.shape), jnp.float32) for x in leaves]
    stats = jax.tree.map_with_path(
        lambda path, x: jnp.full(x.shape, path[-1].key == "running_var", x.dtype),
        shapes["batch_stats"],
    )
    return {"params": jax.tree.unflatten(tree, drawn), "batch_stats": stats}


def random(shape: tuple[int, ...], seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def keys(count: int) -> jax.Array:
    return jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(count))


@pytest.fixture(scope="module")
def filled() -> tuple[Backbone, dict, dict]:
    made = backbone()
    params, stats = made.init(jax.random.key(1))
    rng = np.random.default_rng(2)
    params = {
        name: leaf + jnp.asarray(0.2 * rng.standard_normal(leaf.shape), jnp.float32)
        for name, leaf in params.items()
    }
    return made, params, stats


def test_every_branch_of_every_block_is_dropped_at_the_one_rate() -> None:
    depth, rate, count = 4, 0.3, 4000
    factors = np.asarray(drop_path_factors(keys(count), rate, depth))
    assert factors.shape == (depth, 3, count)
    np.testing.assert_allclose(np.unique(factors), [0, 1 / (1 - rate)], rtol=1e-6)
    dropped = (factors == 0).mean(axis=2)
    assert np.abs(dropped - rate).max() <= 5 * np.sqrt(rate * (1 - rate) / count)


def test_blocks_branches_and_samples_are_independent() -> None:
    kept = np.asarray(drop_path_factors(keys(4000), 0.5, 3)).reshape(9, -1) > 0
    assert np.abs(np.corrcoef(kept) - np.eye(9)).max() < 5 / np.sqrt(kept.shape[1])


def test_a_sample_draws_by_its_own_key() -> None:
    several, order = drop_path_factors(keys(8), 0.5, 3), np.array([6, 1])
    np.testing.assert_array_equal(drop_path_factors(keys(8)[order], 0.5, 3), several[:, :, order])


def test_factors_multiply_attention_local_interaction_and_mlp_in_this_order() -> None:
    """A branch dropped is one whose gamma is 0; a factor of 0 everywhere leaves the stream."""
    block, x, grid = Block(HEADS), random((3, 6, WIDTH)), (2, 3)
    variables = variables_of(block, x, grid, scale=0.5)

    def run(factors: jax.Array | None, gammas: dict[str, float]) -> jax.Array:
        params = dict(variables["params"])
        for name, value in gammas.items():
            params[name] = params[name] * value
        return block.apply(variables | {"params": params}, x, grid, factors, train=False)

    np.testing.assert_array_equal(run(jnp.zeros((3, 3)), {}), x)
    np.testing.assert_array_equal(run(jnp.ones((3, 3)), {}), run(None, {}))
    for branch, name in enumerate(("gamma1", "gamma3", "gamma2")):
        factors = jnp.ones((3, 3)).at[branch].set(jnp.asarray([0.0, 1.0, 2.0]))
        found = run(factors, {})
        for sample, factor in enumerate((0.0, 1.0, 2.0)):
            wanted = run(None, {name: factor})[sample]
            np.testing.assert_allclose(found[sample], wanted, rtol=1e-5, atol=1e-5)
            assert factor == 1 or not np.allclose(found[sample], run(None, {})[sample])


@pytest.mark.parametrize("train", [False, True])
def test_a_scan_equals_one_block_after_another(train: bool) -> None:
    """Features and, in training, every statistic; with drop path."""
    made, scanned = backbone(drop_path=0.5), backbone(drop_path=0.5, blocks="scanned")
    assert scanned.module.scanned
    assert not made.module.scanned
    params, stats = made.init(jax.random.key(0))
    images = random((4, 20, 31, 3))
    factors = made.factors(keys(4))
    (one, after), (other, also) = (
        jax.jit(lambda x, each=each: each(params, stats, x, train=train, factors=factors))(images)
        for each in (made, scanned)
    )
    np.testing.assert_allclose(one.cls, other.cls, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(one.patches, other.patches, rtol=1e-5, atol=1e-5)
    assert set(after) == set(also) == set(stats)
    for name, value in after.items():
        np.testing.assert_allclose(value, also[name], rtol=1e-5, atol=1e-6, err_msg=name)
        if name.endswith("tracked"):
            assert int(value) == train


@pytest.mark.parametrize("height", [1, 8, 17])
def test_every_begun_patch_is_a_token(filled: tuple, height: int) -> None:
    made, params, stats = filled
    images = random((2, height, 25, 3))
    found, _ = made(params, stats, images, train=False, blocks=CLASS_BLOCKS)
    patches = -(-height // 8) * 4
    assert found.patches.shape == (2, patches, WIDTH)
    assert [block.shape for block in found.blocks] == [(2, patches + 1, WIDTH)] * CLASS_BLOCKS
    np.testing.assert_array_equal(found.blocks[-1][:, 0], found.cls)
    np.testing.assert_array_equal(found.blocks[-1][:, 1:], found.patches)
    alone, _ = made(params, stats, images, train=False, cls_only=True)
    np.testing.assert_allclose(alone.cls, found.cls, rtol=1e-5, atol=1e-5)
    assert alone.patches.shape == (2, 0, WIDTH)


@pytest.mark.parametrize("block", range(CLASS_BLOCKS))
def test_the_map_of_a_class_block(filled: tuple, block: int) -> None:
    """The softmax of query · key / √size, worked out from what enters that block's attention."""
    made, params, stats = filled
    images = random((2, 24, 16, 3))
    found, kept = made.module.apply(
        {"params": unflatten(params), "batch_stats": unflatten(stats)},
        images,
        train=False,
        map_of=block,
        capture_intermediates=True,
        mutable=["intermediates"],
    )
    name = f"cls_attn_blocks.{block}"
    x = kept["intermediates"]["cls_attn_blocks"][str(block)]["norm1"]["__call__"][0]
    weight, bias = (params[f"{name}.attn.qkv.{leaf}"] for leaf in ("weight", "bias"))
    qkv = np.asarray(x, np.float64) @ np.asarray(weight, np.float64).T + np.asarray(bias)
    query, key, _ = (part.reshape(2, 7, HEADS, -1) for part in np.split(qkv, 3, axis=-1))
    logits = np.einsum("bhc,bnhc->bhn", query[:, 0], key) * (WIDTH // HEADS) ** -0.5
    wanted = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    assert found.attention.shape == (2, HEADS, 1, 7)
    np.testing.assert_allclose(found.attention[:, :, 0], wanted, rtol=1e-4, atol=1e-6)


def test_what_has_no_class_token_is_refused(filled: tuple) -> None:
    made, params, stats = filled
    for options in ({"blocks": 3}, {"map_of": 2}, {"blocks": -1}):
        with pytest.raises(UserError, match="2 blocks with a class token"):
            made(params, stats, random((1, 8, 8, 3)), train=False, **options)


def test_positions_count_from_one_to_a_whole_turn_y_first() -> None:
    """In float64, pair by pair."""
    rows, columns = 3, 5
    table = fourier_table(rows, columns).reshape(rows, columns, 2, 16, 2)
    assert table.dtype == np.float32
    for r in range(rows):
        for c in range(columns):
            for axis, (at, of) in enumerate(((r, rows), (c, columns))):
                angle = 2 * np.pi * (at + 1) / (of + 1e-6) / 10000 ** (np.arange(16) / 16)
                wanted = np.stack([np.sin(angle), np.cos(angle)], axis=-1)
                np.testing.assert_allclose(table[r, c, axis], wanted, atol=1e-6)


def test_depthwise_equals_a_grouped_convolution() -> None:
    x, weight, bias = random((2, 5, 4, 6)), random((6, 1, 3, 3), 1), random((6,), 2)
    wanted = jax.lax.conv_general_dilated(
        x,
        weight,
        (1, 1),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "OIHW", "NHWC"),
        feature_group_count=6,
        precision=jax.lax.Precision.HIGHEST,
    )
    np.testing.assert_allclose(
        depthwise(x, weight, bias), wanted + bias[None, None, None], atol=1e-5
    )


def test_low_precision_stays_near_and_leaves_float32(filled: tuple) -> None:
    made, params, stats = filled
    images, low = random((4, 32, 32, 3)), backbone(jnp.bfloat16)

    def run(each: Backbone) -> tuple:
        def loss(params: dict) -> tuple:
            found, after = each(params, stats, images, train=True)
            return jnp.square(found.cls).mean() + found.cls[:, 0].sum(), (found, after)

        return jax.jit(jax.grad(loss, has_aux=True))(params)

    (wanted, (exact, _)), (gradient, (rough, after)) = run(made), run(low)
    assert rough.cls.dtype == rough.patches.dtype == jnp.float32
    assert 0 < golden.relative_error(rough.cls, exact.cls) < 3e-2
    assert {str(leaf.dtype) for leaf in after.values()} == {"float32", "int32"}
    for name, value in gradient.items():
        assert value.dtype == jnp.float32, name
        assert golden.relative_error(value, wanted[name]) < 0.2, name


def test_low_precision_does_not_swallow_small_branches() -> None:
    """With branches of less than a bfloat16 step of the stream, as 24 blocks begin with."""
    x, grid = random((2, 9, WIDTH)), (3, 3)
    variables = variables_of(Block(HEADS), x, grid, scale=0.3)
    params = dict(variables["params"])
    params |= {name: jnp.full((WIDTH,), 1e-3) for name in ("gamma1", "gamma2", "gamma3")}
    exact, rough = (
        Block(HEADS, dtype).apply(variables | {"params": params}, x, grid, train=False) - x
        for dtype in (jnp.float32, jnp.bfloat16)
    )
    assert golden.relative_error(rough, exact) < 3e-2
