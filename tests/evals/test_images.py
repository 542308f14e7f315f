"""Held-out images: decoded once, without those that cannot be read; the fixed choice of them."""

import functools
import logging

import numpy as np

from dino_jax.data.evaluation import eval_batches
from dino_jax.evals.images import HeldOut, split
from tests.evals.sources import Coloured


def held_out(source, **options):
    wanted = np.arange(len(source))
    return HeldOut(
        functools.partial(eval_batches, source, wanted, size=16, batch_size=4), **options
    )


def test_unreadable_images_leave_no_row(caplog):
    source = Coloured(10, damaged=(2, 8, 9))
    with caplog.at_level(logging.WARNING):
        batches = list(held_out(source))
    assert "image 2" in caplog.text
    assert [len(batch["images"]) for batch in batches] == [3, 4]
    np.testing.assert_array_equal(
        np.concatenate([b["index"] for b in batches]), [0, 1, 3, 4, 5, 6, 7]
    )
    assert held_out(source).images().shape == (7, 16, 16, 3)


def test_each_image_is_decoded_once_where_all_fit():
    source = Coloured(10, damaged=(5,))
    images = held_out(source)
    first = [batch["images"] for batch in images]
    np.testing.assert_array_equal(images.index, [0, 1, 2, 3, 4, 6, 7, 8, 9])
    second = [batch["images"] for batch in images]
    assert source.loads == 10
    np.testing.assert_array_equal(np.concatenate(first), np.concatenate(second))


def test_and_at_every_pass_where_they_do_not():
    source = Coloured(10)
    images = held_out(source, kept_bytes=5 * 16 * 16 * 3)
    np.testing.assert_array_equal(images.images(), images.images())
    assert source.loads == 20
    assert len(images.index) == 10
    assert source.loads == 20


def test_a_pass_given_up_halfway_keeps_nothing():
    images = held_out(Coloured(10))
    next(iter(images))
    assert len(images.images()) == 10


def test_the_choice_is_that_of_the_stored_runs_of_the_original():
    random = np.random.RandomState(0)
    bank, queries = split(Coloured(40), Coloured(30), bank_size=10, query_size=5)
    np.testing.assert_array_equal(bank, random.permutation(40)[:10])
    np.testing.assert_array_equal(queries, random.permutation(30)[:5])
    bank, queries = split(Coloured(40), Coloured(30), bank_size=None, query_size=99)
    assert sorted(bank) == list(range(40))
    assert sorted(queries) == list(range(30))
