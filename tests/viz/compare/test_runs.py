"""Runs are read from their folders, and every mistake is one line that says what to do."""

import math
import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dino_jax.config import UserError
from dino_jax.viz.compare.runs import open_runs, short_names
from tests.viz.compare.folders import line, write_run


def test_a_run_is_what_its_folder_says(tmp_path: pathlib.Path) -> None:
    (run,) = open_runs([write_run(tmp_path / "first", offset=1.0)])
    assert (run.name, run.step, run.steps, run.examples) == ("first", 100, 100, 80)
    assert run.ended
    assert run.finished
    assert not run.damaged
    assert run.largest_entropy == pytest.approx(math.log(256))
    assert run.curve("knn_top1") == ([0, 25, 50, 75, 100], [21.0, 27.25, 33.5, 39.75, 46.0])


def test_steps_lie_where_each_axis_says(tmp_path: pathlib.Path) -> None:
    (run,) = open_runs([write_run(tmp_path / "first")])
    assert [run.places(axis)[50] for axis in ("step", "epoch", "images")] == [50, 5.0, 400]
    assert [run.place(axis) for axis in ("step", "epoch", "images")] == [100, 10.0, 800]
    assert run.places("hours")[50] == pytest.approx(400 / 200 / 3600)
    steps, _ = run.curve("knn_top1", "epoch")
    assert steps == [line(step, 0)["epoch"] for step in (0, 25, 50, 75, 100)]


def test_hours_follow_the_speed(tmp_path: pathlib.Path) -> None:
    folder = write_run(tmp_path / "first")
    (folder / "metrics.jsonl").write_text(
        '{"step": 0}\n{"step": 10, "images_per_second": 1.0}\n{"step": 20}\n'
        '{"step": 30, "images_per_second": 4.0}\n{"step": 40, "images_per_second": "nan"}\n'
    )
    (run,) = open_runs([folder])
    seconds = [hours * 3600 for hours in run.places("hours").values()]
    assert seconds == pytest.approx([0, 80, 160, 180, 200])


def test_a_run_that_goes_on_is_no_finished_one(tmp_path: pathlib.Path) -> None:
    running, stopped = open_runs(
        [write_run(tmp_path / "a", done=50, ended=False), write_run(tmp_path / "b", done=50)]
    )
    assert (running.ended, running.finished, running.step) == (False, False, 50)
    assert (stopped.ended, stopped.finished) == (True, False)


def test_a_damaged_end_is_noticed_and_one_cut_off_is_not(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    damaged, cut = write_run(tmp_path / "a"), write_run(tmp_path / "b")
    path = damaged / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:400] + b"\xff\n" + path.read_bytes())
    path = cut / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + b'{"step": 1')
    assert [run.damaged for run in open_runs([damaged, cut])] == [True, False]
    assert len(caplog.records) == 1


def test_what_is_no_run_is_refused(tmp_path: pathlib.Path) -> None:
    good = write_run(tmp_path / "good")
    cases = {
        tmp_path / "absent": "there is no such folder",
        tmp_path: "it has no config.json",
        good / "metrics.jsonl": "it has no config.json",
    }
    for folder, why in cases.items():
        with pytest.raises(UserError, match=why):
            open_runs([good, folder])
    (tmp_path / "link").symlink_to(good)
    with pytest.raises(UserError, match="named twice"):
        open_runs([good, tmp_path / "link"])


@pytest.mark.parametrize("content", [None, b"", b'{"step": 0'])
def test_a_run_without_metrics_has_to_wait(tmp_path: pathlib.Path, content: bytes | None) -> None:
    path = write_run(tmp_path / "first") / "metrics.jsonl"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match="no metrics yet: wait"):
        open_runs([path.parent])


def test_metrics_that_cannot_be_read_are_said_to_be(tmp_path: pathlib.Path) -> None:
    path = write_run(tmp_path / "first") / "metrics.jsonl"
    path.write_bytes(b"\0\0\n" + path.read_bytes())
    with pytest.raises(UserError, match="damaged from its first line"):
        open_runs([path.parent])
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        open_runs([path.parent])


@pytest.mark.parametrize("content", ["{}", "[", '{"format_version": 99}'])
def test_a_configuration_that_is_none_of_ours_is_refused(
    tmp_path: pathlib.Path, content: str
) -> None:
    folder = write_run(tmp_path / "first")
    (folder / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config\.json is not a run's, or of a newer dino_jax"):
        open_runs([folder])


def test_names_are_short() -> None:
    paths = map(pathlib.Path, ("/r/a/seed0", "/r/b/seed0", "/r/b/other", "/seed0"))
    assert short_names(list(paths)) == ["a/seed0", "b/seed0", "other", "//seed0"]


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=4), unique_by=tuple, max_size=5))
@settings(deadline=None)
def test_names_are_distinct_ends_of_paths(parts: list[list[str]]) -> None:
    paths = [pathlib.Path("/", *each) for each in parts]
    names = short_names(paths)
    assert len(set(names)) == len(names)
    assert all(
        str(path).endswith(name.lstrip("/")) for path, name in zip(paths, names, strict=True)
    )
