"""The loss against loops in float64, its symmetries, and the figures that tell of a collapse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.ops import losses
from dino_jax.ops.losses import LossTerms, pair_weights

# Compiled whole: eagerly, each operation is compiled alone, again for every shape.
dino_loss = jax.jit(losses.dino_loss)
diagnostics, summarise = jax.jit(losses.diagnostics), jax.jit(losses.summarise)
GRID = [(1, 0, 2), (3, 0, 5), (2, 1, 7), (5, 4, 64), (2, 8, 33), (3, 10, 16)]


def log_softmax64(x):
    x = np.asarray(x, np.float64)
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def loops(logits, targets, temperature):
    """Mean over the pairs v != c of the batch mean of the cross-entropy, one by one."""
    batch, crops, _ = logits.shape
    scaled = np.asarray(logits, np.float64) / temperature
    total, pairs = 0.0, 0
    for view in range(targets.shape[1]):
        for crop in range(crops):
            if crop == view:
                continue
            pairs += 1
            for b in range(batch):
                q = np.asarray(targets[b, view], np.float64)
                total += -np.sum(q * log_softmax64(scaled[b, crop])) / batch
    return total / pairs


def example(batch, local, prototypes, *, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    student = rng.normal(size=(batch, 2 + local, prototypes)) * scale
    teacher = rng.normal(size=(batch, 2, prototypes)) * 3
    targets = np.exp(log_softmax64(teacher))
    return jnp.asarray(student, jnp.float32), jnp.asarray(targets, jnp.float32)


@pytest.mark.parametrize(("batch", "local", "prototypes"), GRID)
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_loss_is_that_of_loops(batch, local, prototypes, temperature):
    student, targets = example(batch, local, prototypes)
    ours = dino_loss(student, targets, temperature=temperature)
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, loops(student, targets, temperature), rtol=2e-6)


def test_without_jit_it_is_the_same():
    student, targets = example(3, 2, 16)
    with jax.disable_jit():
        ours = losses.dino_loss(student, targets, temperature=0.1)
    np.testing.assert_allclose(ours, loops(student, targets, 0.1), rtol=2e-6)


@pytest.mark.parametrize(("batch", "local", "prototypes"), GRID)
def test_gradient_is_the_closed_form(batch, local, prototypes):
    student, targets = example(batch, local, prototypes)
    ours = jax.jit(jax.grad(losses.dino_loss))(student, targets, temperature=0.1)
    pairs = np.asarray(pair_weights(2, 2 + local), np.float64)
    q = np.asarray(targets, np.float64)
    p = np.exp(log_softmax64(np.asarray(student, np.float64) / 0.1))
    # d/dz of (sum q) lse(z) - <q, z>; what a target sums to, up to rounding, belongs to it.
    wanted = np.zeros(student.shape)
    for view in range(2):
        for crop in range(2 + local):
            mass = q[:, view].sum(axis=-1, keepdims=True)
            wanted[:, crop] += pairs[view, crop] * (mass * p[:, crop] - q[:, view])
    wanted /= 0.1 * batch * pairs.sum()
    assert np.linalg.norm(ours - wanted) <= 2e-6 * np.linalg.norm(wanted)


@pytest.mark.parametrize("local", [0, 8, 10])
def test_number_of_pairs(local):
    assert pair_weights(2, 2 + local).sum() == {0: 2, 8: 18, 10: 22}[local]


@pytest.mark.parametrize("local", [0, 3])
def test_swapping_the_views_leaves_the_loss(local):
    student, targets = example(4, local, 32)
    swapped = student.at[:, :2].set(student[:, 1::-1])
    loss = dino_loss(student, targets, temperature=0.1)
    np.testing.assert_allclose(
        dino_loss(swapped, targets[:, ::-1], temperature=0.1), loss, rtol=1e-6
    )
    # Swapping them for one network alone compares other images: the views are not all alike.
    assert abs(dino_loss(swapped, targets, temperature=0.1) - loss) > 1e-3


def test_order_of_local_crops_and_of_examples_does_not_matter():
    student, targets = example(4, 3, 32)
    loss = dino_loss(student, targets, temperature=0.1)
    shuffled = student[jnp.array([2, 0, 3, 1])][:, jnp.array([0, 1, 4, 2, 3])]
    again = dino_loss(shuffled, targets[jnp.array([2, 0, 3, 1])], temperature=0.1)
    np.testing.assert_allclose(again, loss, rtol=1e-6)


@pytest.mark.parametrize("local", [0, 2])
def test_huge_logits(local):
    student, targets = example(4, local, 64)
    student = 200 * jnp.tanh(student * 5)
    value_and_gradient = jax.jit(jax.value_and_grad(losses.dino_loss))
    ours, gradient = value_and_gradient(student, targets, temperature=0.1)
    np.testing.assert_allclose(ours, loops(student, targets, 0.1), rtol=1e-6)
    assert bool(jnp.isfinite(gradient).all())


def test_small_loss_of_huge_logits_keeps_its_digits():
    """Both at 200 / 0.1 on the same prototype: the loss is tiny, its terms are in the thousands."""
    student = jnp.zeros((2, 3, 8)).at[..., 0].set(200.0).at[..., 1].set(199.3)
    targets = jnp.zeros((2, 2, 8)).at[..., 0].set(1.0)
    gap = float(np.float32(200.0) - np.float32(199.3)) / 0.1
    ours = dino_loss(student, targets, temperature=0.1)
    np.testing.assert_allclose(ours, np.log1p(np.exp(-gap)), rtol=2e-4)
    assert float(ours) < 1e-3
    # The bound is that of a float32 sum near 1; the terms left as they are would lose it all.


def test_a_common_shift_of_the_logits_leaves_the_loss():
    student, targets = example(3, 2, 16)
    loss = dino_loss(student, targets, temperature=0.1)
    np.testing.assert_allclose(dino_loss(student + 64.0, targets, temperature=0.1), loss, rtol=1e-4)


def test_uniform_student_costs_the_logarithm_of_the_prototypes():
    _, targets = example(3, 2, 4096)
    loss = dino_loss(jnp.full((3, 4, 4096), 7.0), targets, temperature=0.1)
    np.testing.assert_allclose(loss, np.log(4096), rtol=1e-6)


def test_many_prototypes_are_summed_precisely():
    student, targets = example(2, 2, 65536, scale=0.3)
    ours = dino_loss(student, targets, temperature=0.1)
    np.testing.assert_allclose(ours, loops(student, targets, 0.1), rtol=2e-6)


def test_no_gradient_reaches_the_teacher():
    student, targets = example(3, 2, 16)
    gradient = jax.jit(jax.grad(losses.dino_loss, argnums=1))(student, targets, temperature=0.1)
    assert not gradient.any()


def test_no_gradient_flows_through_the_diagnostics():
    student, targets = example(3, 2, 16)
    gradients = jax.jit(jax.jacrev(losses.diagnostics))(student, targets, temperature=0.1)
    assert len(gradients) == 4
    for name, gradient in gradients.items():
        assert not gradient.any(), name


@pytest.mark.parametrize(("batch", "local", "prototypes"), GRID)
def test_diagnostics_are_those_of_loops(batch, local, prototypes):
    student, targets = example(batch, local, prototypes)
    q = np.asarray(targets, np.float64)
    p = log_softmax64(np.asarray(student, np.float64) / 0.1)
    entropy = -(q * np.log(q)).sum(axis=-1).mean()
    mean = q.reshape(-1, prototypes).mean(axis=0)
    marginal = -(mean * np.log(mean)).sum()
    divergences = [
        (q[:, v] * (np.log(q[:, v]) - p[:, c])).sum(axis=-1).mean()
        for v in range(2)
        for c in range(2 + local)
        if c != v
    ]
    wanted = {
        "teacher_entropy": entropy,
        "teacher_marginal_entropy": marginal,
        "assignment_information": marginal - entropy,
        "kl": np.mean(divergences),
    }
    ours = diagnostics(student, targets, temperature=0.1)
    assert ours.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(ours[name], value, rtol=3e-6, atol=1e-6, err_msg=name)


def test_a_student_equal_to_the_teacher_has_no_divergence():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(3, 1, 16)), jnp.float32)
    targets = jax.nn.softmax(jnp.repeat(logits, 2, axis=1) / 0.5)
    found = diagnostics(jnp.repeat(logits, 5, axis=1), targets, temperature=0.5)
    np.testing.assert_allclose(found["kl"], 0.0, atol=1e-6)


def test_diagnostics_of_the_three_extremes():
    student = jnp.zeros((4, 2, 4))
    one = jnp.zeros((4, 2, 4)).at[:, :, 1].set(1.0)
    spread = jnp.repeat(jnp.eye(4)[:, None, :], 2, axis=1)
    uniform = jnp.full((4, 2, 4), 0.25)
    for targets, entropy, marginal in (
        (one, 0.0, 0.0),  # every image on one prototype
        (spread, 0.0, np.log(4)),  # each image sure of its own
        (uniform, np.log(4), np.log(4)),
    ):
        found = diagnostics(student, targets, temperature=0.1)
        np.testing.assert_allclose(found["teacher_entropy"], entropy, atol=1e-6)
        np.testing.assert_allclose(found["teacher_marginal_entropy"], marginal, atol=1e-6)
        np.testing.assert_allclose(found["assignment_information"], marginal - entropy, atol=1e-6)
        np.testing.assert_allclose(found["kl"], np.log(4) - entropy, atol=1e-6)


def test_mean_over_micro_batches_is_that_of_the_batch():
    student, targets = example(8, 3, 32)

    @jax.jit
    def loss_terms(student, targets):
        loss = losses.dino_loss(student, targets, temperature=0.1)
        return losses.loss_terms(loss, targets)

    whole = loss_terms(student, targets)
    parts = [loss_terms(student[i : i + 2], targets[i : i + 2]) for i in range(0, 8, 2)]
    mean = LossTerms(*(jnp.stack(values).mean(axis=0) for values in zip(*parts, strict=True)))
    for one, other in zip(mean, whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)
    for name, value in summarise(mean).items():
        np.testing.assert_allclose(value, summarise(whole)[name], rtol=1e-5, err_msg=name)


def test_a_nan_is_not_hidden():
    student, targets = example(2, 1, 8)
    assert bool(jnp.isnan(dino_loss(student.at[0, 2, 3].set(jnp.nan), targets, temperature=0.1)))
