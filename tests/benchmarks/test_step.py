"""The step benchmark: its ratios, its file of results, and a toy size of it, without torch."""

import dataclasses
import json

import pytest

from benchmarks import step
from benchmarks.workload import Workload

TOY = Workload(
    *("toy", "vit_tiny", 16, 2, 2, 8),
    batch=2,
    image=32,
    local=16,
    locals_=2,
    prototypes=32,
    hidden=24,
    bottleneck=8,
)


def test_the_cases_are_those_of_the_bar():
    for name, width, crops in (("S/16", 384, (224, 96, 8, 4)), ("Ti/16", 192, (64, 32, 4, 32))):
        for prototypes in (65536, 4096):
            work = step.CASES[f"{name}-{prototypes}"]
            assert (work.width, work.prototypes) == (width, prototypes)
            assert (work.image, work.local, work.locals_, work.batch) == crops


def test_in_short_takes_least_and_median():
    short = step.in_short({"wall": [0.3, 0.1, 0.2], "processor": [0.3, 0.2]})
    assert short == {
        "wall_ms": 100.0,
        "processor_ms": 200.0,
        "wall_median_ms": 200.0,
        "processor_median_ms": 250.0,
    }


def test_the_best_torch_is_the_quickest_by_each_measure_of_its_own():
    def times(wall, processor):
        return {"wall_ms": wall, "processor_ms": processor, "images_per_second": 1.0}

    found = {
        "ours": times(100.0, 100.0),
        "plain": times(50.0, 50.0),
        "eager": times(120.0, 130.0),
        "original": times(140.0, 110.0),
    }
    by_name = step.compared(found)
    assert by_name["best_torch"] == {"wall": 1.2, "processor": 1.1}
    assert by_name["original"] == {"wall": 1.4, "processor": 1.1}
    assert step.ratios(found, ["plain", "eager"])["wall"] == 0.5
    without = {name: found[name] for name in ("ours", "plain")}
    assert "best_torch" not in step.compared(without)


def test_a_result_replaces_that_of_its_case_and_cores(tmp_path):
    path = tmp_path / "results" / "step.json"
    for case, threads, ratio in (("a", 1, 1.0), ("b", 1, 2.0), ("a", 2, 3.0), ("a", 1, 4.0)):
        step.keep(path, {"case": case, "threads": threads, "ratio": ratio})
    kept = {(line["case"], line["threads"]): line["ratio"] for line in json.loads(path.read_text())}
    assert kept == {("b", 1): 2.0, ("a", 2): 3.0, ("a", 1): 4.0}


def test_the_original_wants_its_checkout(capsys):
    with pytest.raises(SystemExit):
        step.main(["--against=original"])
    assert "CHECKOUT" in capsys.readouterr().err


def test_a_toy_run_alternates_ours_and_plain(tmp_path, capfd, monkeypatch):
    monkeypatch.setitem(step.CASES, "toy", TOY)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    out = tmp_path / "step.json"
    assert not step.main(
        [
            *("--cases=toy", "--rounds=2", "--steps=1", "--blocks=scanned"),
            *(f"--out={out}", f"--lock={tmp_path / 'lock'}"),
        ]
    )
    line = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert json.loads(out.read_text()) == [line]
    assert set(line["contenders"]) == {"ours", "plain"}
    assert line["ratio"] == line["ratios"]["plain"]["wall"] > 0
    assert line["contenders"]["ours"]["images_per_second"] > 0
    assert dataclasses.asdict(TOY)["batch"] == line["batch"]
