"""XCiT against the original: features at any size, every stage, a training pass, its gradients."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from dino_jax.config import ModelConfig
from dino_jax.interop.optimiser import in_order
from dino_jax.models.backbone import build_backbone
from dino_jax.models.naming import BACKBONE, prefixed, under, unflatten
from tests import golden
from tests.parity import xcit_networks as tiny

VARIANTS = {
    "xcit_forward_p8": {"patch_size": 8},
    "xcit_forward_p16": {"patch_size": 16},
    "xcit_forward_p8_cls_norm": {"patch_size": 8, "tokens_norm": False},
}
BLOCKS = ("unrolled", "scanned")
NAMES = json.loads((tiny.FOLDER / "names.json").read_text())
quickly = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
TRUE = [name for name in NAMES if name.startswith("xcit")]


@pytest.mark.parametrize("variant", VARIANTS)
def test_features_at_any_size(variant: str) -> None:
    """Square, small, not square, and divisible by no patch; the class token alone or with all."""
    wanted = tiny.arrays(variant)
    backbone = tiny.backbone(**VARIANTS[variant])
    params, stats = tiny.filled(backbone, BACKBONE)
    stats = tiny.used(stats, BACKBONE)
    for number, (height, width) in enumerate(tiny.SIZES):
        case, alone = f"{height}x{width}", number % 2 == 0
        run = functools.partial(backbone, params, stats, train=False, cls_only=alone)
        found, after = quickly(run)(tiny.images(case, 2, height, width))
        assert found.patches.shape[1] == (0 if alone else tiny.tokens(height, width, backbone))
        assert set(after) == set(stats)
        for key in ("features", "features_f64"):
            assert golden.relative_error(found.cls, wanted[f"eval/{case}/{key}"]) <= 1e-5, case


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_stage(variant: str) -> None:
    """At 33×47: a map of rows and columns of different numbers."""
    stages = under("stage/", tiny.arrays(variant))
    assert len(stages) == 11
    backbone = tiny.backbone(**VARIANTS[variant])
    params, stats = tiny.filled(backbone, BACKBONE)
    variables = {
        "params": unflatten(params),
        "batch_stats": unflatten(tiny.used(stats, BACKBONE)),
    }
    run = functools.partial(
        backbone.module.apply,
        variables,
        train=False,
        capture_intermediates=True,
        mutable=["intermediates"],
    )
    _, kept = quickly(run)(tiny.images("33x47", 2, 33, 47))
    found = traverse_util.flatten_dict(kept["intermediates"], sep=".")
    for name, wanted in stages.items():
        result = found[f"{name}.__call__"][0]
        ours = np.asarray(result[0] if isinstance(result, tuple) else result)
        if name == "patch_embed":
            ours = ours.reshape(wanted.shape)
        if name == "pos_embeder":  # the same for every image; theirs is a map, channels first
            wanted = np.moveaxis(wanted.reshape(*wanted.shape[:2], -1), 1, 2)
            ours = np.broadcast_to(ours, wanted.shape)
        if name.endswith("blocks.0.attn") and name.startswith("cls"):  # ours: the class token
            wanted = wanted[:, :1]
        assert golden.relative_error(ours, wanted) <= 1e-5, name


@pytest.mark.parametrize("blocks", BLOCKS)
def test_a_training_pass_and_every_gradient(blocks: str) -> None:
    wanted = tiny.arrays("xcit_forward_p8")
    backbone = tiny.backbone(blocks=blocks)
    params, stats = tiny.filled(backbone, BACKBONE)
    along = jnp.asarray(golden.inputs("xcit_train_g", (4, backbone.sizes.width)))

    def run(params: dict, x: jax.Array) -> tuple:
        found, after = backbone(params, stats, x, train=True, cls_only=True)
        return (found.cls * along).sum(), (found.cls, after)

    # One of the two as it is compiled for use: full optimisation alters nothing.
    compiled = jax.jit if blocks == "scanned" else quickly
    (_, (cls, after)), (for_params, for_image) = compiled(
        jax.value_and_grad(run, argnums=(0, 1), has_aux=True)
    )(params, tiny.images("train", 4, 48, 48))
    for key in ("features", "features_f64"):
        assert golden.relative_error(cls, wanted[f"train/{key}"]) <= 1e-5
    assert_statistics(prefixed(BACKBONE, after), under("train/stats/", wanted))
    for_image = np.moveaxis(np.asarray(for_image), -1, 1)
    assert golden.relative_error(for_image, wanted["train/input_grad"]) <= 1e-4
    gradients = under(f"train/grad/{BACKBONE}", wanted)
    assert set(gradients) == set(for_params)
    for name, value in gradients.items():
        assert golden.relative_error(for_params[name], value) <= 1e-4, name


def assert_statistics(ours: dict[str, jax.Array], wanted: dict[str, np.ndarray]) -> None:
    assert set(ours) == set(wanted)
    for name, value in wanted.items():
        if name.endswith("num_batches_tracked"):
            assert int(ours[name]) == int(value), name
        else:
            assert golden.relative_error(ours[name], value) <= 1e-5, name


@pytest.mark.parametrize("name", TRUE)
def test_names_shapes_and_order(name: str) -> None:
    arch, patch = name.rsplit("_p", 1)
    config = ModelConfig(arch=arch, patch_size=int(patch))
    made = build_backbone(config, image_size=224, dtype=jnp.float32, drop_path=0.0)
    params, stats = jax.eval_shape(made.init, jax.random.key(0))
    ours = {key: list(leaf.shape) for key, leaf in (params | stats).items()}
    assert ours == NAMES[name]["state_dict"]
    assert in_order(prefixed(BACKBONE, ours)) == list(prefixed(BACKBONE, NAMES[name]["state_dict"]))
    assert sum(leaf.size for leaf in params.values()) == NAMES[name]["parameters"]


@pytest.mark.parametrize(("name", "scale"), [("xcit_small_12", 1.0), ("xcit_medium_24", 1e-5)])
def test_initial_values(name: str, scale: float) -> None:
    """Convolutions and their biases as PyTorch leaves them, linear layers Normal(0, 0.02)."""
    config = ModelConfig(arch=name, patch_size=16, width=None if scale == 1 else 128, depth=4)
    made = build_backbone(config, image_size=224, dtype=jnp.float32, drop_path=0.0)
    params, stats = made.init(jax.random.key(0))
    width = made.sizes.width
    bounds = {
        "patch_embed.proj.0.0.weight": 27**-0.5,
        "patch_embed.proj.6.0.weight": (9 * width / 2) ** -0.5,
        **{
            f"blocks.1.local_mp.conv{i}.{leaf}": 1 / 3
            for i in (1, 2)
            for leaf in ("weight", "bias")
        },
        "pos_embeder.token_projection.weight": 0.125,
        "pos_embeder.token_projection.bias": 0.125,
    }
    for key, bound in bounds.items():
        value, many = np.asarray(params[key], np.float64), params[key].size
        assert np.abs(value).max() <= bound * (1 + 1e-6), key
        assert value.std() == pytest.approx(bound * 3**-0.5, rel=max(0.02, 3 * many**-0.5)), key
        assert abs(value.mean()) < 4 * bound * (3 * many) ** -0.5, key
    for key in params:
        value = np.asarray(params[key], np.float64)
        if "gamma" in key:
            assert np.all(value == np.float32(scale)), key
        elif key.endswith("temperature") or (key.endswith("weight") and value.ndim == 1):
            assert np.all(value == 1), key
        elif key == "cls_token" or (key.endswith("weight") and value.ndim == 2):
            assert value.std() == pytest.approx(0.02, rel=0.02 if value.size > 1e4 else 0.2), key
        elif key.endswith("bias") and key not in bounds and "local_mp.conv" not in key:
            assert np.all(value == 0), key
    for key, value in stats.items():
        assert np.all(np.asarray(value) == key.endswith("running_var")), key
