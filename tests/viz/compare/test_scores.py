"""What differs, what was scored where, and differences that evaluate measured."""

import json
import math
import pathlib
import shlex
from typing import Any

import pytest

from dino_jax.config import UserError
from dino_jax.config.kinds import kinds
from dino_jax.viz.compare import paired, scores
from dino_jax.viz.compare.runs import open_runs
from dino_jax.viz.compare.settings import differences, repeats, same_images, settings
from tests.viz.compare.folders import measured, write_run
from tests.viz.web.reading import Page


def opened(folder: pathlib.Path, *runs: dict[str, Any]) -> list[Any]:
    return open_runs([write_run(folder / f"run{n}", **each) for n, each in enumerate(runs)])


def test_fields_that_differ_are_told_with_their_values(tmp_path: pathlib.Path) -> None:
    runs = opened(tmp_path, {}, {"seed": 3, "crops__global_scale": (0.2, 1.0), "log_every": 50})
    found = {each.path: (each.values, each.matters) for each in differences(runs)}
    assert found == {
        "seed": (("0", "3"), True),
        "log_every": (("10", "50"), False),
        "crops.global_scale": (("0.4,1.0", "0.2,1.0"), True),
    }
    assert not repeats(runs)
    assert same_images(runs)
    page = Page(settings(runs))
    heads = page.texts["th"]
    assert all(path in heads for path in kinds()), "what is the same is there too, folded"
    assert f"{len(kinds()) - 3} fields are the same" in page.texts["summary"]


def test_runs_that_differ_by_their_seed_are_repeats(tmp_path: pathlib.Path) -> None:
    assert repeats(opened(tmp_path / "a", {}, {"seed": 1, "log_every": 5}))
    assert not repeats(opened(tmp_path / "b", {}, {}))
    assert "the seed too" in settings(opened(tmp_path / "c", {}, {}))


@pytest.mark.parametrize(
    "other", [{"examples": 81}, {"data__val": "folder:x"}, {"data__train": "folder:x"}]
)
def test_other_images_are_noticed(tmp_path: pathlib.Path, other: dict[str, Any]) -> None:
    runs = opened(tmp_path, {}, other)
    assert not same_images(runs)
    assert "number of images" in [each.path for each in differences(runs)] or "data__" in str(other)
    heads, _ = scores.columns(scores.tables(runs, "step")[0], runs)
    assert heads == ["score", "run0", "run1"], "no difference of scores of different tasks"


def test_scores_are_compared_at_the_last_step_all_share(tmp_path: pathlib.Path) -> None:
    runs = opened(tmp_path, {"offset": 1.5}, {"done": 65, "ended": False})
    shared, last = scores.tables(runs, "step")
    assert "step 50: the last at which all" in shared.caption
    assert shared.figures["k-NN top 1, %: teacher"] == [34.0, 32.5]
    assert shared.figures["k-NN top 1, %: student"] == [34.5, 33.0]
    assert last.caption == "as far as they are: run0 at step 100, run1 at step 65"
    assert last.figures["k-NN top 1, %: teacher"] == [46.5, 32.5]
    assert math.isnan(last.figures["k-NN top 1, %: untrained"][1])
    heads, rows = scores.columns(shared, runs)
    assert heads[-1] == "run0 less run1"
    assert rows[0] == ["k-NN top 1, %: teacher", "34.0", "32.5", "+1.5"]
    assert scores.columns(last, runs)[0] == ["score", "run0", "run1"]


def test_images_seen_are_another_common_point(tmp_path: pathlib.Path) -> None:
    runs = opened(tmp_path, {}, {"batch_size": 16, "done": 60})
    by_images, _ = scores.tables(runs, "images")
    assert "images seen 800" in by_images.caption
    assert by_images.figures["k-NN top 1, %: teacher"] == [45.0, 32.5]


def test_repeats_have_a_mean_and_a_spread(tmp_path: pathlib.Path) -> None:
    runs = opened(tmp_path, {}, {"seed": 1, "offset": 2.0}, {"seed": 2, "offset": 4.0})
    (table,) = scores.tables(runs, "step")
    heads, rows = scores.columns(table, runs)
    assert heads[-2:] == ["mean", "standard deviation"]
    assert rows[0] == ["k-NN top 1, %: teacher", "45.0", "47.0", "49.0", "47.0", "2.0"]
    assert (
        "mean"
        not in scores.columns(
            table, opened(tmp_path / "b", {}, {}, {"loss__centre_momentum": 0.8})
        )[0]
    )


def test_without_a_score_that_is_said(tmp_path: pathlib.Path) -> None:
    runs = opened(tmp_path, {}, {"seed": 1})
    bare = [run._replace(lines=[{"step": 5, "loss": 1.0}], summary={}) for run in runs]
    assert scores.tables(bare, "step") == []
    assert "No run has been scored yet" in scores.scores(bare, "step")


def test_measured_differences_are_shown_with_their_bounds(tmp_path: pathlib.Path) -> None:
    runs = opened(tmp_path, {}, {"seed": 1})
    content = json.dumps(measured(str(tmp_path / "run0"), f"{tmp_path}/run1:student"))
    for number, text in enumerate((content, f"a table\n\nof text\n{content}\n")):
        (tmp_path / f"{number}.json").write_text(text)
        result = paired.read_measured(tmp_path / f"{number}.json")
        heads, rows = paired.columns(result, runs)
        assert heads == ["knn", "run0", "run1:student", "run0 less run1:student"]
        assert rows == [["knn20_top1", "50.0 [47.5, 52.5]", "44.0", "+6.0 [−1.5, +9.0] even"]]
    page = paired.paired(runs, tmp_path / "c.html", [result])
    assert "knn on folder:val, percent" in page
    assert "python -m" not in page
    strange = result._replace(intervals={"x": {}, "y": {}}, figures={}, differences={})
    assert "No network of" in paired.paired(runs, tmp_path / "c.html", [strange])


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"\xff", b'{"protocol": 1, "figures": {}, "intervals": []}',
     b'{"protocol": "a", "figures": {"a": 1}, "intervals": {}, "differences": {}}', b"[" * 10**5,
     b'{"protocol":"a","figures":{},"intervals":{},"differences":{"b":{"c":{"value":"x"}}}}'],
)  # fmt: skip
def test_what_is_no_result_is_refused(tmp_path: pathlib.Path, content: bytes) -> None:
    (tmp_path / "s.json").write_bytes(content)
    with pytest.raises(UserError, match=r"--scores=.*expected a PROTOCOL\.json"):
        paired.read_measured(tmp_path / "s.json")
    with pytest.raises(UserError, match=r"cannot be read \(No such file"):
        paired.read_measured(tmp_path / "absent.json")


def test_the_commands_can_be_copied(tmp_path: pathlib.Path) -> None:
    runs = open_runs([write_run(tmp_path / "it's a"), write_run(tmp_path / "b", seed=1)])
    first, second = map(shlex.split, paired.commands(runs, pathlib.Path("out/c.html"), ()))
    assert first == [
        "python", "-m", "dino_jax.evaluate", "knn", f"--weights={tmp_path}/it's a",
        f"--against={tmp_path}/b", "--data=folder:train", "--val=folder:val", "--out=out/scores",
    ]  # fmt: skip
    assert second[3:] == [
        f"{tmp_path}/it's a", f"{tmp_path}/b", "--out=out/c.html", "--scores=out/scores/knn.json",
    ]  # fmt: skip


def test_where_images_are_not_known_words_stand_for_them(tmp_path: pathlib.Path) -> None:
    runs = opened(tmp_path, {"data__val": None}, {"data__val": None, "seed": 1})
    page = paired.paired(runs, pathlib.Path("c.html"), ())
    assert "--data=TRAIN --val=VAL" in page
    assert "TRAIN and VAL stand for labelled images" in page
