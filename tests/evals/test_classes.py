"""Classes matched by name, and the splits of labelled examples."""

import logging

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.data.holdout import Subset
from dino_jax.evals.classes import (
    announce,
    folds,
    hold_out,
    matched,
    members_of,
    open_labelled,
)
from tests.evals.sources import Coloured

LABELS = np.repeat([0, 1, 2, 3], [50, 30, 1, 4])


def test_val_is_renumbered_by_the_names_of_the_classes():
    train, val = Coloured(6, class_names=("a", "b", "c")), Coloured(3, class_names=("c", "a", "b"))
    found = matched(train, val)
    np.testing.assert_array_equal(found.val_labels, [2, 0, 1])
    assert found.classes == ("a", "b", "c")
    assert found.notes == ()


def test_without_names_classes_go_by_number():
    found = matched(Coloured(6, named=False), Coloured(2, class_names=("x", "y")))
    np.testing.assert_array_equal(found.val_labels, [0, 1])
    assert found.classes == ("0", "1", "2")
    assert found.notes == ("coloured has no image of the class 2.",)


def test_a_name_without_images_is_no_class():
    """Neither one of val that train does not know, nor one of train that nothing shows."""
    train, val = Coloured(2), Coloured(2, class_names=("b", "a", "d"))
    found = matched(train, val)
    np.testing.assert_array_equal(found.val_labels, [1, 0])
    assert found.classes == ("a", "b", "c")
    assert found.notes == ()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("abc", "the class c"),
        ("abcde", "3 classes (c, d, e)"),
        ("abcdefg", "5 classes (c, d, e and 2 more)"),
    ],
)
def test_classes_that_val_lacks_are_noted_and_said_at_the_start(names, said, caplog):
    found = matched(Coloured(14, class_names=tuple(names)), Coloured(4, class_names=("b", "a")))
    assert found.notes == (f"coloured has no image of {said}.",)
    assert not caplog.records
    with caplog.at_level(logging.WARNING, "dino_jax"):
        announce(found)
    assert [record.getMessage() for record in caplog.records] == list(found.notes)


def test_of_images_split_off_from_the_others_all_is_noted_and_nothing_refused(caplog):
    """Nobody named them, so that no choice of folders can be wrong."""
    every = Coloured(7, class_names=("a", "b", "c", "d"))
    found = matched(Subset(every, np.array([0, 1, 2, 4, 5])), Subset(every, np.array([3, 6])))
    np.testing.assert_array_equal(found.val_labels, [3, 2])
    assert found.notes == (
        "All images of the class d are held out.",
        "The held-out part of coloured has no image of 2 classes (a, b).",
    )
    announce(found)
    assert not caplog.records


@pytest.mark.parametrize(
    ("train", "val", "said"),
    [
        (Coloured(6, class_names=("a", "b")), Coloured(6), "no image of the class 'c', and colo"),
        (Coloured(2), Coloured(6), "has no image of the class 'c'"),
        (Coloured(2), Coloured(6, named=False), "has no image of the class 'c'"),
        (Coloured(6, named=False), Coloured(4, class_names=tuple("abcd")), "of the class '3'"),
        (Coloured(6), Coloured(6, labelled=False), "has no labels"),
        (Coloured(6, labelled=False), Coloured(6), "has no labels"),
        (Coloured(4, class_names=("a",)), Coloured(4, class_names=("a",)), "has one class"),
    ],
)
def test_classes_that_cannot_be_matched_are_one_line(train, val, said):
    with pytest.raises(UserError, match=said) as error:
        matched(train, val)
    assert "\n" not in str(error.value)


def test_one_class_may_do():
    one = Coloured(4, class_names=("a",))
    assert matched(one, one, fewest=1).classes == ("a",)


def test_val_has_to_be_named():
    with pytest.raises(UserError, match="--val is missing"):
        open_labelled("folder:.", None, channels=3)


def test_a_share_of_every_class_is_held_out_and_never_all_of_it():
    kept, held = hold_out(LABELS, 0.2, seed=3)
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, held])), np.arange(85))
    np.testing.assert_array_equal(np.bincount(LABELS[held], minlength=4), [10, 6, 0, 1])
    again = hold_out(LABELS, 0.2, seed=3)[1]
    np.testing.assert_array_equal(held, again)
    assert not np.array_equal(held, hold_out(LABELS, 0.2, seed=4)[1])


def test_no_more_are_held_out_than_said():
    _, held = hold_out(np.repeat(np.arange(5), 100), 0.5, seed=0, most=20)
    assert len(held) == 20


def test_folds_are_a_partition_with_all_classes_in_each():
    parts = folds(LABELS, 3, seed=0)
    joined = np.sort(np.concatenate(parts))
    np.testing.assert_array_equal(joined, np.flatnonzero(LABELS != 2))
    for part in parts:
        counts = np.bincount(LABELS[part], minlength=4)
        assert 16 <= counts[0] <= 17
        assert counts[1] == 10
        assert 1 <= counts[3] <= 2


def test_members_are_those_of_the_class():
    for each, members in zip(range(4), members_of(LABELS, seed=0), strict=True):
        np.testing.assert_array_equal(np.sort(members), np.flatnonzero(each == LABELS))
