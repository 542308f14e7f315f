"""Centring: its closed form, what it must not change, and that another rule fits its place."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dino_jax.ops.targets import TargetRule, batch_mean, centring


def logits_of(seed, batch=6, prototypes=16, scale=3.0):
    draw = np.random.default_rng(seed).normal(size=(batch, 2, prototypes)) * scale
    return jnp.asarray(draw, jnp.float32)


def test_the_centre_starts_at_zero_in_the_shape_of_the_original():
    centre = centring().init(16)
    assert centre.shape == (1, 16)
    assert centre.dtype == jnp.float32
    assert not centre.any()
    assert centring().transform.init(jnp.ones(16)).shape == (1, 16)


@pytest.mark.parametrize("temperature", [0.04, 0.07, 1.0])
def test_targets_are_the_sharpened_softmax(temperature):
    logits, centre = logits_of(0), logits_of(1)[0, :1]
    x = (np.asarray(logits, np.float64) - np.asarray(centre, np.float64)[None]) / temperature
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    wanted = x / x.sum(axis=-1, keepdims=True)
    ours = jax.jit(centring().assign)(logits, centre, jnp.float32(temperature))
    assert np.linalg.norm(ours - wanted) <= 2e-5 * np.linalg.norm(wanted)
    np.testing.assert_allclose(ours.sum(axis=-1), 1.0, rtol=1e-6)


def test_no_gradient_reaches_the_teacher():
    rule = centring()

    def total(logits, centre):
        return jnp.square(rule.assign(logits, centre, 0.04)).sum() + batch_mean(logits).sum()

    gradients = jax.grad(total)(logits_of(0), rule.init(16))
    assert not gradients.any()


def test_the_centre_forgets_geometrically():
    rule, mean = centring(0.9), jnp.arange(16.0)
    centre = rule.init(16)
    for step in range(1, 8):
        passed, centre = rule.transform.update(mean, centre)
        np.testing.assert_array_equal(passed, mean)
        wanted = (1 - 0.9**step) * np.arange(16.0)[None]
        np.testing.assert_allclose(centre, wanted, rtol=1e-6)


@pytest.mark.parametrize(("momentum", "kept"), [(0.0, False), (1.0, True)])
def test_momentum_one_freezes_and_zero_forgets(momentum, kept):
    mean, centre = batch_mean(logits_of(0)), logits_of(1)[0, :1]
    _, after = centring(momentum).transform.update(mean, centre)
    np.testing.assert_array_equal(after, centre if kept else mean[None, :])


def test_the_mean_is_over_both_views_and_of_the_raw_logits():
    logits = logits_of(0)
    wanted = np.asarray(logits, np.float64).reshape(-1, 16).mean(axis=0)
    np.testing.assert_allclose(batch_mean(logits), wanted, rtol=1e-5, atol=1e-6)


def test_accumulating_micro_batches_is_one_batch():
    """Every micro-batch reads the old centre, and their mean moves it once."""
    rule, logits = centring(), logits_of(0, batch=8)
    centre = logits_of(1)[0, :1]
    whole = rule.assign(logits, centre, 0.04)
    parts = [rule.assign(logits[i : i + 2], centre, 0.04) for i in range(0, 8, 2)]
    np.testing.assert_allclose(jnp.concatenate(parts), whole, rtol=1e-6, atol=1e-9)
    mean = jnp.stack([batch_mean(logits[i : i + 2]) for i in range(0, 8, 2)]).mean(axis=0)
    _, once = rule.transform.update(mean, centre)
    _, wanted = rule.transform.update(batch_mean(logits), centre)
    np.testing.assert_allclose(once, wanted, rtol=1e-6, atol=1e-7)


def test_a_shift_of_all_teacher_logits_ends_in_the_centre():
    """What centring is for: a prototype that all images prefer alike is not told from another."""
    rule, logits = centring(0.0), logits_of(0)
    shifted = logits + 5.0 * jnp.arange(16.0)[None, None, :]
    _, centre = rule.transform.update(batch_mean(logits), rule.init(16))
    _, other = rule.transform.update(batch_mean(shifted), rule.init(16))
    np.testing.assert_allclose(
        rule.assign(shifted, other, 1.0), rule.assign(logits, centre, 1.0), rtol=1e-4
    )


def test_another_rule_fits_the_same_place():
    """A softmax over the batch (paper table 15) without memory, called as centring is."""

    def assign(logits, state, temperature):
        del state
        x = jax.nn.softmax(jax.lax.stop_gradient(logits) / temperature, axis=0)
        return x / x.sum(axis=-1, keepdims=True)

    identity = optax.with_extra_args_support(optax.identity())
    other = TargetRule(lambda prototypes: (), assign, identity)
    for rule in (centring(), other):
        state = rule.init(16)
        logits = logits_of(0)
        targets = rule.assign(logits, state, 0.1)
        mean, after = rule.transform.update(batch_mean(logits), state)
        assert targets.shape == logits.shape
        np.testing.assert_allclose(targets.sum(axis=-1), 1.0, rtol=1e-5)
        assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
        assert mean.shape == (16,)
