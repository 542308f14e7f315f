"""What is computed again in the backward pass: the same numbers in less memory."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import HeadConfig, ModelConfig, UserError
from dino_jax.models.build import Model, build
from tests import golden

BATCH = 32
HEAD = HeadConfig(prototypes=32, hidden=32, bottleneck=16)
SIZES: dict[str, dict[str, Any]] = {
    "vit_tiny": {"width": 32, "depth": 4, "heads": 2, "patch_size": 4},
    "xcit_small_12": {"width": 32, "depth": 2, "heads": 2, "patch_size": 8},
    "resnet50": {"width": 64, "patch_size": None},
}


def model(arch: str, remat: str, *, blocks: str = "auto") -> Model:
    config = ModelConfig(arch=arch, remat=remat, blocks=blocks, **SIZES[arch])
    return build(config, HEAD, image_size=32, drop_path=0.5)


@functools.cache
def compiled(arch: str, remat: str, blocks: str) -> Any:
    """Loss, gradient and statistics of a pass with drop path."""
    made = model(arch, remat, blocks=blocks)
    params, stats = jax.eval_shape(made.init, jax.random.key(0))

    def loss(params: Any, stats: Any, crops: Any, keys: Any) -> tuple:
        logits, changed = made.apply(params, stats, [crops], keys=[keys])
        return jnp.square(logits).mean(), changed

    crops = jax.ShapeDtypeStruct((BATCH, 2, 32, 32, 3), jnp.float32)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), (BATCH, 2)))
    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    return step.lower(params, stats, crops, keys).compile()


@functools.cache
def run(arch: str, remat: str, blocks: str) -> Any:
    params, stats = model(arch, remat, blocks=blocks).init(jax.random.key(1))
    crops = np.random.default_rng(0).normal(size=(BATCH, 2, 32, 32, 3))
    keys = jax.random.split(jax.random.key(2), (BATCH, 2))
    return compiled(arch, remat, blocks)(params, stats, jnp.asarray(crops, jnp.float32), keys)


@pytest.mark.parametrize(
    ("arch", "remat", "blocks"),
    [
        ("vit_tiny", "dots", "auto"),
        ("vit_tiny", "blocks", "auto"),
        ("vit_tiny", "dots", "unrolled"),
        ("vit_tiny", "blocks", "unrolled"),
        ("xcit_small_12", "blocks", "auto"),
    ],
)
def test_the_numbers_are_the_same(arch: str, remat: str, blocks: str) -> None:
    (wanted, stats), goals = run(arch, "none", blocks)
    (loss, changed), gradients = run(arch, remat, blocks)
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)
    assert changed.keys() == stats.keys()
    for name, value in stats.items():
        assert golden.relative_error(changed[name], value) <= 1e-5, name
    largest = max(np.linalg.norm(goal) for goal in goals.values())
    for name, goal in goals.items():  # those that are nothing but rounding apart
        size = max(np.linalg.norm(goal), 1e-3 * largest)
        assert np.linalg.norm(gradients[name] - goal) <= 3e-6 * size, name


def test_each_keeps_less_than_the_one_before() -> None:
    """Where the blocks are scanned, as they are by default with this option."""
    used = [
        compiled("vit_tiny", remat, "auto").memory_analysis().temp_size_in_bytes
        for remat in ("none", "dots", "blocks")
    ]
    assert used[1] < 0.8 * used[0]
    assert used[2] < 0.8 * used[1]


def test_it_is_refused_where_nothing_is_computed_again() -> None:
    with pytest.raises(UserError, match=r"a ResNet keeps all .* set model\.remat to none"):
        model("resnet50", "dots")


def test_a_misspelt_one_is_one_line() -> None:
    with pytest.raises(UserError, match=r"model\.remat is 'all': expected none, dots or blocks"):
        model("vit_tiny", "all")
