"""The loop of the heads: its schedule, its state on disk, and interruption without a trace."""

import logging
import math
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.evals.linear.batches import cached_batches
from dino_jax.evals.linear.state import Keeper, beginning
from dino_jax.evals.linear.training import Course, train
from dino_jax.interrupt import Interrupted
from dino_jax.ops import heads

CLASSES, INPUTS, NUMBER, BATCH, EPOCHS = 3, 5, 40, 16, 4
RATES = (0.5, 5.0)
COURSE = Course(RATES, EPOCHS, NUMBER // BATCH, BATCH)
RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, CLASSES, NUMBER)
ROWS = (RANDOM.normal(size=(NUMBER, INPUTS)) + np.eye(INPUTS)[LABELS]).astype(np.float32)
REQUEST = {"weights": "these", "seed": 0}


def first():
    key = jax.random.key(0)
    return beginning(heads.initial(key, heads=2, classes=CLASSES, inputs=INPUTS), EPOCHS)


def batches(signal_at=None):
    """Batches of which one is followed by a signal, as from a shell."""
    made = cached_batches(ROWS, LABELS, batch=BATCH, seed=0)

    def arriving(start, stop):
        for number, each in enumerate(made(start, stop), start=start):
            if number == signal_at:
                os.kill(os.getpid(), signal.SIGTERM)
            yield each

    return arriving


def score(state):
    """Any figure that goes up and down: the share right on the first ten rows."""
    logits = heads.logits(state.weight[0], state.bias[0], jnp.asarray(ROWS[:10]))
    return 100 * float(np.mean(np.asarray(logits).argmax(1) == LABELS[:10]))


def same(one, other):
    for mine, theirs in zip(one.heads, other.heads, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for name in ("step", "losses", "top1", "best_weight", "best_bias"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_rates_are_those_of_cosine_annealing_by_epoch():
    course = Course((0.001, 0.1), 100, 10, 1024)
    np.testing.assert_allclose(course.of_epoch(0), [0.004, 0.4], rtol=1e-6)
    np.testing.assert_allclose(course.of_epoch(50), [0.002, 0.2], rtol=1e-6)
    last = (1 + math.cos(0.99 * math.pi)) / 2
    np.testing.assert_allclose(course.of_epoch(99), [0.004 * last, 0.4 * last], rtol=1e-5)


@pytest.mark.parametrize("at", [0, 3, 6])
def test_interrupted_and_gone_on_with_it_is_bit_for_bit_the_same(tmp_path, at):
    whole = train(COURSE, first(), batches(), Keeper(None, REQUEST), score=score)
    keeper = Keeper(tmp_path, REQUEST)
    with pytest.raises(Interrupted) as stopped:
        train(COURSE, first(), batches(at), keeper, score=score)
    assert stopped.value.saved == str(keeper.path)
    kept = Keeper(tmp_path, REQUEST).load()
    assert kept.step == at + 1
    same(train(COURSE, kept, batches(), keeper, score=score), whole)
    assert whole.losses[-1, 0] < whole.losses[0, 0]


def test_a_finished_run_is_not_trained_again(tmp_path):
    keeper = Keeper(tmp_path, REQUEST)
    done = train(COURSE, first(), batches(), keeper)

    def none(start, stop):
        assert start == stop
        yield from ()

    same(train(COURSE, keeper.load(), none, keeper), done)


def test_without_a_folder_an_interruption_says_that_nothing_is_kept():
    with pytest.raises(Interrupted, match="without --out"):
        train(COURSE, first(), batches(1), Keeper(None, REQUEST))


def test_the_best_epoch_is_kept_the_first_of_equal_ones():
    seen = []
    figures = iter([20.0, 50.0, 50.0, 30.0])

    def given(state):
        seen.append(np.asarray(state.weight[0]))
        return next(figures)

    done = train(COURSE, first(), batches(), Keeper(None, REQUEST), score=given)
    np.testing.assert_array_equal(done.top1, [20, 50, 50, 30])
    np.testing.assert_array_equal(done.best_weight, seen[1])


def test_another_request_does_not_go_on_from_this_state(tmp_path):
    Keeper(tmp_path, REQUEST).save(first())
    assert Keeper(tmp_path, REQUEST).load() is not None
    other = Keeper(tmp_path, {**REQUEST, "seed": 1})
    assert other.load() is None
    other.path.write_bytes(Keeper(tmp_path, REQUEST).path.read_bytes())
    assert other.load() is None


def test_a_damaged_state_is_told_and_begun_anew(tmp_path, caplog):
    keeper = Keeper(tmp_path, REQUEST)
    keeper.save(first())
    content = keeper.path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"nothing of ours"):
        keeper.path.write_bytes(damaged)
        with caplog.at_level(logging.WARNING):
            assert keeper.load() is None
        assert "training begins anew" in caplog.text
        caplog.clear()
    assert [path.name for path in tmp_path.iterdir()] == [keeper.path.name]


def test_cached_batches_are_each_example_once_an_epoch_in_another_order():
    data = cached_batches(
        np.arange(12.0).reshape(12, 1).repeat(2, 1), np.arange(12), batch=4, seed=0
    )
    epochs = [np.concatenate([labels for _, labels in data(s, s + 3)]) for s in (0, 3)]
    for labels in epochs:
        np.testing.assert_array_equal(np.sort(labels), np.arange(12))
    assert not np.array_equal(*epochs)
    for features, labels in data(1, 2):
        np.testing.assert_array_equal(features[:, 0], labels)
