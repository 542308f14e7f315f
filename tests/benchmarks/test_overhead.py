"""What is not steps is scaled from a short run to a recipe's own cadence; a toy run of it."""

import json
import pathlib

import pytest

from benchmarks import overhead

RECIPE = {"steps": 1000, "eval_every": 300, "checkpoint_every": 250, "log_every": 10}


def test_the_last_step_is_always_due() -> None:
    assert overhead.times(RECIPE, 1000) == {"evaluation": 4, "checkpoint": 4, "logging": 100}
    never = RECIPE | {"eval_every": 0}
    assert overhead.times(never, 1000)["evaluation"] == 1


def test_shares_follow_the_recipe() -> None:
    """Ten seconds: one score of 2, two checkpoints of 1, ten lines of 0.1, a report of 1."""
    shares = {"seconds": 10.0, "evaluation": 0.2, "checkpoint": 0.2, "logging": 0.1, "report": 0.1}
    ran = {"evaluation": 1, "checkpoint": 2, "logging": 10}
    found = overhead.scaled(shares, ran, 101, RECIPE)
    each = {"evaluation": 2.0, "checkpoint": 1.0, "logging": 0.1, "step": 0.04}
    assert found["seconds_each"] == pytest.approx(each)
    # 40 s of steps, four scores, four checkpoints, a hundred lines: 62 s.
    shares = {"evaluation": 8 / 62, "checkpoint": 4 / 62, "logging": 10 / 62, "together": 22 / 62}
    assert found["recipe"] == pytest.approx(shares, abs=1e-5)


def test_a_toy_run(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "overhead.json"
    toy = ["--config.batch_size=8", "--config.report=false", "--config.eval.knn_bank=32"]
    toy += ["--data=embedded:photos:train", "--val=embedded:photos:val"]
    small = ["--steps=6", "--scores=1", "--checkpoints=2", f"--out={out}"]
    assert overhead.main(["--config=configs/quickstart.py", *small, *toy]) == 0
    line = json.loads(capsys.readouterr().out)
    assert [line] == json.loads(out.read_text())
    assert line["every"]["log_every"] == 10
    assert 0 < line["measured"]["evaluation"] < 1
    assert 0 < line["recipe"]["together"] < 1
    assert line["ratio"] == round(0.03 / line["recipe"]["together"], 2)
