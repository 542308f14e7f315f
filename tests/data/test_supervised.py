"""Labelled batches: their order, repeats and groups, what augmentation hangs on, bad images."""

import collections
import dataclasses
import itertools

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.data.crops import cut, draw_box
from dino_jax.data.randaugment import parse_policy
from dino_jax.data.randomness import Purpose, generator
from dino_jax.data.supervised import Augmentation, Repeated, jittered, supervised_batches
from tests.data.fakes import FakeSource
from tests.data.images import pixels

SEED, SIZE = 5, 8
AUGMENTED = Augmentation(SIZE, policy=parse_policy("rand-m9-mstd0.5-inc1"), jitter=0.2)


def batches(source: FakeSource, order: Repeated, start: int, stop: int, **options):
    labels = np.arange(len(source)) % 7
    asked = {"augmentation": AUGMENTED} | options
    augmentation = asked.pop("augmentation")
    return list(
        supervised_batches(
            source, labels, augmentation, order,
            seed=SEED, start_step=start, stop_step=stop, **asked,
        )
    )  # fmt: skip


def test_without_repeats_an_epoch_is_a_permutation() -> None:
    order = Repeated(20, 5, seed=1)
    assert order.steps_per_epoch == 4
    epochs = [np.concatenate([order.rows(4 * e + k)[1] for k in range(4)]) for e in range(2)]
    assert all(sorted(each) == list(range(20)) for each in epochs)
    assert not np.array_equal(*epochs)
    assert {order.rows(k)[0] for k in range(8)} == {0, 1}
    assert not any(order.rows(k)[2].any() for k in range(8))


def test_copies_of_an_image_are_in_one_batch_and_apart() -> None:
    """DeiT's sampler over four GPUs: the rank's rows are every fourth of the repeated order."""
    order = Repeated(48, 24, seed=1, repeats=3, groups=4)
    assert order.steps_per_epoch == 2
    seen = collections.Counter()
    for step in range(2):
        _, examples, copies = order.rows(step)
        assert set(collections.Counter(examples.tolist()).values()) == {3}
        assert len({*zip(examples.tolist(), copies.tolist(), strict=True)}) == 24
        for group in examples.reshape(4, 6):
            assert len(set(group.tolist())) == 6
        listed = np.empty(24, int)
        for rank, group in enumerate(examples.reshape(4, 6)):
            listed[rank::4] = group
        assert np.array_equal(listed, np.repeat(listed[::3], 3))
        seen.update(examples.tolist())
    assert len(seen) == 16  # an epoch sees a third of the images


def test_a_batch_larger_than_the_source_is_refused() -> None:
    with pytest.raises(UserError, match="fewer than one batch of 9"):
        Repeated(8, 9, seed=0)
    with pytest.raises(UserError, match="--repeats=0"):
        Repeated(8, 4, seed=0, repeats=0)


def test_a_later_start_gives_the_same_batches() -> None:
    order = Repeated(24, 8, seed=SEED, repeats=2, groups=2)
    whole = batches(FakeSource(24, sizes=5), order, 0, 7)
    rest = batches(FakeSource(24, sizes=5), order, 3, 7, threads=1)
    assert len(whole) == 7
    for one, other in zip(whole[3:], rest, strict=True):
        assert one.keys() == other.keys() == {
            "images", "label", "index", "epoch", "copy", "replaced"
        }  # fmt: skip
        for name, value in one.items():
            assert np.array_equal(value, other[name]), name
    assert whole[0]["images"].shape == (8, SIZE, SIZE, 3)
    assert np.array_equal(whole[4]["label"], whole[4]["index"] % 7)


def test_processes_share_a_batch() -> None:
    order = Repeated(24, 8, seed=SEED)
    (whole,) = batches(FakeSource(24), order, 1, 2)
    parts = [batches(FakeSource(24), order, 1, 2, process=(k, 2))[0] for k in range(2)]
    for name, value in whole.items():
        assert np.array_equal(np.concatenate([part[name] for part in parts]), value)


def test_copies_and_epochs_are_augmented_in_other_ways() -> None:
    image = pixels(0, (40, 50, 3))
    variants = [
        AUGMENTED(image, SEED, e, i, c) for e, i, c in itertools.product(range(2), repeat=3)
    ]
    assert all(not np.array_equal(a, b) for a, b in itertools.combinations(variants, 2))
    assert np.array_equal(AUGMENTED(image, SEED, 1, 1, 0), variants[6])


def test_without_colour_an_image_is_its_crop() -> None:
    image = pixels(0, (40, 50, 3))
    plain = Augmentation(SIZE, scale=(0.3, 0.6), flip_probability=1.0)
    where = generator(SEED, 2, 3, 1, Purpose.GEOMETRY)
    box = draw_box(where, 40, 50, scale=(0.3, 0.6), ratio=(3 / 4, 4 / 3), flip_probability=1.0)
    assert np.array_equal(plain(image, SEED, 2, 3, 1), cut(image, [box], SIZE)[0])
    assert box.flip
    still = dataclasses.replace(plain, flip_probability=0.0)
    assert np.array_equal(still(image, SEED, 2, 3, 1)[:, ::-1], plain(image, SEED, 2, 3, 1))


def test_jitter_stays_within_its_strength() -> None:
    grey = np.full((4, 4, 3), 100, np.uint8)  # which only brightness changes
    levels = [int(jittered(grey, np.random.default_rng(k), 0.4)[0, 0, 0]) for k in range(200)]
    assert 60 <= min(levels) < 66
    assert 134 < max(levels) <= 140
    assert np.array_equal(jittered(grey, np.random.default_rng(0), 0.0), grey)


def test_a_damaged_image_is_stood_in_for_with_the_label_of_the_other() -> None:
    source = FakeSource(12, damaged={4})
    found = batches(source, Repeated(12, 12, seed=0), 0, 1)[0]
    place = np.flatnonzero(found["replaced"] >= 0)
    assert found["replaced"][place].tolist() == [4]
    assert found["index"][place].tolist() == [5]
    assert found["label"][place].tolist() == [5]


def test_randaugment_needs_colour() -> None:
    grey = FakeSource(8, channels=1)
    with pytest.raises(UserError, match="1 channels: --randaugment=none"):
        batches(grey, Repeated(8, 4, seed=0), 0, 1)
    plain = Augmentation(SIZE, jitter=0.3)
    assert batches(grey, Repeated(8, 4, seed=0), 0, 1, augmentation=plain)[0]["images"].shape == (
        4, SIZE, SIZE, 1
    )  # fmt: skip


def test_closing_stops_the_threads() -> None:
    stream = supervised_batches(
        FakeSource(24), np.zeros(24, int), AUGMENTED, Repeated(24, 8, seed=0),
        seed=0, start_step=0, stop_step=1000,
    )  # fmt: skip
    next(stream)
    stream.close()
    with pytest.raises(StopIteration):
        next(stream)
