"""ResNet under DINO: the wrapper, five steps, and what batch statistics see and keep."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.models.naming import BACKBONE, prefixed, under
from dino_jax.train.state import TrainState, init_train_state
from dino_jax.train.step import Method, make_train_step, one_pass
from dino_jax.types import Params
from tests import golden
from tests.parity import resnet_networks as tiny
from tests.parity.test_train import make_method

RUNS = {"resnet_train_sgd_bn0": ("sgd", False), "resnet_train_lars_bn1": ("lars", True)}
STILL = {"lr": np.zeros(6), "wd": np.zeros(6), "mom": np.ones(6)}


def begun(method: Method, params: Params) -> TrainState:
    return init_train_state(
        jax.random.key(0),
        method.student,
        prototypes=tiny.META["prototypes"],
        optimiser=method.optimiser,
        teacher_rule=method.teacher_rule,
        target_rule=method.target_rule,
        params=params,
    )


def batch(step: int) -> dict[str, jax.Array]:
    return dict(zip(("views", "locals"), tiny.crops(step), strict=True))


def norm(value: jax.Array) -> float:
    return float(np.linalg.norm(np.asarray(value, np.float64)))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_wrapper(batch_norm: bool) -> None:
    """Logits, loss, centre, every gradient, and both networks' statistics after one pass."""
    wanted = tiny.arrays(f"resnet_multicrop_bn{int(batch_norm)}")
    model = tiny.network(batch_norm=batch_norm)
    params, _ = tiny.filled(model)
    method = make_method(model, STILL, "sgd", frozen_g=True)
    state = begun(method, params)

    @jax.jit
    def run(state: TrainState, crops: dict[str, jax.Array]) -> tuple:
        views, locals_ = crops["views"], crops["locals"]
        student = model.apply(state.student, state.student_stats, [views, locals_])
        teacher = model.apply(state.teacher, state.teacher_stats, [views])
        return student, teacher, one_pass(method, state, crops)

    (student, student_stats), (teacher, teacher_stats), seen = run(state, batch(0))
    for ours, name in ((student, "student"), (teacher, "teacher")):
        assert golden.relative_error(tiny.crop_major(ours), wanted[name]) <= 1e-5
        assert golden.relative_error(tiny.crop_major(ours), wanted[f"{name}_f64"]) <= 1e-5
    tiny.assert_statistics(student_stats, under("student_stats/", wanted))
    tiny.assert_statistics(teacher_stats, under("teacher_stats/", wanted))
    tiny.assert_statistics(seen.student_stats, under("student_stats/", wanted))
    tiny.assert_statistics(seen.teacher_stats, under("teacher_stats/", wanted))
    for key in ("loss", "loss_f64"):
        assert golden.relative_error(seen.terms.loss, wanted[key]) <= 1e-5
    _, centre = method.target_rule.transform.update(seen.mean_logits, state.target_state)
    assert golden.relative_error(centre, wanted["center"]) <= 1e-5
    gradients = under("grad/", wanted)
    assert set(gradients) == set(map(str, wanted["grad_names"]))
    assert set(params) - set(gradients) == {"head.last_layer.weight_g"}
    zero = {"head.mlp.0.bias", "head.mlp.3.bias"} if batch_norm else set()
    for name, value in gradients.items():
        if name not in zero:
            assert golden.relative_error(seen.gradient[name], value) <= 1e-4, name


def test_what_enters_the_head() -> None:
    wanted, backbone = tiny.arrays("resnet_multicrop_bn0"), tiny.backbone()
    params, stats = tiny.filled(backbone, BACKBONE)
    run = jax.jit(functools.partial(backbone, train=True, cls_only=True))
    found = []
    for images in tiny.crops(0):
        features, stats = run(params, stats, images.reshape(-1, *images.shape[2:]))
        found.append(features.cls.reshape(*images.shape[:2], -1))
    for tail in ("", "_f64"):
        theirs = wanted[f"student_features{tail}"]
        ours = tiny.crop_major(jnp.concatenate(found, axis=1))
        assert golden.relative_error(ours, theirs) <= 1e-5
        theirs = wanted[f"teacher_features{tail}"]
        assert golden.relative_error(tiny.crop_major(found[0]), theirs) <= 1e-5


@pytest.mark.parametrize("name", RUNS)
def test_five_steps_equal_the_original(name: str) -> None:
    """Statistics and counters of both networks after each step among it."""
    run, (optimiser, batch_norm) = tiny.arrays(name), RUNS[name]
    model = tiny.network(batch_norm=batch_norm)
    method = make_method(model, run, optimiser, frozen_g=True, clip=float(run["clip"]))
    state = begun(method, tiny.filled(model)[0])
    # As tests/parity/test_train.py: one run shows that full optimisation alters nothing.
    options = {"xla_backend_optimization_level": 0} if batch_norm else None
    step = jax.jit(make_train_step(method), compiler_options=options)
    zero = set(map(str, run["zero_gradient"]))
    for i in range(5):
        state, metrics = step(state, batch(i))
        for key in ("loss", "loss_f64"):
            assert golden.relative_error(metrics["loss"], run[f"{i}/{key}"]) <= 1e-5
        whole = np.linalg.norm(run[f"{i}/grad_norms_f64"])
        assert golden.relative_error(metrics["grad_norm"], whole) <= 1e-4
        assert golden.relative_error(state.target_state, run[f"{i}/center"]) <= 1e-5
        centre_norm = norm(state.target_state)
        assert golden.relative_error(centre_norm, run[f"{i}/center_norm_f64"]) <= 1e-5
        for role in ("student", "teacher"):
            stats = getattr(state, f"{role}_stats")
            tiny.assert_statistics(stats, tiny.statistics_of(run, i, role))
            for each, value in zip(run["names"], run[f"{i}/{role}_norms_f64"], strict=True):
                ours = norm(getattr(state, role)[str(each)])
                assert str(each) in zero or abs(ours - value) <= 1e-4 * value, each
        counts = {k: int(v) for k, v in state.student_stats.items() if k.endswith("tracked")}
        for each, count in counts.items():
            assert count == (i + 1) * (2 if each.startswith(BACKBONE) else 1)
            assert int(state.teacher_stats[each]) == i + 1
    assert golden.relative_error(state.target_state, run["final_center"]) <= 1e-5
    final = under("final_student/", run)
    assert set(final) == set(state.student)
    for each, value in final.items():
        if each not in zero:
            assert golden.relative_error(state.student[each], value) <= 1e-4, each
    assert_a_skipped_step_leaves_the_statistics(step, state)


def assert_a_skipped_step_leaves_the_statistics(step: Any, state: TrainState) -> None:
    """Here, where the step has been compiled."""
    images = batch(0)
    broken = images | {"views": images["views"].at[0, 0, 0, 0, 0].set(jnp.nan)}
    after, metrics = step(state, broken)
    assert metrics["skipped"] == 1
    assert int(after.step) == int(state.step) + 1
    for part in ("student_stats", "teacher_stats", "student", "teacher"):
        for name, value in getattr(state, part).items():
            np.testing.assert_array_equal(getattr(after, part)[name], value, err_msg=name)


def test_crops_of_one_size_are_one_group() -> None:
    """Joint statistics, updated once; and the drop path's keys would go with them."""
    model = tiny.network()
    params, stats = tiny.filled(model)
    crops = tiny.crops(0)[0], tiny.crops(1)[0]
    apply = jax.jit(model.apply)
    apart, after = apply(params, stats, crops)
    joint, wanted = apply(params, stats, [jnp.concatenate(crops, axis=1)])
    assert golden.relative_error(apart, joint) <= 1e-6
    assert set(after) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-6, atol=1e-7, err_msg=name)
        if name.endswith("tracked"):
            assert int(value) == 1
    one_by_one, _ = apply(params, stats, crops[:1])
    assert golden.relative_error(joint[:, :2], one_by_one) > 1e-2


def test_micro_batches_chain_their_statistics() -> None:
    """Each is normalised by its own, and hands the running ones to the next."""
    model = tiny.network()
    params, stats = tiny.filled(model)
    views, locals_ = (jnp.concatenate([a, a[:1] * 0.5]) for a in tiny.crops(0))
    method = make_method(model, STILL, "sgd", frozen_g=True)._replace(accumulate=2)
    state = begun(method, params)
    options = {"xla_backend_optimization_level": 0}
    step = jax.jit(make_train_step(method), compiler_options=options)
    after, _ = step(state, {"views": views, "locals": locals_})
    apply, student, teacher = jax.jit(model.apply), stats, stats
    for part in (slice(0, None, 2), slice(1, None, 2)):
        _, student = apply(params, student, [views[part], locals_[part]])
        _, teacher = apply(params, teacher, [views[part]])
    tiny.assert_statistics(after.student_stats, student)
    tiny.assert_statistics(after.teacher_stats, teacher)
    assert int(after.student_stats["backbone.bn1.num_batches_tracked"]) == 4


def test_evaluation_leaves_the_statistics_and_needs_them() -> None:
    backbone = tiny.backbone()
    params, stats = tiny.filled(backbone, BACKBONE, used=True)
    x = tiny.images("24x24", 2, 24, 24)

    def encode(x: jax.Array) -> jax.Array:
        found, after = backbone(params, stats, x, train=False)
        assert after is stats
        return found.cls

    jax.eval_shape(encode, x)
    model = tiny.network()
    with pytest.raises(ValueError, match=r"pass params \| stats"):
        model.features(prefixed(BACKBONE, params), x)


def test_one_value_of_a_channel_has_no_variance() -> None:
    """One crop of 24 pixels is one position of the last layer; two are enough."""
    model = tiny.network()
    params, stats = tiny.filled(model)
    crop = tiny.crops(0)[1][:1, :1]
    with pytest.raises(UserError, match="more than one position: raise batch_size") as error:
        jax.eval_shape(model.apply, params, stats, [crop])
    assert "\n" not in str(error.value)
    jax.eval_shape(model.apply, params, stats, [jnp.concatenate([crop, crop])])
    jax.eval_shape(model.features, params | stats, crop[0])


def test_what_a_resnet_cannot_show_is_one_line() -> None:
    model = tiny.network()
    params, stats = tiny.filled(model)
    x = tiny.images("24x24", 2, 24, 24)
    with pytest.raises(UserError, match="no attention"):
        model.features(params | stats, x, attention=True)
    with pytest.raises(UserError, match="no transformer blocks"):
        model.features(params | stats, x, blocks=1)
    assert (model.patch_size, model.width, model.depth, model.heads) == (32, 128, 5, 0)


def test_bfloat16_computes_lower_and_answers_in_float32() -> None:
    exact, rounded = tiny.network(), tiny.network(dtype=jnp.bfloat16)
    params, stats = tiny.filled(exact, used=True)
    x = tiny.images("48x48", 2, 48, 48)
    ours, theirs = (jax.jit(m.features)(params | stats, x).cls for m in (rounded, exact))
    assert ours.dtype == jnp.float32
    assert 1e-4 < golden.relative_error(ours, theirs) < 0.03
    crops = [tiny.crops(0)[1]]
    logits, after = jax.eval_shape(rounded.apply, params, stats, crops)
    assert logits.dtype == jnp.float32
    assert {k: v.dtype for k, v in after.items()} == {k: v.dtype for k, v in stats.items()}
