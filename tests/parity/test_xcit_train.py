"""XCiT under DINO's wrapper, and five steps of it, against the original."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.models.naming import BACKBONE, under
from dino_jax.train.step import make_train_step, one_pass
from tests import golden
from tests.parity import xcit_networks as tiny
from tests.parity.resnet_networks import assert_statistics, crop_major, statistics_of
from tests.parity.test_resnet_train import STILL, begun, norm
from tests.parity.test_train import make_method

RUNS = {  # optimiser, batch norm in the head, fixed norm of the last layer, blocks
    "xcit_train_adamw_bn0": ("adamw", False, False, "unrolled"),
    "xcit_train_sgd_bn1": ("sgd", True, True, "scanned"),
}
# The bias before a batch norm shifts what the norm takes away again.
STILL_BIASES = {"head.mlp.0.bias", "head.mlp.3.bias", "backbone.norm.bias"}
# Full optimisation takes twice as long to compile, and alters nothing.
quickly = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_wrapper(batch_norm: bool) -> None:
    """Loss, centre, every gradient, and both networks' statistics after one pass."""
    wanted = tiny.arrays(f"xcit_multicrop_bn{int(batch_norm)}")
    model = tiny.network(batch_norm=batch_norm, norm_last_layer=True)
    params, _ = tiny.filled(model, "")
    method = make_method(model, STILL, "sgd", frozen_g=True)
    state, batch = begun(method, params), tiny.crops(0)
    seen = quickly(functools.partial(one_pass, method))(state, batch)
    for tail in ("", "_f64"):
        assert golden.relative_error(seen.terms.loss, wanted[f"loss{tail}"]) <= 1e-5
    assert_statistics(seen.student_stats, under("student_stats/", wanted))
    assert_statistics(seen.teacher_stats, under("teacher_stats/", wanted))
    _, centre = method.target_rule.transform.update(seen.mean_logits, state.target_state)
    assert golden.relative_error(centre, wanted["center"]) <= 1e-5
    gradients = under("grad/", wanted)
    assert set(gradients) == set(map(str, wanted["grad_names"]))
    assert set(params) - set(gradients) == {"head.last_layer.weight_g"}
    for name, value in gradients.items():
        if not (batch_norm and name in STILL_BIASES):
            assert golden.relative_error(seen.gradient[name], value) <= 1e-4, name


def test_the_logits() -> None:
    """The head's batch norm sees all crops at once."""
    wanted = tiny.arrays("xcit_multicrop_bn1")
    model = tiny.network(batch_norm=True, norm_last_layer=True)
    params, stats = tiny.filled(model, "")
    crops = list(tiny.crops(0).values())
    for name, seen in (("student", crops), ("teacher", crops[:1])):
        logits, _ = quickly(model.apply)(params, stats, seen)
        for tail in ("", "_f64"):
            assert golden.relative_error(crop_major(logits), wanted[f"{name}{tail}"]) <= 1e-5


def test_what_enters_the_head() -> None:
    wanted, backbone = tiny.arrays("xcit_multicrop_bn0"), tiny.backbone()
    params, stats = tiny.filled(backbone, BACKBONE)
    found = []
    for images in tiny.crops(0).values():
        run = quickly(functools.partial(backbone, train=True, cls_only=True))
        features, stats = run(params, stats, images.reshape(-1, *images.shape[2:]))
        found.append(features.cls.reshape(*images.shape[:2], -1))
    for tail in ("", "_f64"):
        ours, theirs = crop_major(jnp.concatenate(found, axis=1)), f"student_features{tail}"
        assert golden.relative_error(ours, wanted[theirs]) <= 1e-5
        ours, theirs = crop_major(found[0]), f"teacher_features{tail}"
        assert golden.relative_error(ours, wanted[theirs]) <= 1e-5


@pytest.mark.parametrize("name", RUNS)
def test_five_steps_equal_the_original(name: str) -> None:
    """Statistics and counters of both networks after each step among it."""
    run, (optimiser, batch_norm, fixed, blocks) = tiny.arrays(name), RUNS[name]
    model = tiny.network(batch_norm=batch_norm, norm_last_layer=fixed, blocks=blocks)
    method = make_method(model, run, optimiser, frozen_g=fixed, clip=float(run["clip"]))
    state = begun(method, tiny.filled(model, "", norm_last_layer=fixed)[0])
    step = quickly(make_train_step(method))
    blind = set(map(str, run["zero_gradient"]))
    assert blind <= STILL_BIASES
    for i in range(tiny.META["steps"]):
        state, metrics = step(state, tiny.crops(i))
        for key in ("loss", "loss_f64"):
            assert golden.relative_error(metrics["loss"], run[f"{i}/{key}"]) <= 1e-5
        whole = np.linalg.norm(run[f"{i}/grad_norms_f64"])
        assert golden.relative_error(metrics["grad_norm"], whole) <= 1e-4
        assert golden.relative_error(state.target_state, run[f"{i}/center"]) <= 1e-5
        centre_norm = norm(state.target_state)
        assert golden.relative_error(centre_norm, run[f"{i}/center_norm_f64"]) <= 1e-5
        for role in ("student", "teacher"):
            stats, params = getattr(state, f"{role}_stats"), getattr(state, role)
            assert_statistics(stats, statistics_of(run, i, role))
            for each, value in zip(run["names"], run[f"{i}/{role}_norms_f64"], strict=True):
                each = str(each)
                # The norm of a fused bias has the blind third in it.
                if each not in blind and not re.search(tiny.KEYS_OF_CLASS_BLOCKS, each):
                    assert abs(norm(params[each]) - value) <= 1e-4 * value, each
        for each, count in state.student_stats.items():
            if each.endswith("num_batches_tracked"):
                assert int(count) == (i + 1) * (2 if each.startswith(BACKBONE) else 1)
                assert int(state.teacher_stats[each]) == i + 1
    assert golden.relative_error(state.target_state, run["final_center"]) <= 1e-5
    final = under("final_student/", run)
    assert set(final) == set(state.student)
    for each, value in final.items():
        if each not in blind:
            ours = tiny.without_blind_keys(each, state.student[each])
            theirs = tiny.without_blind_keys(each, value)
            assert golden.relative_error(ours, theirs) <= 1e-4, each
