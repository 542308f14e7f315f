"""Properties of the model interface: names, executions, precision, randomness, errors."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import HeadConfig, ModelConfig, UserError
from dino_jax.models.build import Model, build
from dino_jax.types import Params
from tests import golden

HEAD = HeadConfig(prototypes=12, hidden=10, bottleneck=6)


def model(*, drop_path: float = 0.0, dtype: type = jnp.float32, **changes: object) -> Model:
    config = ModelConfig(width=16, depth=2, heads=2, patch_size=4)
    for name, value in changes.items():
        setattr(config, name, value)
    return build(config, HEAD, image_size=12, dtype=dtype, drop_path=drop_path)


@pytest.fixture(scope="module")
def params() -> Params:
    return model().init(jax.random.key(0))[0]


@pytest.fixture(scope="module")
def crops() -> list[jax.Array]:
    draw = np.random.default_rng(0).standard_normal
    return [
        jnp.asarray(draw((4, 2, 12, 12, 3)), jnp.float32),
        jnp.asarray(draw((4, 3, 8, 8, 3)), jnp.float32),
    ]


@pytest.fixture(scope="module")
def keys(crops: list[jax.Array]) -> list[jax.Array]:
    both = jax.random.split(jax.random.key(7), (4, 5))
    return [both[:, :2], both[:, 2:]]


def close(ours: jax.Array, other: jax.Array, tolerance: float = 1e-6) -> bool:
    return golden.relative_error(ours, other) <= tolerance


def test_names_and_layout_are_the_same_for_every_execution() -> None:
    shapes = [
        {k: (v.shape, v.dtype) for k, v in jax.eval_shape(m.init, jax.random.key(0))[0].items()}
        for m in (model(), model(blocks="scanned"), model(dtype=jnp.bfloat16, drop_path=0.5))
    ]
    assert shapes[0] == shapes[1] == shapes[2]
    assert shapes[0]["backbone.blocks.1.attn.qkv.weight"] == ((48, 16), jnp.float32)
    assert shapes[0]["backbone.patch_embed.proj.weight"] == ((16, 3, 4, 4), jnp.float32)
    assert shapes[0]["backbone.pos_embed"] == ((1, 10, 16), jnp.float32)
    assert shapes[0]["head.last_layer.weight_g"] == ((12, 1), jnp.float32)


@pytest.mark.parametrize(
    ("arch", "patch", "count"),
    [
        ("vit_tiny", 16, 5_524_416),
        ("vit_small", 16, 21_665_664),
        ("vit_small", 8, 21_670_272),
        ("vit_base", 16, 85_798_656),
        ("vit_base", 8, 85_807_872),
    ],
)
def test_parameter_counts_of_the_paper(arch: str, patch: int, count: int) -> None:
    built = build(ModelConfig(arch=arch, patch_size=patch), HEAD, image_size=224)
    shapes, _ = jax.eval_shape(built.init, jax.random.key(0))
    assert sum(v.size for k, v in shapes.items() if k.startswith("backbone.")) == count


def test_initial_values_depend_on_key_and_name_alone(params: Params) -> None:
    again = model(depth=1).init(jax.random.key(0))[0]
    for name, leaf in again.items():
        np.testing.assert_array_equal(leaf, params[name], err_msg=name)
    other = model().init(jax.random.key(1))[0]
    assert not np.array_equal(other["backbone.pos_embed"], params["backbone.pos_embed"])


def test_crops_of_two_sizes_are_encoded_apart_and_joined_in_order(params, crops) -> None:
    built = model()
    logits, stats = jax.jit(built.apply)(params, {}, crops)
    assert logits.shape == (4, 5, 12)
    assert logits.dtype == jnp.float32
    assert stats == {}
    alone = [jax.jit(built.apply)(params, {}, [group])[0] for group in crops]
    assert close(logits, jnp.concatenate(alone, axis=1))


def test_rows_do_not_know_each_other(params, crops, keys) -> None:
    """With drop path: an example's logits are the same in any batch and at any place."""
    apply, crops, keys = model(drop_path=0.5).apply, crops[1], keys[1]
    whole, _ = jax.jit(apply)(params, {}, [crops], keys=[keys])

    def one(crops: jax.Array, keys: jax.Array) -> jax.Array:
        return apply(params, {}, [crops[None]], keys=[keys[None]])[0][0]

    order = np.array([2, 0])
    assert close(jax.jit(jax.vmap(one))(crops[order], keys[order]), whole[order])


def test_scanned_blocks_are_the_unrolled_ones(params, crops, keys) -> None:
    """Values and gradients, with drop path."""

    def run(blocks: str) -> tuple[jax.Array, Params]:
        built = model(blocks=blocks, drop_path=0.5)

        def loss(params: Params) -> tuple[jax.Array, jax.Array]:
            logits, _ = built.apply(params, {}, crops[1:], keys=keys[1:])
            return jnp.square(logits - 0.1).sum(), logits

        (_, logits), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
        return logits, gradients

    logits, gradients = run("unrolled")
    other_logits, other_gradients = run("scanned")
    assert close(other_logits, logits)
    for name, gradient in gradients.items():
        if name.endswith("qkv.bias"):  # the gradient of its middle third is zero, hence noise
            gradient, other_gradients[name] = (
                jnp.delete(g, jnp.arange(16, 32)) for g in (gradient, other_gradients[name])
            )
        assert close(other_gradients[name], gradient, 2e-6), name


@pytest.mark.parametrize("blocks", ["unrolled", "scanned"])
def test_features_by_name(params, crops, blocks: str) -> None:
    built, images = model(blocks=blocks), crops[0][:, 0]
    backbone = {k: v for k, v in params.items() if k.startswith("backbone.")}
    run = jax.jit(built.features, static_argnames=("blocks", "attention", "attention_block"))
    plain = run(backbone, images)
    assert plain.attention is None
    assert plain.blocks == ()
    full = run(backbone, images, blocks=2, attention=True, attention_block=0)
    assert full.attention.shape == (4, 2, 10, 10)
    np.testing.assert_allclose(full.attention.sum(axis=-1), 1, rtol=1e-5)
    # Asking for maps changes the form of the computation, not its result.
    assert close(full.cls, plain.cls, 2e-6)
    assert close(full.patches, plain.patches, 2e-6)
    assert len(full.blocks) == 2
    np.testing.assert_array_equal(full.blocks[-1][:, 0], full.cls)
    np.testing.assert_array_equal(full.blocks[-1][:, 1:], full.patches)
    # The last block's map is the default; asked of another, it differs.
    last = run(backbone, images, attention=True)
    assert not np.allclose(last.attention, full.attention)


def test_bfloat16_computes_lower_and_answers_in_float32(params, crops, keys) -> None:
    exact, _ = jax.jit(model(depth=1).apply)(params, {}, crops[1:])
    built = model(dtype=jnp.bfloat16, drop_path=0.1, depth=1)

    def loss(params: Params) -> tuple[jax.Array, jax.Array]:
        logits, _ = built.apply(params, {}, crops[1:], keys=keys[1:])
        return logits.sum(), logits

    gradients, logits = jax.jit(jax.grad(loss, has_aux=True))(params)
    assert logits.dtype == jnp.float32
    assert {g.dtype for g in gradients.values()} == {jnp.dtype(jnp.float32)}
    rounded, _ = jax.jit(model(dtype=jnp.bfloat16, depth=1).apply)(params, {}, crops[1:])
    assert 1e-5 < golden.relative_error(rounded, exact) < 0.05
    found = jax.jit(partial(built.features, blocks=1, attention=True))(params, crops[0][:, 0])
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(jnp.float32)}


def test_gradient_reaches_positions_through_local_crops(params, crops) -> None:
    apply = model().apply

    def loss(params: Params) -> jax.Array:
        return jnp.square(apply(params, {}, crops[1:])[0]).sum()

    gradient = jax.jit(jax.grad(loss))(params)["backbone.pos_embed"]
    assert np.all(np.abs(gradient[0]).max(axis=1) > 0)


def test_no_keys_and_no_rate_mean_no_drop_path(params, crops, keys) -> None:
    """Then the very same program is made; with both, another."""

    def text(rate: float, own: list[jax.Array] | None) -> str:
        apply = model(drop_path=rate).apply
        return str(jax.make_jaxpr(lambda p: apply(p, {}, crops, keys=own))(params))

    plain = text(0.0, None)
    assert text(0.5, None) == plain
    assert text(0.0, keys) == plain
    assert "random_bits" in text(0.5, keys)
    assert "random_bits" not in plain


def test_other_channels_and_patches() -> None:
    built = build(
        ModelConfig(width=16, depth=1, heads=2, patch_size=5, channels=7), HEAD, image_size=24
    )
    params, _ = built.init(jax.random.key(0))
    assert params["backbone.patch_embed.proj.weight"].shape == (16, 7, 5, 5)
    assert params["backbone.pos_embed"].shape == (1, 17, 16)
    found = jax.jit(built.features)(params, jnp.ones((1, 13, 31, 7)))
    assert found.patches.shape == (1, 2 * 6, 16)


def test_what_lies_beyond_the_last_whole_patch_is_not_seen(params, crops) -> None:
    images = jnp.pad(crops[0][:, 0], ((0, 0), (0, 3), (0, 3), (0, 0)), constant_values=9.0)
    run = jax.jit(model().features)
    assert close(run(params, images).cls, run(params, crops[0][:, 0]).cls)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"arch": "vit_smal"}, "did you mean 'vit_small'"),
        ({"arch": "resnet1000"}, "vit_tiny, vit_small, vit_base"),
        ({"heads": 3}, "not divisible"),
        ({"depth": 0}, "model.depth is 0"),
        ({"patch_size": 16}, "holds no patch"),
        ({"blocks": "rolled"}, "auto, unrolled or scanned"),
        ({"channels": 0}, "model.channels"),
        ({"drop_path": 1.0}, "[0, 1)"),
    ],
)
def test_what_cannot_be_built_is_one_line(change: dict, says: str) -> None:
    with pytest.raises(UserError) as error:
        model(**change)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_what_cannot_be_applied_is_one_line(params, crops) -> None:
    built = model()
    with pytest.raises(UserError, match="smaller than a patch"):
        built.apply(params, {}, [crops[0][:, :, :3]])
    with pytest.raises(UserError, match="built for 3"):
        built.apply(params, {}, [crops[0][..., :1]])
    with pytest.raises(UserError, match="2 blocks"):
        built.features(params, crops[0][:, 0], attention=True, attention_block=2)
