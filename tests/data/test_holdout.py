"""What is held out of a training set, and what the images are like."""

import logging
import pathlib

import numpy as np
import pytest

from dino_jax.config import CropsConfig, UserError
from dino_jax.data.evaluation import eval_batches, view_batches
from dino_jax.data.holdout import MOST, Subset, train_and_held_out
from dino_jax.data.survey import LOOKED_AT, median_short_side
from tests.data.fakes import FakeSource
from tests.data.images import encoded, pixels, write_folder


def folder(root: pathlib.Path, number: int, *, classes: int = 0) -> str:
    files = {}
    for i in range(number):
        place = f"class{i % classes}/" if classes else ""
        files[f"{place}{i:05}.png"] = encoded(pixels(i, (4, 5, 3)))
    return f"folder:{write_folder(root, files)}"


def names(source: Subset) -> list[str]:
    return [source.name(i) for i in range(len(source))]


@pytest.mark.parametrize(("number", "held"), [(2, 1), (20, 1), (39, 1), (40, 2), (200, 10)])
def test_one_in_twenty_is_held_out_and_none_is_in_both(
    tmp_path: pathlib.Path, number: int, held: int
) -> None:
    train, held_out = train_and_held_out(folder(tmp_path, number), None, channels=3)
    assert (len(train), len(held_out)) == (number - held, held)
    both = names(train) + names(held_out)
    assert sorted(both) == sorted(set(both))
    assert len(both) == number
    again, _ = train_and_held_out(folder(tmp_path, number), None, channels=3)
    assert names(again) == names(train)


def test_at_most_so_many_are_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dino_jax.data.holdout.open_source", lambda *_, **__: FakeSource(30_000))
    train, held_out = train_and_held_out("fake", None, channels=3)
    assert (len(train), len(held_out)) == (29_500, MOST)
    places = [int(held_out.name(i).split()[1]) for i in range(MOST)]
    assert np.ptp(np.diff(places)) <= 1


def test_a_subset_shows_its_source(tmp_path: pathlib.Path) -> None:
    train, held_out = train_and_held_out(folder(tmp_path, 60, classes=3), None, channels=3)
    for part in (train, held_out):
        assert part.class_names == ("class0", "class1", "class2")
        assert part.spec.startswith("folder:")
        for i in range(len(part)):
            number = int(part.name(i).split("/")[1].split(".")[0])
            assert np.array_equal(part.load(i), pixels(number, (4, 5, 3)))
            assert part.label(i) == number % 3


def test_one_image_is_too_few(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match="holds one image: give more"):
        train_and_held_out(folder(tmp_path, 1), None, channels=3)


def test_named_held_out_images_are_taken(tmp_path: pathlib.Path) -> None:
    specs = folder(tmp_path / "a", 5), folder(tmp_path / "b", 3)
    train, held_out = train_and_held_out(*specs, channels=3)
    assert (len(train), len(held_out)) == (5, 3)


def test_embedded_photographs_have_a_held_out_part() -> None:
    train, held_out = train_and_held_out("embedded:photos", None, channels=3)
    assert held_out.spec == "embedded:photos:val:64"
    assert train.class_names == held_out.class_names
    with pytest.raises(UserError, match="is itself what is held out"):
        train_and_held_out("embedded:photos:val", None, channels=3)


def test_median_short_side_passes_over_what_cannot_be_read() -> None:
    class Sized(FakeSource):
        def load(self, index):
            return super().load(index)[: 4 + index]

    assert median_short_side(Sized(5)) == 6
    assert median_short_side(Sized(5, damaged=(0, 1))) == 7
    many = FakeSource(10_000)
    assert median_short_side(many) == 20
    assert many.loads == LOOKED_AT


def test_nothing_readable_is_the_users_to_solve() -> None:
    with pytest.raises(UserError, match=r"none of 3 images looked at in fake can.* \(number 0: d"):
        median_short_side(FakeSource(3, damaged=(0, 1, 2)))


def test_an_unreadable_image_is_named_once_whoever_comes_upon_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = FakeSource(4, damaged=(2,))
    held_out = Subset(source, np.array([0, 2]))
    crops = CropsConfig(global_size=16, local_number=0)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            list(eval_batches(held_out, [0, 1], size=16, batch_size=2))
            list(view_batches(held_out, [0, 1], crops, seed=0, batch_size=2))
    assert caplog.messages == ["skipped unreadable image number 2 (damaged)"]
