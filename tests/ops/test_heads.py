"""Several heads at once: each is what it would be alone, by torch's SGD in plain numpy."""

import jax
import jax.numpy as jnp
import numpy as np

from dino_jax.ops import heads

CLASSES, INPUTS, BATCH = 4, 6, 10
RATES = (0.01, 0.3, 2.0)


def batches(number, seed=0):
    random = np.random.default_rng(seed)
    return [
        (
            random.normal(size=(BATCH, INPUTS)).astype(np.float32),
            random.integers(0, CLASSES, BATCH),
        )
        for _ in range(number)
    ]


def trained(rates, data):
    state = heads.initial(jax.random.key(0), heads=len(rates), classes=CLASSES, inputs=INPUTS)
    losses = []
    for features, labels in data:
        state, loss = heads.step(
            state, jnp.asarray(features), jnp.asarray(labels), jnp.asarray(rates, jnp.float32)
        )
        losses.append(np.asarray(loss))
    return state, np.array(losses)


def by_numpy(weight, bias, rate, data):
    """SGD with momentum 0.9 as torch's documentation has it, in float64."""
    speeds = [np.zeros_like(weight), np.zeros_like(bias)]
    losses = []
    for features, labels in data:
        logits = features @ weight.T + bias
        chances = np.exp(logits - logits.max(1, keepdims=True))
        chances /= chances.sum(1, keepdims=True)
        losses.append(-np.log(chances[np.arange(BATCH), labels]).mean())
        error = (chances - np.eye(CLASSES)[labels]) / BATCH
        speeds = [0.9 * speeds[0] + error.T @ features, 0.9 * speeds[1] + error.sum(0)]
        weight, bias = weight - rate * speeds[0], bias - rate * speeds[1]
    return weight, bias, losses


def test_every_head_is_plain_sgd_with_its_own_rate():
    data = batches(8)
    first = heads.initial(jax.random.key(0), heads=3, classes=CLASSES, inputs=INPUTS)
    state, losses = trained(RATES, data)
    for number, rate in enumerate(RATES):
        weight = np.asarray(first.weight[number], np.float64)
        expected = by_numpy(weight, np.zeros(CLASSES), rate, data)
        np.testing.assert_allclose(state.weight[number], expected[0], atol=2e-5)
        np.testing.assert_allclose(state.bias[number], expected[1], atol=2e-5)
        np.testing.assert_allclose(losses[:, number], expected[2], atol=2e-5)


def test_a_head_does_not_know_of_the_others_even_of_one_that_diverges():
    data = batches(6)
    alone, _ = trained(RATES[:1], data)
    beside, _ = trained((RATES[0], 3e38), data)
    assert not np.isfinite(beside.weight[1]).all()
    np.testing.assert_allclose(alone.weight[0], beside.weight[0], atol=1e-7)


def test_heads_begin_equal_with_the_references_spread():
    state = heads.initial(jax.random.key(1), heads=2, classes=100, inputs=200)
    np.testing.assert_array_equal(state.weight[0], state.weight[1])
    assert abs(float(state.weight.std()) - 0.01) < 3e-4
    assert abs(float(state.weight.mean())) < 3e-4
    assert not state.bias.any()
    assert not state.weight_speed.any()
    assert not state.bias_speed.any()
