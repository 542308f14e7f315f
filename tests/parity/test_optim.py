"""The original's decisions tensor by tensor: what is clipped, decayed, frozen."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dino_jax.config import HeadConfig, ModelConfig
from dino_jax.models.build import build
from dino_jax.ops import optim
from tests.golden import arrays, meta, read_json, relative_error

CLIPS = ("0.05", "0.3", "3.0")
PREFIX = "grad/"


def norm(tensor):
    return np.linalg.norm(np.asarray(tensor, np.float64))


def clip(grads, max_norm):
    clipped, _ = jax.jit(optim.clip_per_tensor(max_norm).update)(grads, optax.EmptyState())
    return clipped


@pytest.mark.parametrize("max_norm", CLIPS)
def test_clipped_norms_of_tensors_of_the_stored_norms(max_norm):
    golden = arrays("e_clip.npz")
    before, after = golden[f"{max_norm}/before"], golden[f"{max_norm}/after"]
    rng = np.random.default_rng(0)
    grads = {}
    for name, length in zip(golden[f"{max_norm}/names"], before, strict=True):
        direction = rng.normal(size=(7, 5))
        grads[str(name)] = jnp.asarray(direction * length / norm(direction), jnp.float32)
    clipped = clip(grads, float(max_norm))
    found = [norm(clipped[name]) for name in grads]
    np.testing.assert_allclose(found, after, rtol=1e-6)


@pytest.mark.parametrize("max_norm", CLIPS)
def test_clipped_norms_of_the_stored_gradients(max_norm):
    golden, grads = arrays("e_clip.npz"), gradients()
    names = [str(name) for name in golden[f"{max_norm}/names"]]
    assert set(names) == set(grads)
    clipped = clip(grads, float(max_norm))
    before = np.array([norm(grads[name]) for name in names])
    after = np.array([norm(clipped[name]) for name in names])
    keep = before > 1e-6  # a gradient that is rounding alone has no norm to compare
    assert relative_error(before[keep], golden[f"{max_norm}/before"][keep]) <= 1e-6
    assert relative_error(after[keep], golden[f"{max_norm}/after"][keep]) <= 1e-6


def gradients():
    return {
        name.removeprefix(PREFIX): jnp.asarray(value)
        for name, value in arrays("d_multicrop_nll0.npz").items()
        if name.startswith(PREFIX)
    }


def parameters(*, batch_norm=False):
    """Zeros in the shapes of the golden network's parameters."""
    sizes = meta()
    vit, head = sizes["tiny_vit"], sizes["head"]
    model = build(
        ModelConfig(
            patch_size=vit["patch"], width=vit["width"], depth=vit["depth"], heads=vit["heads"]
        ),
        HeadConfig(
            prototypes=head["out"],
            hidden=head["hidden"],
            bottleneck=head["bottleneck"],
            batch_norm=batch_norm,
        ),
        image_size=vit["image"],
        dtype=jnp.float32,
        drop_path=0.0,
    )
    shapes, _ = jax.eval_shape(model.init, jax.random.key(0))
    return {name: jnp.zeros(one.shape) for name, one in shapes.items()}


@pytest.mark.parametrize("case", ["nll1_bn0", "nll1_bn1", "nll0_bn0", "nll0_bn1"])
def test_decay_and_training_of_every_parameter(case):
    params = parameters(batch_norm=case.endswith("bn1"))
    trainable = optim.ALL_BUT_WEIGHT_G if case.startswith("nll1") else optim.EVERY_TENSOR
    optimiser = optim.build_optimiser(
        "adamw", learning_rate=0.1, weight_decay=0.1, trainable=trainable
    )
    state, decays = optimiser.init(params), optim.decay_mask(params)
    ours = {
        name: ("wd" if decays[name] else "no_wd") if name in state else "frozen" for name in params
    }
    assert ours == read_json("e_param_groups.json")[case]


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars"])
def test_the_freeze_holds_the_stored_names(name):
    golden = {str(one) for one in arrays("e_clip.npz")["cancelled_at_epoch0_freeze1"]}
    params = {one: value + 1 for one, value in parameters().items()}
    optimiser = optim.build_optimiser(name, learning_rate=0.1, weight_decay=0.1, freeze_steps=2)
    state = optimiser.init(params)
    for step, held in ((0, golden), (1, golden), (2, set())):
        updates, state = optimiser.update(params, state, params, step=step)
        assert {one for one, value in updates.items() if not value.any()} == held
