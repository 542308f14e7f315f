"""Folders that are damaged: one line of the command, or a page that says what it leaves out."""

import json
import pathlib
from typing import Any

import numpy as np
import pytest

from dino_jax import compare
from dino_jax.config import UserError
from dino_jax.viz.compare.attention import attention
from dino_jax.viz.compare.paired import read_measured
from dino_jax.viz.compare.runs import open_runs
from dino_jax.viz.compare.scores import columns, tables
from dino_jax.viz.compare.write import comparison, write_comparison
from tests.viz.compare.folders import measured, write_attention, write_run


def page(folders: list[pathlib.Path]) -> str:
    return comparison(folders[0] / "c.html", open_runs(folders), "step", ())


@pytest.fixture
def folders(tmp_path: pathlib.Path) -> list[pathlib.Path]:
    return [write_run(tmp_path / "a"), write_run(tmp_path / "b", seed=1, offset=1.0)]


@pytest.mark.parametrize(
    ("group", "field", "value"),
    [
        ("", "examples", "x"), ("", "examples", 0), ("", "examples", 10**400),
        ("resolved", "batch_size", 0), ("resolved", "batch_size", 10**350),
        ("resolved", "steps", -1), ("resolved", "epochs", 1e300), ("head", "prototypes", 0),
        ("head", "prototypes", "k"),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_counted_with_is_refused(
    folders: list[pathlib.Path], group: str, field: str, value: Any
) -> None:
    content = json.loads((folders[1] / "config.json").read_text())
    resolved = content["resolved"]
    {"": content, "resolved": resolved, "head": resolved["head"]}[group][field] = value
    (folders[1] / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"b/config\.json is not a run's"):
        open_runs(folders)


def test_what_is_damaged_in_a_summary_is_left_out_with_a_line(folders: list[pathlib.Path]) -> None:
    path = folders[1] / "summary.json"
    wrong = {"alarms": [1, {}], "skipped_updates": "a", "chance_knn_top1": 10**400}
    wrong |= {"pixels_knn_top1": [1]}
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    text = page(folders)
    assert "b: summary.json is damaged: alarms, chance_knn_top1, skipped_updates left out." in text
    assert "chance 10.0" in text, "of the other run"


@pytest.mark.parametrize("figure", ['"x"', "[1]", "9" * 400, "1e400", '"nan"', '"-inf"', "null"])
def test_figures_that_are_none_are_gaps(folders: list[pathlib.Path], figure: str) -> None:
    names = ("knn_top1", "loss", "images_per_second", "data_wait", "epoch")
    figures = ", ".join(f'"{name}": {figure}' for name in names)
    (folders[1] / "metrics.jsonl").write_text(f'{{"step": 0}}\n{{"step": 5, {figures}}}\n')
    assert "knn" in page(folders)
    more = write_run(folders[0].parent / "c", seed=2)
    for axis in ("hours", "step"):
        runs = open_runs([*folders, more])
        assert all(columns(table, runs) for table in tables(runs, axis))


def test_a_step_of_hundreds_of_digits_ends_what_is_read(folders: list[pathlib.Path]) -> None:
    path = folders[1] / "metrics.jsonl"
    path.write_text(f'{{"step": 0}}\n{{"step": {"9" * 350}, "loss": 1}}\n')
    assert "metrics.jsonl of b is damaged after step 0" in page(folders)


@pytest.mark.parametrize(
    ("part", "value"),
    [("figures", "z"), ("figures", [1]), ("intervals", [1]), ("intervals", ["a", 2])],
)
def test_scores_that_are_no_numbers_are_no_result(
    tmp_path: pathlib.Path, part: str, value: Any
) -> None:
    content = measured("a", "b")
    content[part]["a"]["knn20_top1"] = value
    path = tmp_path / "knn.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="holds no result"):
        read_measured(path)
    content = measured("a", "b")
    content["figures"]["a"] |= {"of another kind": "text", "knn20_top1": float(np.nan)}
    path.write_text(json.dumps(content))
    assert read_measured(path).protocol == "knn"


def test_a_page_that_cannot_be_written_is_one_line(
    folders: list[pathlib.Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (folders[0] / "report.html").mkdir()
    assert compare.main(["compare", str(folders[0])]) == compare.MISTAKE
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert "report.html cannot be written (it is a folder)" in told
    assert told.count("\n") == 1
    (folders[0] / "c.html").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        write_comparison(folders[0] / "c.html", open_runs(folders), axis="step")


@pytest.mark.parametrize(
    "maps",
    [
        np.full((2, 8, 8), np.nan, np.float32), np.zeros((2, 8), np.float32), np.float32(3),
        np.zeros((2, 8, 8), "U3"), np.zeros((2, 0, 8), np.float32), np.full((2, 8, 8), -1e30),
        np.full((2, 8, 8), 1e30), np.zeros((3, 8, 8)), np.zeros((2, 8, 8), np.uint8),
    ],
)  # fmt: skip
def test_a_snapshot_without_shares_counts_as_none(
    folders: list[pathlib.Path], maps: np.ndarray
) -> None:
    third = write_run(folders[0].parent / "c", seed=2)
    for folder in (*folders, third):
        write_attention(folder)
    np.savez(folders[1] / "report" / "attention-00000100.npz", maps=maps)
    why = "Left out: b kept no snapshots of attention"
    two, three = attention(open_runs(folders)), attention(open_runs([*folders, third]))
    assert why in two
    assert why in three
    assert (two.count("<img"), three.count("<img")) == (0, 6)
    # in the report of that run alone its other step is shown
    report = compare_alone(folders[1])
    assert "Left out: step 100, damaged or not finite" in report


def compare_alone(folder: pathlib.Path) -> str:
    assert compare.main(["compare", str(folder)]) == compare.DONE
    return (folder / "report.html").read_text()


@pytest.mark.parametrize("name", ["names", "classes", "large", "thumbs"])
def test_images_that_are_none_are_none(folders: list[pathlib.Path], name: str) -> None:
    for folder in folders:
        write_attention(folder)
    path = folders[1] / "report" / "images.npz"
    with np.load(path) as held:
        whole = dict(held)
    for wrong in (whole[name][:1], whole[name][0], whole[name][:0], np.zeros(2), None):
        changed = {**whole, name: wrong}
        np.savez(path, **{key: value for key, value in changed.items() if value is not None})
        assert "b kept no snapshots" in attention(open_runs(folders))
        assert "Left out: no snapshot was kept" in compare_alone(folders[1])
