"""The projection head against the original: outputs, gradients, batch statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.models.head import DINOHead
from dino_jax.models.naming import under
from dino_jax.types import Params, Stats
from tests import golden

VARIANTS = [
    f"nll{norm}_bn{norms}_nl{layers}"
    for norm in (0, 1)
    for norms, layers in ((0, 1), (0, 2), (0, 3), (1, 3))
]


def load(variant: str) -> tuple[DINOHead, Params, Stats, dict[str, np.ndarray]]:
    """The head, its parameters and statistics, and what is stored of this variant."""
    arrays, sizes = golden.arrays("b_head.npz"), golden.meta()["head"]
    own = under(f"{variant}/", arrays) | {"x": arrays["x"], "g": arrays["g"]}
    head = DINOHead(
        inputs=sizes["in"],
        prototypes=sizes["out"],
        hidden=sizes["hidden"],
        bottleneck=sizes["bottleneck"],
        layers=int(variant[-1]),
        norm_last_layer="nll1" in variant,
        batch_norm="bn1" in variant,
    )
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    weights = under("w/", own)
    stats = {name: jnp.asarray(x) for name, x in weights.items() if name.endswith(buffers)}
    params = {name: jnp.asarray(x) for name, x in weights.items() if name not in stats}
    return head, params, stats, own


@pytest.mark.parametrize("variant", VARIANTS)
def test_names_and_shapes(variant: str) -> None:
    head, params, stats, _ = load(variant)
    own_params, own_stats = jax.eval_shape(head.init, jax.random.key(0))
    for ours, theirs in ((own_params, params), (own_stats, stats)):
        assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_stored_weights_are_those_of_the_formula(variant: str) -> None:
    _, params, stats, _ = load(variant)
    for name, leaf in (params | stats).items():
        again = golden.weight(f"head.{name}", leaf.shape, norm_last_layer="nll1" in variant)
        plain = golden.weight(name, leaf.shape, norm_last_layer="nll1" in variant)
        assert np.array_equal(again, leaf) or np.array_equal(plain, leaf), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_outputs_and_gradients(variant: str) -> None:
    head, params, stats, own = load(variant)

    @jax.jit
    def run(params: Params, stats: Stats, x: jax.Array, g: jax.Array) -> tuple:
        y, pull, new = jax.vjp(lambda p, x: head.apply(p, stats, x), params, x, has_aux=True)
        return y, new, *pull(g)

    y, new, gradients, dx = run(params, stats, own["x"], own["g"])
    assert golden.relative_error(y, own["y"]) <= 1e-5
    assert golden.relative_error(dx, own["dx"]) <= 1e-4
    stored = under("grad/", own)
    assert sorted(stored) == sorted(own["trainable"])
    frozen = set(gradients) - set(stored)
    assert frozen == ({"last_layer.weight_g"} if head.norm_last_layer else set())
    assert not any(np.any(gradients[name]) for name in frozen)
    # A bias before a batch norm has no effect: its gradient is zero, and rounding on both sides.
    idle = {"mlp.0.bias", "mlp.3.bias"} if head.batch_norm else set()
    for name, gradient in stored.items():
        if name in idle:
            scale = np.linalg.norm(stored[name.replace("bias", "weight")])
            assert max(np.linalg.norm(gradients[name]), np.linalg.norm(gradient)) <= 1e-6 * scale
        else:
            assert golden.relative_error(gradients[name], gradient) <= 1e-4, name
    for name, value in under("after/", own).items():
        assert golden.relative_error(new[name], value) <= 1e-5, name
    if head.batch_norm:
        evaluated, kept = head.apply(params, new, jnp.asarray(own["x"]), train=False)
        assert golden.relative_error(evaluated, own["y_eval"]) <= 1e-5
        assert all(np.array_equal(kept[name], new[name]) for name in new)
