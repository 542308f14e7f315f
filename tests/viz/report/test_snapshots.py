"""Snapshots: whole or not there, thinned evenly, gone beyond the step that a run resumes from."""

import pathlib

import numpy as np
import pytest

from dino_jax.viz.report import snapshots


@pytest.mark.parametrize("most", [2, 3, 8])
@pytest.mark.parametrize("number", [0, 1, 2, 7, 8, 9, 40, 200])
def test_thinned_keeps_the_ends_and_spreads_the_rest(number: int, most: int) -> None:
    steps = [0, *range(7, 7 + 10 * (number - 1), 10)][:number]
    kept: list[int] = []
    for step in steps:  # as a run does: after each new one
        kept = snapshots.thinned([*kept, step], most)
    assert len(kept) == min(number, most)
    assert kept == sorted(set(kept) & set(steps))
    assert kept[:1] == steps[:1]
    assert kept[-1:] == steps[-1:]
    if number > 20 and most == 8:
        gaps = np.diff(kept)
        even = steps[-1] / (most - 1)
        assert gaps.max() <= 2.5 * even


def test_what_is_written_is_read_and_no_more_kept_than_asked(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "report"
    for step in range(0, 50, 10):
        arrays = {"maps": np.full((2, 3), step, np.float32), "names": np.array(["ä", "b"])}
        snapshots.write(folder, "attention", step, arrays, most=3)
    assert snapshots.steps_of(folder, "attention") == [0, 20, 40]
    read = snapshots.read(folder, "attention", 20)
    assert read is not None
    np.testing.assert_array_equal(read["maps"], np.full((2, 3), 20))
    assert list(read["names"]) == ["ä", "b"]
    assert [path.name for path in folder.iterdir() if "new" in path.name] == []


def test_the_damaged_and_the_missing_are_none(tmp_path: pathlib.Path) -> None:
    whole = tmp_path / "attention-00000007.npz"
    snapshots.write_arrays(whole, {"maps": np.arange(1000)})
    content = whole.read_bytes()
    assert snapshots.read(tmp_path, "attention", 8) is None
    for damaged in (b"", b"no array", content[:40], content[:-30], content[:60] + b"x" * 200):
        whole.write_bytes(damaged)
        assert snapshots.read(tmp_path, "attention", 7) is None
    whole.write_bytes(content)
    assert snapshots.read(tmp_path, "attention", 7) is not None


def test_arrays_of_objects_are_not_read(tmp_path: pathlib.Path) -> None:
    """They would run whatever code they hold."""
    np.savez(tmp_path / "attention-00000001.npz", maps=np.array([{}], dtype=object))
    assert snapshots.read(tmp_path, "attention", 1) is None


def test_dropped_are_those_of_later_steps_of_every_kind(tmp_path: pathlib.Path) -> None:
    for kind in ("attention", "neighbours"):
        for step in (0, 10, 20):
            snapshots.write(tmp_path, kind, step, {"a": np.zeros(1)}, most=8)
    snapshots.write_arrays(tmp_path / "images.npz", {"a": np.zeros(1)})
    snapshots.drop(tmp_path, after=10)
    assert snapshots.steps_of(tmp_path, "attention") == [0, 10]
    assert snapshots.steps_of(tmp_path, "neighbours") == [0, 10]
    snapshots.drop(tmp_path, after=-1)
    assert [path.name for path in tmp_path.iterdir()] == ["images.npz"]
