"""Which labels are used: balanced parts, lists of names, and parts held out in turn."""

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.evals.logistic.fitting import Targets
from dino_jax.evals.logistic.subsets import FEW, balanced, held_out_parts, listed, share
from tests.evals.sources import Coloured

LABELS = np.repeat([0, 1, 2], [200, 100, 3])


def test_a_part_has_its_share_of_every_class_and_lies_in_the_larger_ones():
    small, middle, whole = (balanced(LABELS, each, seed=5) for each in (1, 10, 100))
    np.testing.assert_array_equal(np.bincount(LABELS[small]), [2, 1, 1])
    np.testing.assert_array_equal(np.bincount(LABELS[middle]), [20, 10, 1])
    np.testing.assert_array_equal(whole, np.arange(303))
    assert set(small) < set(middle) < set(whole)
    np.testing.assert_array_equal(balanced(LABELS, 10, seed=5), middle)
    assert not np.array_equal(balanced(LABELS, 10, seed=6), middle)


def test_a_share_of_images_with_several_labels():
    small, middle = share(50, 10, seed=0), share(50, 50, seed=0)
    assert (len(small), len(middle)) == (5, 25)
    assert set(small) < set(middle)
    np.testing.assert_array_equal(share(50, 100, seed=0), np.arange(50))
    assert len(share(50, 0.1, seed=0)) == 1


def test_few_examples_are_held_out_in_turn_and_many_once():
    one, several = Targets(LABELS, 3), Targets(np.ones((303, 2), bool), 2)
    for targets in (one, several):
        parts = held_out_parts(targets, 0.2, seed=0)
        assert len(parts) == 5
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(303))
    for targets in (Targets(np.arange(FEW + 1) % 7, 7), Targets(np.ones((FEW + 1, 2), bool), 2)):
        (part,) = held_out_parts(targets, 0.2, seed=0)
        assert abs(len(part) - FEW / 5) <= 5


def test_one_image_to_a_class_is_too_few():
    with pytest.raises(UserError, match="3 labelled images are too few"):
        held_out_parts(Targets(np.array([0, 1, 2]), 3), 0.2, seed=0)
    assert len(held_out_parts(Targets(np.array([0, 1, 2, 2]), 3), 0.2, seed=0)) == 2


class Named(Coloured):
    """Images in folders, two of which have the same file name."""

    def name(self, index):
        return ("a/1.png", "b/1.png", "b/2.png", "c/3.png")[index]


def test_a_list_names_files_or_paths(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("3.png\n\n  2.png\nb/1.png\n3.png\n")
    np.testing.assert_array_equal(listed(str(path), Named(4)), [1, 2, 3])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"4.png\n", "names '4.png', which coloured has not"),
        (b"1.png\n", "names '1.png', which 2 images of coloured have: give their paths"),
        (b" \n\n", "names no images"),
        (b"\xff\xfe\x00", "cannot be read: it is not text"),
    ],
)
def test_a_list_that_fits_no_images_is_one_line(tmp_path, content, said):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said) as error:
        listed(str(path), Named(4))
    assert "\n" not in str(error.value)


def test_a_list_that_is_absent_is_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        listed(str(tmp_path / "none.txt"), Named(4))
