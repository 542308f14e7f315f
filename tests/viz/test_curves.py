"""Pictures of scores over training: what is drawn is what was measured."""

import json

import pytest
from PIL import Image

from benchmarks import knn_curves
from dino_jax.viz.curves import Course, write_courses

LINES = [
    {"step": 0, "epoch": 0.0, "knn_top1": 25.0},
    {"step": 5, "epoch": 0.5, "loss": 5.0},
    {"step": 10, "epoch": 1.0, "knn_top1": 30.0, "student_knn_top1": 31.0},
    {"step": 20, "epoch": 2.0, "knn_top1": 40.0, "student_knn_top1": 39.0},
]
SUMMARY = {"pixels_knn_top1": 43.0, "untrained_knn_top1": 26.0, "chance_knn_top1": 10.0}


def write_run(folder, lines=LINES):
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "summary.json").write_text(json.dumps(SUMMARY))
    return folder


def test_student_and_teacher_begin_as_one_network(tmp_path):
    teacher, student = knn_curves.courses(write_run(tmp_path / "seed0"))
    assert list(teacher.steps) == list(student.steps) == [0, 10, 20]
    assert teacher.scores == [25.0, 30.0, 40.0]
    assert student.scores == [25.0, 31.0, 39.0]
    assert student.name == "seed0, student: 39.0 after 20 steps"


def test_a_run_without_scores_is_said(tmp_path):
    folder = write_run(tmp_path / "seed0", LINES[1:2])
    with pytest.raises(SystemExit, match="holds no finished run with knn_top1"):
        knn_curves.courses(folder)
    with pytest.raises(ValueError, match="no runs to draw"):
        write_courses(tmp_path / "x.png", [], levels={}, score="")


def test_the_picture_shows_every_run(tmp_path):
    write_courses(tmp_path / "empty.png", [[Course("n", [0, 1], [0.0, 1.0])]], levels={}, score="s")
    runs = [knn_curves.courses(write_run(tmp_path / name)) for name in ("a", "b")]
    write_courses(tmp_path / "new" / "x.png", runs, levels={"raw pixels": 43.0}, score="20-NN")
    with Image.open(tmp_path / "new" / "x.png") as picture:
        assert picture.size == (1280, 780)
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
    assert {(0, 0x72, 0xB2), (0xD5, 0x5E, 0)} <= colours
