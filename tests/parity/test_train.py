"""Five full steps and the whole multi-crop step against the original, on the tiny network."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import HeadConfig, ModelConfig
from dino_jax.models.build import Model, build
from dino_jax.ops.optim import ALL_BUT_WEIGHT_G, EVERY_TENSOR, build_optimiser
from dino_jax.ops.targets import centring
from dino_jax.ops.teacher import momentum_teacher
from dino_jax.train.state import TrainState, init_train_state
from dino_jax.train.step import Method, make_train_step, one_pass
from tests import golden

VIEWS, LOCALS, STEPS_PER_EPOCH = 2, 4, 2


def network(norm_last_layer: bool) -> Model:
    vit, head = golden.meta()["tiny_vit"], golden.meta()["head"]
    return build(
        ModelConfig(
            width=vit["width"], depth=vit["depth"], heads=vit["heads"], patch_size=vit["patch"]
        ),
        HeadConfig(
            prototypes=head["out"],
            hidden=head["hidden"],
            bottleneck=head["bottleneck"],
            norm_last_layer=norm_last_layer,
        ),
        image_size=vit["image"],
        dtype=jnp.float32,
        drop_path=0.0,
    )


def weights(model: Model, *, norm_last_layer: bool) -> dict[str, jax.Array]:
    params, _ = model.init(jax.random.key(0))
    return {
        name: jnp.asarray(golden.weight(name, value.shape, norm_last_layer=norm_last_layer))
        for name, value in params.items()
    }


def table(values: np.ndarray):
    stored = jnp.asarray(values, jnp.float32)
    return lambda step: stored[step]


def crop_batch(crops: list[np.ndarray]) -> dict[str, jax.Array]:
    """Crop-major NCHW crops of the original as our batch-major NHWC arrays."""
    images = [np.moveaxis(crop, 1, -1) for crop in crops]
    return {
        "views": jnp.asarray(np.stack(images[:VIEWS], axis=1)),
        "locals": jnp.asarray(np.stack(images[VIEWS:], axis=1)),
    }


def make_method(
    model: Model, run: dict[str, np.ndarray], name: str, *, frozen_g: bool, clip: float = 0.3
) -> Method:
    temperatures = np.repeat([0.04, 0.07, 0.07], STEPS_PER_EPOCH)
    return Method(
        student=model,
        teacher=model,
        crops=lambda batch: ([batch["views"], batch["locals"]], None),
        optimiser=build_optimiser(
            name,
            learning_rate=table(run["lr"]),
            weight_decay=table(run["wd"]),
            clip=clip,
            freeze_steps=STEPS_PER_EPOCH,
            trainable=ALL_BUT_WEIGHT_G if frozen_g else EVERY_TENSOR,
        ),
        teacher_rule=momentum_teacher(table(1 - run["mom"])),
        target_rule=centring(0.9),
        teacher_temperature=table(temperatures),
        reported={},
    )


def start(method: Method, params: dict[str, jax.Array]) -> TrainState:
    return init_train_state(
        jax.random.key(0),
        method.student,
        prototypes=golden.meta()["head"]["out"],
        optimiser=method.optimiser,
        teacher_rule=method.teacher_rule,
        target_rule=method.target_rule,
        params=params,
    )


def without_key_bias(name: str, value: np.ndarray) -> np.ndarray:
    """Drop the K third of `qkv.bias`: its gradient is zero, Adam turns its noise into steps."""
    if not name.endswith("attn.qkv.bias"):
        return value
    width = len(value) // 3
    return np.concatenate([value[:width], value[2 * width :]])


def assert_norms(params: dict[str, jax.Array], names: np.ndarray, wanted: np.ndarray) -> None:
    """Norm by norm within 1e-4, but for `qkv.bias`: it has the K third in it."""
    for name, norm in zip(names, wanted, strict=True):
        if not name.endswith("attn.qkv.bias"):
            ours = np.linalg.norm(np.asarray(params[name], np.float64))
            assert abs(ours - norm) <= 1e-4 * norm, name


@pytest.mark.parametrize("norm_last_layer", [False, True])
@pytest.mark.parametrize("optimiser", ["adamw", "sgd", "lars"])
def test_five_steps_equal_the_original(optimiser: str, norm_last_layer: bool) -> None:
    run = golden.arrays(f"e_train_{optimiser}_nll{int(norm_last_layer)}.npz")
    model = network(norm_last_layer)
    method = make_method(model, run, optimiser, frozen_g=norm_last_layer)
    state = start(method, weights(model, norm_last_layer=norm_last_layer))
    # Full optimisation takes twice as long to compile; one optimiser shows that it alters nothing.
    options = None if optimiser == "adamw" else {"xla_backend_optimization_level": 0}
    step = jax.jit(make_train_step(method), compiler_options=options)
    side, batch = golden.meta()["tiny_vit"]["image"], 3
    for i in range(5):
        crops = [golden.inputs(f"tr{i}_g{j}", (batch, 3, side, side)) for j in range(VIEWS)] + [
            golden.inputs(f"tr{i}_l{j}", (batch, 3, side // 2, side // 2)) for j in range(LOCALS)
        ]
        state, metrics = step(state, crop_batch(crops))
        assert golden.relative_error(metrics["loss"], run[f"{i}/loss"]) <= 1e-5
        assert golden.relative_error(metrics["loss"], run[f"{i}/loss_f64"]) <= 1e-5
        centre_norm = np.linalg.norm(np.asarray(state.target_state, np.float64))
        assert golden.relative_error(centre_norm, run[f"{i}/center_norm_f64"]) <= 1e-5
        assert_norms(state.student, run["names"], run[f"{i}/student_norms_f64"])
        assert_norms(state.teacher, run["names"], run[f"{i}/teacher_norms_f64"])
    assert golden.relative_error(state.target_state, run["final_center"]) <= 1e-5
    for role, params in (("student", state.student), ("teacher", state.teacher)):
        wanted = {
            key.split("/", 1)[1]: value
            for key, value in run.items()
            if key.startswith(f"final_{role}/")
        }
        left_out = str(run.get("left_out", "$."))  # of the committed part; "$." matches nothing
        whole = {name for name in params if not re.match(left_out, f"final_{role}/{name}")}
        assert set(wanted) == whole
        for name, value in wanted.items():
            ours = without_key_bias(name, np.asarray(params[name]))
            assert golden.relative_error(ours, without_key_bias(name, value)) <= 1e-4, name


@pytest.mark.parametrize("norm_last_layer", [False, True])
def test_one_multi_crop_pass_equals_the_original(norm_last_layer: bool) -> None:
    run = golden.arrays(f"d_multicrop_nll{int(norm_last_layer)}.npz")
    model = network(norm_last_layer)
    params = {name: jnp.asarray(run[f"w/{name}"]) for name in model.init(jax.random.key(0))[0]}
    zeros = {"lr": np.zeros(6), "wd": np.zeros(6), "mom": np.ones(6)}
    method = make_method(model, zeros, "sgd", frozen_g=norm_last_layer)
    state = start(method, params)
    batch = crop_batch([run[f"crop{i}"] for i in range(VIEWS + LOCALS)])
    seen = jax.jit(functools.partial(one_pass, method))(state, batch)
    assert golden.relative_error(seen.terms.loss, run["loss"]) <= 1e-5
    _, centre = method.target_rule.transform.update(seen.mean_logits, state.target_state)
    assert golden.relative_error(centre, run["center"]) <= 1e-5
    wanted = {key[5:]: value for key, value in run.items() if key.startswith("grad/")}
    assert len(wanted) == len(params) - (1 if norm_last_layer else 0)
    for name, value in wanted.items():
        ours = without_key_bias(name, np.asarray(seen.gradient[name]))
        assert golden.relative_error(ours, without_key_bias(name, value)) <= 1e-4, name
