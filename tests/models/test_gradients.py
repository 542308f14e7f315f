"""The written-out gradients are those of automatic differentiation, in both number types."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.models.attention import SHORT_SEQUENCE, attend, attention_map
from dino_jax.models.gradients import affine, gelu, layer_norm
from dino_jax.models.vit import VisionTransformer


def assert_agree(ours, plain, *arguments: jax.Array, tolerance: float = 2e-6) -> None:
    """Values and all gradients, against a random cotangent, as norm of difference over norm."""
    shape = jax.eval_shape(plain, *arguments).shape
    cotangent = jax.random.normal(jax.random.key(9), shape)

    def both(function):
        value, pull = jax.vjp(function, *arguments)
        return (value, *pull(cotangent.astype(value.dtype)))

    for got, wanted in zip(jax.jit(lambda: both(ours))(), both(plain), strict=True):
        got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
        assert np.linalg.norm(got - wanted) <= tolerance * np.linalg.norm(wanted)


def normal(seed: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


@pytest.mark.parametrize(("inputs", "outputs"), [(5, 12), (12, 5), (8, 8)])
@pytest.mark.parametrize("batch", [(7,), (3, 4), (2, 3, 4)])
def test_affine(batch: tuple[int, ...], inputs: int, outputs: int) -> None:
    def plain(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
        y = jnp.einsum("...i,oi->...o", x, weight, precision="highest")
        return y + jnp.broadcast_to(bias, y.shape)

    assert_agree(
        affine, plain, normal(0, *batch, inputs), normal(1, outputs, inputs), normal(2, outputs)
    )


def test_layer_norm() -> None:
    def plain(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
        scaled = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return scaled * weight[None, None] + bias[None, None]

    arguments = normal(0, 3, 5, 16), normal(1, 16), normal(2, 16)
    assert_agree(lambda *a: layer_norm(*a, 1e-6), plain, *arguments)


def test_gelu_also_far_from_zero() -> None:
    x = jnp.concatenate([normal(0, 200), jnp.linspace(-12.0, 12.0, 97), jnp.zeros(1)])
    assert_agree(gelu, lambda x: jax.nn.gelu(x, approximate=False), x)


@pytest.mark.parametrize("queries", [1, 5, SHORT_SEQUENCE + 2])
@pytest.mark.parametrize("tokens", [5, SHORT_SEQUENCE + 2])
def test_attend(tokens: int, queries: int) -> None:
    def plain(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
        weights = attention_map(query, key)
        return jnp.einsum("bhqk,bhkd->bhqd", weights, value, precision="highest")

    assert_agree(
        attend,
        plain,
        normal(0, 2, 3, queries, 8),
        normal(1, 2, 3, tokens, 8),
        normal(2, 2, 3, tokens, 8),
    )


def test_bfloat16_stays_bfloat16_and_near() -> None:
    x, weight, bias = (normal(i, *s) for i, s in enumerate([(6, 16), (32, 16), (32,)]))

    def network(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
        return gelu(affine(x, weight, bias))

    half = tuple(a.astype(jnp.bfloat16) for a in (x, weight, bias))
    value, pull = jax.vjp(network, *half)
    gradients = pull(jnp.ones_like(value))
    assert all(a.dtype == jnp.bfloat16 for a in (value, *gradients))
    _, full = jax.vjp(network, x, weight, bias)
    for got, wanted in zip(gradients, full(jnp.ones((6, 32))), strict=True):
        assert np.linalg.norm(got.astype(jnp.float32) - wanted) <= 0.02 * np.linalg.norm(wanted)


@pytest.mark.parametrize("scanned", [False, True])
def test_the_class_token_alone_is_the_same_class_token(scanned: bool) -> None:
    vit = VisionTransformer(16, 3, 2, 4, 16, scanned=scanned)
    images, factors = normal(0, 4, 12, 12, 3), jnp.abs(normal(1, 3, 2, 4))
    shapes = jax.eval_shape(vit.init, jax.random.key(0), images)
    leaves, tree = jax.tree.flatten(shapes)
    params = jax.tree.unflatten(tree, [0.3 * normal(i, *s.shape) for i, s in enumerate(leaves)])

    def loss(params, images: jax.Array, cls_only: bool) -> jax.Array:
        found = vit.apply(params, images, factors, cls_only=cls_only)
        assert found.patches.shape[1] == (0 if cls_only else 9)
        return (found.cls * normal(2, 4, 16)).sum()

    whole, alone = (
        jax.value_and_grad(loss, argnums=(0, 1))(params, images, only) for only in (False, True)
    )
    for wanted, got in zip(jax.tree.leaves(whole), jax.tree.leaves(alone), strict=True):
        assert np.linalg.norm(got - wanted) <= 1e-5 * np.linalg.norm(wanted) + 1e-7
