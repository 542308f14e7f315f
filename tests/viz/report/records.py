"""A run's folder as a report finds it, made by hand."""

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dino_jax.config import resolve, to_dict
from dino_jax.viz.report import snapshots
from dino_jax.viz.report.calls import write_calls
from dino_jax.viz.report.first_batch import Seen, write_sheet
from tests.train import tiny

LIMIT = math.log(32)
HEALTHY: dict[str, Any] = {"collapse": None, "alarms": [], "skipped_updates": 0}
HEALTHY["unreadable_images"] = []


def line(step: int, **more: Any) -> dict[str, Any]:
    """A line of `metrics.jsonl` at a step."""
    if step == 0:
        scores = {"knn_top1": 40.0, "view_retrieval_top1": 5.0, "effective_rank": 9.0}
        return {"step": 0, "epoch": 0.0, **scores, "effective_rank_centred": 10.0} | more
    return {
        "step": step, "epoch": step / 3, "loss": 3.0 - step / 100, "kl": 0.8, "grad_norm": 1.5,
        "teacher_entropy": 1.2, "teacher_marginal_entropy": 3.0, "assignment_information": 1.8,
        "learning_rate": 1e-4 * step, "weight_decay": 0.04, "momentum": 0.99, "skipped": 0.0,
        "teacher_temperature": 0.04, "images_per_second": 200.0, "data_wait": 0.1,
    } | more  # fmt: skip


SCORED = {
    "knn_top1": 60.0, "view_retrieval_top1": 9.0, "effective_rank": 7.0,
    "effective_rank_centred": 8.0, "student_knn_top1": 58.0, "student_view_retrieval_top1": 9.5,
}  # fmt: skip


def write_run(
    workdir: pathlib.Path,
    *lines: Mapping[str, Any],
    summary: Mapping[str, Any] | None = None,
    calls: list[dict[str, Any]] | None = None,
    **overrides: Any,
) -> pathlib.Path:
    """Write `config.json` of a tiny run of 12 steps, its lines and, if given, the rest."""
    workdir.mkdir(parents=True, exist_ok=True)
    resolved = resolve(tiny.config(**overrides), examples=96, platform="cpu", device_count=1)
    content = {
        "format_version": 1,
        "requested": to_dict(tiny.config(**overrides)),
        "resolved": to_dict(resolved.config),
        "examples": 96,
        "steps_per_epoch": 3,
        "reasons": list(resolved.reasons),
    }
    (workdir / "config.json").write_text(json.dumps(content))
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    if summary is not None:
        (workdir / "summary.json").write_text(json.dumps(summary))
    if calls is not None:
        write_calls(workdir / "report", calls)
    return workdir


def call(step: int = 0, **more: Any) -> dict[str, Any]:
    """One call in `calls.json`."""
    return {
        "step": step, "began": 1000.0, "updated": 1090.0, "reporting": 0.9,
        "command": "python -m dino_jax.main --config=a.py", "commit": "abc",
        "machine": {"devices": "1 × cpu"}, "troubles": dict(HEALTHY),
    } | more  # fmt: skip


def write_pictures(workdir: pathlib.Path, *steps: int, label: str = "cat") -> None:
    """Write what a run collects: the first batch, and snapshots of two images at some steps."""
    random, folder = np.random.default_rng(0), workdir / "report"

    def noise(*shape: int) -> np.ndarray:
        return random.integers(0, 256, (*shape, 3), np.uint8)

    write_sheet(folder / "batch.png", [Seen(noise(2, 32, 32), noise(2, 16, 16)) for _ in "ab"])
    names = {"names": np.array(["a.png", "b.png"]), "classes": np.array([label, "dog"])}
    fixed = {"large": noise(2, 128, 128), "thumbs": noise(2, 64, 64), **names}
    snapshots.write_arrays(folder / "images.npz", fixed)
    for step in steps:
        maps = {"maps": random.random((2, 16, 16)).astype(np.float32)}
        snapshots.write(folder, "attention", step, maps, most=8)
        near = {
            "similarity": random.random((2, 5)).astype(np.float32),
            "thumbs": noise(2, 5, 64, 64), "bank": np.array(96),
            "classes": np.array([[label] * 5, ["dog", label, "dog", label, label]]),
        }  # fmt: skip
        snapshots.write(folder, "neighbours", step, near, most=2)
