"""The layout of Copydays by the paths of its images, and what is not laid out so."""

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.evals.instances.copydays import by_original, copydays, mean_over_queries
from tests.shared import unpacked

NAMES = [
    "original/200100.jpg", "original/200000.jpg", "crops/50/200100.jpg", "strong/200002.jpg",
    "strong/200001.jpg", "crops/10/200000.jpg", "jpegqual/5/200100.jpg", "README.jpg",
    "strong/200199.png",
]  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "copydays/", "data/x/"])
def test_images_are_sorted_by_folder_and_number(prefix):
    layout = copydays([prefix + name for name in NAMES], "data")
    assert layout.originals == (1, 0)
    assert layout.attacks == {
        "strong": (4, 3, 8),
        "jpegqual/5": (6,),
        "crops/10": (5,),
        "crops/50": (2,),
        "original": (1, 0),
    }
    assert next(iter(layout.attacks)) == "strong"
    assert layout.positives == {
        1: (0,), 0: (1,), 4: (0,), 3: (0,), 8: (1,), 6: (1,), 5: (0,), 2: (1,)
    }  # fmt: skip
    assert not layout.full


def test_the_benchmark_s_own_numbers_pair_every_copy_with_the_original_of_its_place():
    originals = [f"{block}00.jpg" for block in range(2000, 2157)]
    strong = [f"{2000 + k % 157}{1 + k // 157:02d}.jpg" for k in range(229)]
    names = [f"original/{name}" for name in originals]
    names += [f"strong/{name}" for name in strong]
    names += [f"jpegqual/{q}/{name}" for q in (3, 75) for name in originals]
    layout = copydays(names, "data")
    assert layout.full
    for attack in ("jpegqual/3", "jpegqual/75", "original"):
        # The original's script pairs them by their places in the sorted folders.
        places = [layout.positives[number] for number in layout.attacks[attack]]
        assert places == [(place,) for place in range(157)]
    for number in layout.attacks["strong"]:
        # And the strong ones by the first four digits.
        (place,) = layout.positives[number]
        assert names[number].split("/")[1][:4] == originals[place][:4]


def test_several_originals_of_one_number_are_all_positives():
    layout = copydays(["original/200000.jpg", "original/200001.jpg", "strong/200002.jpg"], "data")
    assert layout.positives[2] == (0, 1)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], "data has no images in original/; expected"),
        (["a.jpg", "images/b.jpg"], "data has no images in original/"),
        (["strong/200001.jpg"], "data has no images in original/"),
        (["copydays_original/200000.jpg"], "data has no images in original/"),
        (["original/200000.jpg"], "data has originals but no attacks"),
        (["original/200000.jpg", "jpegqual/200000.jpg"], "data has originals but no attacks"),
        (["original/one.jpg", "strong/200001.jpg"], r"original/one\.jpg is not named by a number"),
        (["original/200000.jpg", "strong/²3.jpg"], r"²3\.jpg is not named by a number"),
        (
            ["original/200000.jpg", "strong/200101.jpg"],
            r"strong/200101\.jpg has no original: .* from 200100 to 200199",
        ),
    ],
)
def test_another_layout_is_one_line(names, expected):
    with pytest.raises(UserError, match=expected) as error:
        copydays(names, "data")
    assert "\n" not in str(error.value)


def test_copies_are_summed_by_original_and_averaged_over_queries():
    layout = copydays(NAMES, "data")
    precision = {4: 1.0, 3: 0.5, 8: 0.0}
    units = by_original(precision, layout, layout.attacks["strong"])
    np.testing.assert_array_equal(units, [[1.5, 2], [0.0, 1]])
    assert mean_over_queries(units) == pytest.approx(50)
    assert mean_over_queries(units[[1, 1]]) == 0


def test_the_shared_folder_is_laid_out_as_told():
    folder = unpacked("copydays_like.tar") / "copydays_like"
    names = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*.jpg"))]
    layout = copydays(names, "data")
    counts = {name: len(numbers) for name, numbers in layout.attacks.items()}
    assert (counts["original"], counts["strong"]) == (30, 90)
    assert sum(counts.values()) == 300
