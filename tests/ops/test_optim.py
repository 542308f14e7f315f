"""The optimisers against a float64 oracle written anew, and the rules of each single tensor."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dino_jax.config import UserError
from dino_jax.ops import optim
from dino_jax.ops.optim import build_optimiser, clip_per_tensor, decay_mask
from dino_jax.ops.schedules import cosine, cosine_values

SHAPES = {
    "backbone.cls_token": (1, 1, 8),
    "backbone.patch_embed.proj.weight": (8, 3, 4, 4),
    "backbone.patch_embed.proj.bias": (8,),
    "backbone.norm.weight": (8,),
    "odd.bias": (2, 4),  # a bias of rank 2 must not decay either
    "head.last_layer.weight_g": (16, 1),
    "head.last_layer.weight_v": (16, 8),
}
DECAYED = {
    "backbone.cls_token",
    "backbone.patch_embed.proj.weight",
    "head.last_layer.weight_g",
    "head.last_layer.weight_v",
}
NAMES = ("adamw", "sgd", "lars")


def tensors(seed, scale=1.0):
    rng = np.random.default_rng(seed)
    return {
        name: jnp.asarray(rng.normal(size=shape) * scale, jnp.float32)
        for name, shape in SHAPES.items()
    }


class Oracle:
    """The original's step written out for one tensor at a time, in float64."""

    def __init__(self, name, rank, decayed):
        self.name, self.rank, self.decayed = name, rank, decayed
        self.count, self.m, self.v = 0, 0.0, 0.0

    def step(self, p, g, rate, decay):
        decay = decay if self.decayed else 0.0
        if self.name == "adamw":
            self.count += 1
            p = p * (1 - rate * decay)
            self.m = 0.9 * self.m + 0.1 * g
            self.v = 0.999 * self.v + 0.001 * g * g
            denominator = np.sqrt(self.v) / np.sqrt(1 - 0.999**self.count) + 1e-8
            return p - rate / (1 - 0.9**self.count) * self.m / denominator
        d = g + decay * p if self.name == "sgd" or self.rank != 1 else g
        if self.name == "lars" and self.rank != 1:
            d = d * (0.001 * np.sqrt((p**2).sum()) / np.sqrt((d**2).sum()))
        self.m = 0.9 * self.m + d
        return p - rate * self.m


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("norm_last_layer", [False, True])
def test_twelve_steps_are_the_oracle_s(name, norm_last_layer):
    steps, freeze, clip = 12, 3, 0.3
    rate: dict[str, Any] = {
        "base": 0.02,
        "final": 1e-5,
        "steps": steps,
        "warmup_steps": 2,
        "start": 1e-3,
    }
    decay: dict[str, Any] = {"base": 0.04, "final": 0.4, "steps": steps}
    optimiser = build_optimiser(
        name,
        learning_rate=cosine(**rate),
        weight_decay=cosine(**decay),
        clip=clip,
        freeze_steps=freeze,
        trainable=optim.ALL_BUT_WEIGHT_G if norm_last_layer else optim.EVERY_TENSOR,
    )

    @jax.jit
    def advance(params, state, grads, step):
        updates, state = optimiser.update(grads, state, params, step=step)
        return optax.apply_updates(params, updates), state

    params = tensors(0)
    state = optimiser.init(params)
    exact = {key: np.asarray(value, np.float64) for key, value in params.items()}
    oracles = {key: Oracle(name, value.ndim, key in DECAYED) for key, value in exact.items()}
    for step in range(steps):
        grads = tensors(step + 1, 10.0 ** (step % 3 - 2))
        params, state = advance(params, state, grads, jnp.int32(step))
        for key, value in exact.items():
            if norm_last_layer and key.endswith("weight_g"):
                continue
            g = np.asarray(grads[key], np.float64)
            g = g * min(1.0, clip / float(np.linalg.norm(g) + 1e-6))
            if step < freeze and "last_layer" in key:
                continue
            rates = cosine_values(**rate)[step], cosine_values(**decay)[step]
            exact[key] = oracles[key].step(value, g, *rates)
    for key, value in exact.items():
        error = np.linalg.norm(params[key] - value) / np.linalg.norm(value)
        moved = np.linalg.norm(value - np.asarray(tensors(0)[key])) / np.linalg.norm(value)
        assert error <= 2e-7 + 2e-6 * moved, key


def test_adamw_is_optax_s_where_nothing_is_special():
    theirs = optax.adamw(0.01, weight_decay=0.1, mask=decay_mask)
    ours = build_optimiser("adamw", learning_rate=0.01, weight_decay=0.1)
    params = tensors(0)
    a, b = params, params
    first, second = ours.init(params), theirs.init(params)
    for step in range(5):
        grads = tensors(step + 1)
        updates, first = ours.update(grads, first, a, step=step)
        a = optax.apply_updates(a, updates)
        updates, second = theirs.update(grads, second, b)
        b = optax.apply_updates(b, updates)
    for name in params:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-4, atol=1e-6)


def test_the_first_adam_step_is_a_sign_to_seven_digits():
    """1 - 0.999^1 taken literally in float32 is 1.3e-5 off; eps is small beside this gradient."""
    optimiser = build_optimiser("adamw", learning_rate=1.0, weight_decay=0.0)
    params = {"w": jnp.zeros(4)}
    updates, _ = optimiser.update(
        {"w": jnp.array([3.0, -0.5, 20.0, -7.0])}, optimiser.init(params), params, step=0
    )
    np.testing.assert_allclose(updates["w"], [-1, 1, -1, 1], rtol=3e-7)


def test_freezing_is_not_a_gradient_of_zero():
    """Reference 1.7: 1.0 with rate 0.1 after four frozen steps and a real one is 0.9."""
    optimiser = build_optimiser("adamw", learning_rate=0.1, weight_decay=0.0, freeze_steps=4)
    params = {"head.last_layer.weight_v": jnp.ones((1, 1)), "free": jnp.ones((1, 1))}
    state = optimiser.init(params)
    for step in range(5):
        grads = {
            "head.last_layer.weight_v": jnp.ones((1, 1)),
            "free": jnp.full((1, 1), step // 4.0),
        }
        updates, state = optimiser.update(grads, state, params, step=step)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params["head.last_layer.weight_v"], 0.9, rtol=1e-6)
    np.testing.assert_allclose(params["free"], 0.9455, atol=1e-4)
    assert state["head.last_layer.weight_v"]["count"] == 1
    assert state["free"]["count"] == 5


@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_tensor_keeps_every_bit_of_value_and_state(name):
    optimiser = build_optimiser(name, learning_rate=0.1, weight_decay=0.5, freeze_steps=3)
    start = params = tensors(0)
    initial = state = optimiser.init(params)
    step_of = jax.jit(optimiser.update)
    for step in range(4):
        updates, state = step_of(tensors(step + 1), state, params, step=jnp.int32(step))
        params = optax.apply_updates(params, updates)
        for key in SHAPES:
            held = "last_layer" in key and step < 3
            assert np.array_equal(params[key], start[key]) == held, (key, step)
            for slot, value in state[key].items():
                assert np.array_equal(value, initial[key][slot]) == held, (key, slot, step)


@pytest.mark.parametrize("name", NAMES)
def test_a_fixed_gain_has_no_state_and_never_moves(name):
    optimiser = build_optimiser(
        name, learning_rate=0.1, weight_decay=0.5, trainable=optim.ALL_BUT_WEIGHT_G
    )
    params = tensors(0)
    state = optimiser.init(params)
    gain = "head.last_layer.weight_g"
    assert state.keys() == params.keys() - {gain}
    for step in range(2):
        updates, state = optimiser.update(tensors(step + 1), state, params, step=step)
        assert not updates[gain].any()
        assert updates["head.last_layer.weight_v"].all()
        assert updates.keys() == params.keys()


def test_the_state_has_the_same_form_before_and_after():
    for name in NAMES:
        optimiser = build_optimiser(name, learning_rate=0.1, weight_decay=0.1, freeze_steps=1)
        params = tensors(0)
        state = optimiser.init(params)
        _, after = optimiser.update(tensors(1), state, params, step=0)
        before = {(*path, x.shape, x.dtype) for path, x in jax.tree.leaves_with_path(state)}
        assert before == {(*path, x.shape, x.dtype) for path, x in jax.tree.leaves_with_path(after)}


def test_decay_is_for_tensors_of_rank_above_one_that_are_no_bias():
    assert {name for name, decays in decay_mask(tensors(0)).items() if decays} == DECAYED


@pytest.mark.parametrize("name", NAMES)
def test_without_a_gradient_only_the_decayed_move(name):
    optimiser = build_optimiser(name, learning_rate=0.1, weight_decay=0.5)
    params = tensors(0)
    still = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimiser.update(still, optimiser.init(params), params, step=0)
    assert {key for key, value in updates.items() if value.any()} == DECAYED
    factor = {"adamw": 0.05, "sgd": 0.05, "lars": 0.1 * 0.001}[name]
    for key in DECAYED:
        np.testing.assert_allclose(updates[key], -factor * params[key], rtol=1e-5)


def test_lars_leaves_the_step_where_a_norm_is_zero():
    optimiser = build_optimiser("lars", learning_rate=0.1, weight_decay=0.0)
    params = {"zero": jnp.zeros((2, 2)), "still": jnp.ones((2, 2)), "rank1": jnp.full(3, 5.0)}
    grads = {"zero": jnp.ones((2, 2)), "still": jnp.zeros((2, 2)), "rank1": jnp.ones(3)}
    updates, _ = optimiser.update(grads, optimiser.init(params), params, step=0)
    np.testing.assert_allclose(updates["zero"], -0.1, rtol=1e-6)
    np.testing.assert_array_equal(updates["still"], 0)
    np.testing.assert_allclose(updates["rank1"], -0.1, rtol=1e-6)


@pytest.mark.parametrize("max_norm", [0.05, 0.3, 3.0])
def test_each_tensor_is_clipped_by_its_own_norm(max_norm):
    grads = tensors(0)
    grads["backbone.norm.weight"] = jnp.zeros(8).at[0].set(max_norm / 2)
    clipped, _ = clip_per_tensor(max_norm).update(grads, optax.EmptyState())
    for name, value in grads.items():
        norm = float(np.linalg.norm(np.asarray(value, np.float64)))
        wanted = np.asarray(value, np.float64) * min(1.0, max_norm / (norm + 1e-6))
        np.testing.assert_allclose(clipped[name], wanted, rtol=1e-6)
        if max_norm / (norm + 1e-6) >= 1:
            assert np.array_equal(clipped[name], value)


@pytest.mark.parametrize("off", [None, 0, 0.0])
def test_the_clip_can_be_off(off):
    grads = tensors(0, 100.0)
    clipped, _ = clip_per_tensor(off).update(grads, optax.EmptyState())
    assert all(np.array_equal(clipped[name], grads[name]) for name in grads)


def test_rate_and_decay_are_read_at_the_step():
    optimiser = build_optimiser(
        "sgd",
        learning_rate=cosine(1.0, 0.0, steps=8, warmup_steps=2),
        weight_decay=cosine(0.0, 1.0, steps=8),
    )
    params = {"w": jnp.ones((2, 2))}
    for step in range(8):
        updates, _ = optimiser.update(
            {"w": jnp.ones((2, 2))}, optimiser.init(params), params, step=step
        )
        rate = cosine_values(1.0, 0.0, steps=8, warmup_steps=2)[step]
        decay = cosine_values(0.0, 1.0, steps=8)[step]
        np.testing.assert_allclose(updates["w"], -rate * (1 + decay), rtol=1e-5)


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ({"name": "adam"}, "adamw, sgd, lars"),
        ({"name": "sgd", "clip": -1.0}, "optim.clip"),
        ({"name": "sgd", "freeze_steps": -1}, "freeze"),
    ],
)
def test_a_mistake_is_one_line(mistake, said):
    with pytest.raises(UserError, match=said):
        build_optimiser(learning_rate=0.1, weight_decay=0.1, **mistake)


def test_the_parameters_must_be_handed_over():
    optimiser = build_optimiser("sgd", learning_rate=0.1, weight_decay=0.1)
    with pytest.raises(ValueError, match="needs the parameters"):
        optimiser.update(tensors(0), optimiser.init(tensors(0)), step=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("at", [0, 3])
def test_an_update_that_is_not_taken_changes_no_bit(name, at):
    """Whatever the gradient holds, at the first step too, where Adam's correction is 1 / 0."""
    optimiser = build_optimiser(name, learning_rate=0.1, weight_decay=0.4, clip=3.0)
    params, broken = tensors(0), tensors(1)
    broken["head.last_layer.weight_v"] = broken["head.last_layer.weight_v"].at[0, 0].set(jnp.nan)
    broken["backbone.cls_token"] = broken["backbone.cls_token"].at[0, 0, 0].set(jnp.inf)

    @jax.jit
    def step(grads, state, params, number, taken):
        updates, state = optimiser.update(grads, state, params, step=number, taken=taken)
        return optax.apply_updates(params, updates), state

    state = optimiser.init(params)
    for number in range(at):
        params, state = step(tensors(number + 1), state, params, number, True)
    after = step(broken, state, params, at, False)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, after, (params, state))))
    moved = step(tensors(9), state, params, at, True)
    plain, _ = optimiser.update(tensors(9), state, params, step=at)
    for key, value in optax.apply_updates(params, plain).items():
        np.testing.assert_allclose(moved[0][key], value, rtol=1e-6, atol=1e-7)
