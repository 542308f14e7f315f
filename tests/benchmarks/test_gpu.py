"""The GPU benchmark: its counted work, its figures, its page, and a run at toy size, ours alone."""

import json

import pytest
from PIL import Image

from benchmarks import gpu
from benchmarks.gpu_photos import write_photos
from benchmarks.gpu_table import markdown
from benchmarks.worker import Worker, WorkerError
from benchmarks.workload import synthetic_batch, workload


@pytest.mark.parametrize(
    ("name", "eight", "ten"),
    [("S/16", 113.4, 123.4), ("S/8", 517, 557), ("B/16", 435, 473), ("B/8", 1862, 2015)],
)
def test_flops_are_those_counted_by_hand(name, eight, ten):
    assert workload(name, 1).train_flops() / 1e9 == pytest.approx(eight, rel=2e-3)
    assert workload(name, 1, locals_=10).train_flops() / 1e9 == pytest.approx(ten, rel=2e-3)


def test_synthetic_batch_has_the_pipelines_form():
    work = workload("S/16", 2, toy=True)
    batch, other = synthetic_batch(work), synthetic_batch(work, seed=1)
    assert batch["views"].shape == (2, 2, 64, 64, 3)
    assert batch["locals"].shape == (2, 2, 32, 32, 3)
    assert batch["views"].dtype == "uint8"
    assert (batch["views"] != other["views"]).any()
    assert not set(batch["index"]) & set(other["index"])


def test_summary_takes_medians_and_ratios():
    work = workload("S/16", 128)

    def turns(*rates):
        return [{"images_per_second": rate, "batch": 128} for rate in rates]

    given = {
        "S/16 device": turns(3000, 3100, 1000),
        "S/16 device resident": turns(3200),
        "eager": turns(1000, 1500, 1200),
        "compiled": [{"error": "OutOfMemoryError: no room"}],
    }
    row = gpu.summary(work, given, {"S/16 device": {"peak_gib": 10.0}}, "NVIDIA H100 80GB HBM3")
    assert row["ours"]["images_per_second"] == 3000
    assert row["ratio"] == 2.5
    assert row["ratio_compiled"] is None
    assert row["ours"]["mfu"] == pytest.approx(3000 * 113.4e9 / 989.4e12, rel=1e-3)
    page = markdown(
        {"date": "d", "commit": "c", "seconds": 1, "command": "x", "models": [row], "gpu": "H100"}
    )
    assert "| S/16 | 2x224 + 8x96 | eager | 128 | 1200 |" in page
    assert "no room" in page


def test_toy_run_without_torch(tmp_path, capfd):
    code = gpu.main(
        [
            *("--toy", "--no-torch", "--models=S/16", "--variants=host", "--rounds=1"),
            *("--seconds=0.05", "--real=S/16", "--files=6", f"--out={tmp_path}"),
        ]
    )
    line = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert code == 0
    assert line["model"] == "S/16 toy"
    assert line["ours"]["images_per_second"] > 0
    assert line["real"]["images_per_second"] > 0
    assert line["real"]["files"] == 6
    assert json.loads((tmp_path / "performance_gpu_run.json").read_text())["models"] == [
        {key: value for key, value in line.items() if key != "benchmark"}
    ]
    assert "| S/16 toy |" in (tmp_path / "performance_gpu_run.md").read_text()


def test_a_worker_that_fails_says_why_and_goes_on():
    worker = Worker("benchmarks.gpu_ours", environment={"JAX_PLATFORMS": "cpu"})
    try:
        with pytest.raises(WorkerError, match="KeyError"):
            worker.ask("run", name="nobody", seconds=1)
        assert worker.ask("machine")["platform"] == "cpu"
    finally:
        worker.close()


def test_photographs_are_of_imagenets_size_and_no_two_alike(tmp_path):
    total = write_photos(tmp_path, 8)
    files = sorted(tmp_path.iterdir())
    assert len({path.read_bytes() for path in files}) == 8
    for path in files:
        with Image.open(path) as image:
            assert image.size in {(500, 375), (375, 500)}
    assert 60e3 < total / 8 < 180e3
