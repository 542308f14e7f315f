"""The start of the command is timed by what it says; a toy run, cold and warm."""

import json
import os

import pytest

from benchmarks import startup

LINES = (
    (0.5, "Finished tracing _values for jit in 0.25 sec\n"),
    (0.9, "40 images to train on, 10 held out\n"),
    (1.0, "WARNING: Finished tracing train_step for jit in 2.5 sec\n"),
    (1.1, "Finished jaxpr to MLIR module conversion jit(train_step) in 0.125 sec\n"),
    (1.2, "Finished XLA compilation of jit(train_step) in 4.000000000 sec\n"),
    (1.3, "Finished XLA compilation of jit(other) in 1.0 sec\n"),
    (1.4, "Finished XLA compilation of jit(another) in 1.5 sec\n"),
    (9.0, "the first step is done\n"),
    (9.9, "Finished XLA compilation of jit(late) in 1.5 sec\n"),
)


def test_phases_are_read_from_what_is_said() -> None:
    assert startup.phases(LINES) == {
        "other_trace": 0.25,
        "images_at": 0.9,
        "step_trace": 2.5,
        "step_lower": 0.12,
        "step_compile": 4.0,
        "other_compile": 2.5,
        "first_step_at": 9.0,
    }
    with pytest.raises(RuntimeError, match="before its first step"):
        startup.phases(LINES[:-2])


def test_a_toy_start(capsys: pytest.CaptureFixture) -> None:
    toy = ["--config.batch_size=16", "--config.steps=3", "--config.report=false"]
    startup.main(["--config=configs/quickstart.py", "--batch=4", "--cores=1", *toy])
    line = json.loads(capsys.readouterr().out)
    cold, warm = line["phases"]["cold"], line["phases"]["warm"]
    assert cold["step_compile"] > warm["step_compile"], "the second start compiled too"
    assert line["ratio"] == round(cold["first_step_at"] / warm["first_step_at"], 2)
    assert line["threads"] == 1
    for found in (cold, warm):
        assert 0 < found["images_at"] < found["first_step_at"]
        assert found["processor"] > 0


def test_a_command_that_ends_early_says_why() -> None:
    command = [startup.sys.executable, "-c", "import sys; sys.exit('error: no such thing')"]
    with pytest.raises(RuntimeError, match="before its first step: error: no such thing"):
        startup.first_step(command, {min(os.sched_getaffinity(0))}, startup.pathlib.Path("none"))
