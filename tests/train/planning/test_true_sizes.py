"""The paper's networks, predicted and compiled for this processor; leaves `results/cpu.json`."""

import datetime as dt
import json
import pathlib
from typing import Any

import jax
import pytest

from benchmarks.machine import commit
from dino_jax.config import Config, Resolved, resolve
from dino_jax.train.planning.prediction import predict_memory
from tests.train.planning.test_memory import compiled_peak

RESULTS = pathlib.Path(__file__).parent / "results"
CASES: tuple[dict[str, Any], ...] = (
    {"network": "S/16", "batch": 2},
    {"network": "S/16", "batch": 4},
    {"network": "S/16", "batch": 4, "prototypes": 4096},
    {"network": "S/16", "batch": 4, "remat": "dots"},
    {"network": "S/16", "batch": 4, "remat": "blocks"},
    {"network": "S/16", "batch": 8, "crops": 10},
    {"network": "B/16", "batch": 2},
    {"network": "B/8", "batch": 1},
    {"network": "B/8", "batch": 1, "remat": "blocks"},
)
NETWORKS = {"S/16": ("vit_small", 16), "B/16": ("vit_base", 16), "B/8": ("vit_base", 8)}


def resolved_of(case: dict[str, Any], platform: str = "cpu") -> Resolved:
    """The defaults of the released code at this size."""
    config = Config(batch_size=case["batch"])
    config.model.arch, config.model.patch_size = NETWORKS[case["network"]]
    config.head.prototypes = case.get("prototypes", 65536)
    config.crops.local_number = case.get("crops", 8)
    config.model.remat = case.get("remat", "none")
    return resolve(config, examples=1_281_167, platform=platform, device_count=1)


def predicted(case: dict[str, Any]) -> float:
    """Bytes."""
    return predict_memory(resolved_of(case), rows=case["batch"], platform="cpu")[0].peak


@pytest.mark.slow
def test_the_true_sizes_are_within_a_tenth_of_the_compiler() -> None:
    jax.config.update("jax_disable_most_optimizations", False)
    rows = []
    for case in CASES:
        found = compiled_peak(resolved_of(case))
        rows.append({**case, "compiled": found, "predicted": round(predicted(case))})
        jax.clear_caches()
    record = {
        "what": "bytes of the training step on one CPU device: argument + output - alias + temp",
        "command": "python -m pytest -n0 -m slow tests/train/planning/test_true_sizes.py",
        "commit": commit(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "versions": {"jax": jax.__version__},
        "rows": rows,
    }
    (RESULTS / "cpu.json").write_text(json.dumps(record, indent=2) + "\n")
    for row in rows:
        assert row["predicted"] == pytest.approx(row["compiled"], rel=0.1), row


def test_the_committed_figures_are_what_is_predicted_today() -> None:
    """Of one network, that the tracing stays short; the others are in the slow test."""
    record = json.loads((RESULTS / "cpu.json").read_text())
    assert [{k: row[k] for k in case} for case, row in zip(CASES, record["rows"], strict=True)]
    for row in record["rows"]:
        assert row["predicted"] == pytest.approx(row["compiled"], rel=0.1), row
    row = next(row for row in record["rows"] if row.get("remat") == "blocks")
    case = {key: row[key] for key in ("network", "batch", "remat")}
    assert predicted(case) == pytest.approx(row["compiled"], rel=0.1)
