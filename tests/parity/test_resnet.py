"""ResNet against the original: features at any size, stages, a training pass, names, beginnings."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from dino_jax.config import ModelConfig
from dino_jax.models.backbone import build_backbone
from dino_jax.models.naming import BACKBONE, prefixed, under, unflatten
from dino_jax.models.resnet import max_pool
from tests import golden
from tests.parity import resnet_networks as tiny

FORWARD = "resnet_forward"
NAMES = json.loads((tiny.FOLDER / "names.json").read_text())["resnet50"]


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, 1, -1)


@pytest.mark.parametrize(("height", "width"), tiny.SIZES)
def test_features_at_any_size(height: int, width: int) -> None:
    """Square, small, not square, of odd and of even sides; by used statistics."""
    wanted, model = tiny.arrays(FORWARD), tiny.network()
    params, stats = tiny.filled(model, used=True)
    case = f"{height}x{width}"
    found = jax.jit(model.features)(params | stats, tiny.images(case, 2, height, width))
    for key in ("features", "features_f64"):
        assert golden.relative_error(found.cls, wanted[f"eval/{case}/{key}"]) <= 1e-5
    last = -(-height // 32) * -(-width // 32)
    assert found.patches.shape == (2, last, 128)
    np.testing.assert_allclose(found.patches.mean(axis=1), found.cls, rtol=1e-5, atol=1e-7)
    assert found.attention is None


def test_every_stage() -> None:
    """At 33x47: odd and even maps, of rows and columns of different numbers."""
    stages = under("stage/", tiny.arrays(FORWARD))
    assert set(stages) == {"maxpool", "layer1", "layer2", "layer3", "layer4"}
    backbone = tiny.backbone()
    params, stats = tiny.filled(backbone, BACKBONE, used=True)
    _, kept = backbone.module.apply(
        {"params": unflatten(params), "batch_stats": unflatten(stats)},
        tiny.images("33x47", 2, 33, 47),
        train=False,
        capture_intermediates=True,
        mutable=["intermediates"],
    )
    found = traverse_util.flatten_dict(kept["intermediates"], sep=".")
    for name, wanted in stages.items():
        if name == "maxpool":
            ours = max_pool(jnp.maximum(found["bn1.__call__"][0], 0))
        else:
            ours = found[f"{name}.__call__"][0]
        assert golden.relative_error(ours, channels_last(wanted)) <= 1e-5, name


def test_the_border_of_the_max_pool_never_wins() -> None:
    x = jnp.asarray(np.random.default_rng(0).uniform(-3, -1, (1, 5, 6, 2)), jnp.float32)
    pooled = max_pool(x)
    assert pooled.shape == (1, 3, 3, 2)
    np.testing.assert_array_equal(pooled[0, 0, 0], x[0, :2, :2].max(axis=(0, 1)))
    np.testing.assert_array_equal(pooled[0, 2, 2], x[0, 3:, 3:].max(axis=(0, 1)))


def test_a_training_pass_and_every_gradient() -> None:
    wanted, backbone = tiny.arrays(FORWARD), tiny.backbone()
    params, stats = tiny.filled(backbone, BACKBONE)
    along = jnp.asarray(golden.inputs("resnet_k_train_g", (4, backbone.sizes.width)))

    def along_cotangent(params: dict, x: jax.Array) -> tuple:
        found, after = backbone(params, stats, x, train=True, cls_only=True)
        return (found.cls * along).sum(), (found.cls, after)

    run = jax.jit(jax.value_and_grad(along_cotangent, argnums=(0, 1), has_aux=True))
    (_, (cls, after)), (for_params, for_image) = run(params, tiny.images("train", 4, 48, 48))
    for key in ("features", "features_f64"):
        assert golden.relative_error(cls, wanted[f"train/{key}"]) <= 1e-5
    tiny.assert_statistics(prefixed(BACKBONE, after), under("train/stats/", wanted))
    for_image = np.moveaxis(np.asarray(for_image), -1, 1)
    assert golden.relative_error(for_image, wanted["train/input_grad"]) <= 1e-4
    gradients = under(f"train/grad/{BACKBONE}", wanted)
    assert set(gradients) == set(for_params)
    for name, value in gradients.items():
        assert golden.relative_error(for_params[name], value) <= 1e-4, name


def test_names_and_shapes() -> None:
    made = build_backbone(
        ModelConfig(arch="resnet50"), image_size=224, dtype=jnp.float32, drop_path=0.0
    )
    params, stats = jax.eval_shape(made.init, jax.random.key(0))
    ours = {key: list(leaf.shape) for key, leaf in (params | stats).items()}
    assert ours == NAMES["state_dict"]
    assert set(params) == set(NAMES["parameter_order"])
    assert sum(leaf.size for leaf in params.values()) == NAMES["parameters"] == 23_508_032


def test_initial_values() -> None:
    """Convolutions Normal(0, sqrt(2 / fan out)), not truncated; every norm one and zero."""
    made = build_backbone(
        ModelConfig(arch="resnet50", width=512), image_size=64, dtype=jnp.float32, drop_path=0.0
    )
    params, stats = made.init(jax.random.key(0))
    for name, leaf in params.items():
        value = np.asarray(leaf, np.float64)
        if value.ndim == 1:
            assert np.all(value == name.endswith("weight")), name
            continue
        std = np.sqrt(2 / (value.shape[0] * value.shape[2] * value.shape[3]))
        assert value.std() == pytest.approx(std, rel=max(0.02, 3 * value.size**-0.5)), name
        assert abs(value.mean()) < 5 * std * value.size**-0.5, name
        if value.size > 1e5:
            assert np.abs(value).max() > 4 * std, name
    for name, leaf in stats.items():
        assert np.all(np.asarray(leaf) == name.endswith("running_var")), name
    assert {leaf.dtype for leaf in stats.values()} == {jnp.dtype("float32"), jnp.dtype("int32")}


@pytest.mark.parametrize(
    ("name", "std"),
    [
        ("conv1", 0.02525), ("layer1.0.conv2", 0.0589), ("layer1.0.conv3", 0.0884),
        ("layer4.0.downsample.0", 0.03125),
    ],
)  # fmt: skip
def test_deviations_measured_of_the_original(name: str, std: float) -> None:
    from dino_jax.models.initial import RESNET_RULES, draw

    declared = {f"{name}.weight": np.zeros(NAMES["state_dict"][f"{name}.weight"], np.int8)}
    drawn = draw(jax.random.key(1), declared, RESNET_RULES)[f"{name}.weight"]
    assert float(drawn.std()) == pytest.approx(std, rel=0.02)
