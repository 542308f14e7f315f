"""The streamed loss against the form that writes the logits out, in value, gradient and memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.memory import TEMPERATURE
from benchmarks.memory import written_out as straightforward
from dino_jax.ops import losses
from dino_jax.ops.streaming import CHUNK, LARGEST_WHOLE, chunk_of, streamed_loss
from dino_jax.types import Prototypes
from tests import golden

GRID = [  # batch, local crops, prototypes, chunk
    (3, 8, 96, None),
    (3, 8, 96, 32),
    (2, 10, 96, 40),
    (3, 0, 70, 7),
    (2, 3, 50, 1),
    (1, 2, 50, 49),
    (2, 3, 50, 999),
]


def example(batch, local, prototypes, *, width=16, seed=0):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(batch, 2 + local, width))
    embeddings /= np.linalg.norm(embeddings, axis=-1, keepdims=True)
    last = Prototypes(
        jnp.asarray(rng.normal(size=(prototypes, width)), jnp.float32),
        jnp.asarray(rng.uniform(0.5, 2, size=(prototypes, 1)), jnp.float32),
    )
    targets = jax.nn.softmax(jnp.asarray(rng.normal(size=(batch, 2, prototypes)) * 3, jnp.float32))
    return jnp.asarray(embeddings, jnp.float32), last, targets


def of_logits(logits):
    """Embeddings and prototypes whose logits are these, exactly."""
    count = logits.shape[-1]
    return logits, Prototypes(jnp.eye(count), jnp.ones((count, 1)))


@functools.partial(jax.jit, static_argnames="chunk")
def ours(embeddings, prototypes, targets, chunk=None):
    loss = functools.partial(streamed_loss, temperature=TEMPERATURE, chunk=chunk)
    return jax.value_and_grad(loss, argnums=(0, 1))(embeddings, prototypes, targets)


@pytest.mark.parametrize(("batch", "local", "prototypes", "chunk"), GRID)
def test_loss_and_gradients_are_those_of_the_written_out_form(batch, local, prototypes, chunk):
    arguments = example(batch, local, prototypes)
    loss, gradients = ours(*arguments, chunk=chunk)
    wanted, goals = jax.jit(jax.value_and_grad(straightforward, argnums=(0, 1)))(*arguments)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)
    for found, goal in zip(jax.tree.leaves(gradients), jax.tree.leaves(goals), strict=True):
        assert golden.relative_error(found, goal) <= 1e-6


@pytest.mark.parametrize("chunk", [None, 4096, 10000])
def test_gradients_at_full_size(chunk):
    arguments = example(4, 8, 65536, width=256)
    _, gradients = ours(*arguments, chunk=chunk)
    _, goals = jax.jit(jax.value_and_grad(straightforward, argnums=(0, 1)))(*arguments)
    for found, goal in zip(jax.tree.leaves(gradients), jax.tree.leaves(goals), strict=True):
        assert golden.relative_error(found, goal) <= 1e-6


@pytest.mark.parametrize("chunk", [None, 5, 16])
def test_without_jit_it_is_the_same(chunk):
    arguments = example(2, 2, 32)
    with jax.disable_jit():
        found = streamed_loss(*arguments, temperature=TEMPERATURE, chunk=chunk)
    np.testing.assert_allclose(found, straightforward(*arguments), rtol=1e-6)


@pytest.mark.parametrize("chunk", [None, 3, 16])
@pytest.mark.parametrize("local", [0, 2])
def test_huge_logits(local, chunk):
    """At 200 / 0.1 nothing overflows, whichever chunk holds the largest."""
    _, _, targets = example(4, local, 64)
    rng = np.random.default_rng(1)
    logits = jnp.asarray(200 * np.tanh(rng.normal(size=(4, 2 + local, 64)) * 5), jnp.float32)
    loss, (gradient, _) = ours(*of_logits(logits), targets, chunk=chunk)
    plain = jax.jit(jax.value_and_grad(losses.dino_loss))
    wanted, goal = plain(logits, targets, temperature=TEMPERATURE)
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)
    assert golden.relative_error(gradient, goal) <= 1e-6


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("chunk", [None, 1, 3])
def test_small_loss_of_huge_logits_keeps_its_digits(chunk, order):
    """The loss is tiny, its terms are in the thousands; the peak comes first or last."""
    logits = jnp.full((2, 3, 8), -180.0).at[..., 0].set(200.0).at[..., 1].set(199.3)[..., ::order]
    targets = jnp.zeros((2, 2, 8)).at[..., 0].set(1.0)[..., ::order]
    gap = float(np.float32(200.0) - np.float32(199.3)) / TEMPERATURE
    loss, _ = ours(*of_logits(logits), targets, chunk=chunk)
    np.testing.assert_allclose(loss, np.log1p(np.exp(-gap)), rtol=3e-4)
    assert float(loss) < 1e-3


def test_the_gradient_is_linear_in_what_comes_back():
    arguments = example(2, 2, 32)
    _, gradients = ours(*arguments, chunk=10)
    loss = functools.partial(streamed_loss, temperature=TEMPERATURE, chunk=10)
    thrice = jax.jit(jax.grad(lambda *a: 3 * loss(*a), argnums=(0, 1)))(*arguments)
    for found, goal in zip(jax.tree.leaves(thrice), jax.tree.leaves(gradients), strict=True):
        assert golden.relative_error(found, 3 * goal) <= 1e-6


def test_no_gradient_reaches_the_teacher():
    loss = functools.partial(streamed_loss, temperature=TEMPERATURE, chunk=10)
    assert not jax.jit(jax.grad(loss, argnums=2))(*example(2, 2, 32)).any()


@pytest.mark.parametrize("chunk", [None, 10])
def test_a_nan_is_not_hidden(chunk):
    embeddings, prototypes, targets = example(2, 2, 32)
    loss, _ = ours(embeddings.at[1, 2, 3].set(jnp.nan), prototypes, targets, chunk=chunk)
    assert bool(jnp.isnan(loss))


def test_a_gradient_at_right_angles_to_each_direction():
    """The length of a direction does not enter, so no gradient changes it."""
    embeddings, prototypes, targets = example(3, 2, 32)
    _, (_, gradient) = ours(embeddings, prototypes, targets, chunk=10)
    along = (gradient.direction * prototypes.direction).sum(axis=1)
    assert float(jnp.abs(along).max()) <= 1e-5 * float(jnp.linalg.norm(gradient.direction))
    longer = Prototypes(3 * prototypes.direction, prototypes.scale)
    np.testing.assert_allclose(
        ours(embeddings, longer, targets, chunk=10)[0],
        ours(embeddings, prototypes, targets, chunk=10)[0],
        rtol=1e-6,
    )


def test_the_chunk_by_the_number_of_prototypes():
    assert chunk_of(LARGEST_WHOLE, None) == LARGEST_WHOLE
    assert chunk_of(LARGEST_WHOLE + 1, None) == CHUNK
    assert chunk_of(1024, None) == chunk_of(1024, 5000) == 1024
    assert chunk_of(65536, 100) == 100


def test_memory_is_a_fifth_of_the_written_out_form_s():
    """At batch 64, 65,536 prototypes and ten crops: temporaries of the loss and its gradient."""

    def temporaries(loss):
        shape = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
        count, width = 65536, 256
        compiled = (
            jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
            .lower(
                shape((64, 10, width)),
                Prototypes(shape((count, width)), shape((count, 1))),
                shape((64, 2, count)),
            )
            .compile()
        )
        return compiled.memory_analysis().temp_size_in_bytes

    streamed = temporaries(functools.partial(streamed_loss, temperature=TEMPERATURE))
    assert streamed <= temporaries(straightforward) / 5
