import pickle

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.data.order import Order


def epoch_of(order: Order, epoch: int) -> np.ndarray:
    steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
    rows = [order.rows(step) for step in steps]
    assert {row.epoch for row in rows} == {epoch}
    return np.concatenate([row.examples for row in rows])


@pytest.mark.parametrize(("length", "batch"), [(10, 3), (13, 3), (5, 5), (8, 1)])
def test_an_epoch_shows_every_example_at_most_once(length: int, batch: int) -> None:
    order = Order(length, batch, seed=0)
    assert order.steps_per_epoch == length // batch
    for epoch in range(3):
        examples = epoch_of(order, epoch)
        assert len(examples) == length // batch * batch
        assert len(set(examples)) == len(examples)
        assert set(examples) <= set(range(length))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [epoch_of(Order(40, 8, seed), epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_steps_may_be_asked_in_any_order() -> None:
    forward, backward = Order(50, 6, 3), Order(50, 6, 3)
    expected = [forward.rows(step).examples for step in range(60)]
    for step in reversed(range(60)):
        np.testing.assert_array_equal(backward.rows(step).examples, expected[step])


def test_rows_of_processes_make_up_the_global_batch() -> None:
    order = Order(50, 6, 3)
    parts = [order.rows(11, first, first + 2).examples for first in (0, 2, 4)]
    np.testing.assert_array_equal(np.concatenate(parts), order.rows(11).examples)


def test_a_copy_goes_on_alike() -> None:
    order = Order(50, 6, 3)
    order.rows(0)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(order)).rows(9).examples, order.rows(9).examples
    )


def test_fewer_images_than_a_batch_are_the_users_mistake() -> None:
    with pytest.raises(UserError, match=r"^7 images are fewer than one batch of 8; set batch_size"):
        Order(7, 8, seed=0)
