"""Folders such as runs leave behind, made without training."""

import json
import math
import pathlib
from typing import Any

import numpy as np

from dino_jax.config import Config, resolve, save_record, set_value
from dino_jax.viz.report import snapshots

STEPS, EVERY = 100, 25


def config(**fields: Any) -> Config:
    """A small run's configuration; `__` in a name stands for a dot."""
    made = Config(batch_size=8, steps=STEPS, epochs=10.0)
    made.checkpoint_every, made.eval_every, made.eval.resize = 10, EVERY, 36
    made.head.prototypes, made.crops.global_size, made.crops.local_size = 256, 32, 16
    made.data.train, made.data.val = "folder:train", "folder:val"
    for name, value in fields.items():
        set_value(made, name.replace("__", "."), value)
    return made


def write_run(
    folder: pathlib.Path, *, done: int = STEPS, ended: bool = True, examples: int = 80,
    offset: float = 0.0, **fields: Any,
) -> pathlib.Path:  # fmt: skip
    """A run that has done so many steps and, if it `ended`, has a summary."""
    made = config(**fields)
    save_record(folder, made, resolve(made, examples=examples, platform="cpu", device_count=1))
    written = [line(step, offset) for step in range(0, done + 1, 5)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in written))
    if ended:
        summary = {**written[-1], "collapse": None, "alarms": [], "steps": made.steps}
        summary |= {"chance_knn_top1": 10.0, "pixels_knn_top1": 40.5, "untrained_knn_top1": 20.25}
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def line(step: int, offset: float) -> dict[str, Any]:
    """One of metrics.jsonl."""
    found: dict[str, Any] = {"step": step, "epoch": step / 10}
    if step:
        found |= {
            "loss": 5 - step / 50 + offset, "kl": 1 - math.exp(-step / 40), "grad_norm": 1.0,
            "teacher_entropy": 4 - step / 60, "teacher_marginal_entropy": 5.0,
            "assignment_information": 1 + step / 60, "images_per_second": 200.0, "data_wait": 0.1,
            "learning_rate": 1e-3 * step, "momentum": 0.99, "weight_decay": 0.04,
            "teacher_temperature": 0.04,
        }  # fmt: skip
    if step % EVERY == 0:
        found |= {"knn_top1": 20 + step / 4 + offset, "effective_rank": 30.0 + offset}
        if step:
            found["student_knn_top1"] = found["knn_top1"] + 0.5
    return found


def write_attention(
    folder: pathlib.Path, *, first: str = "a.png", seed: int = 0, images: int = 0, of: str = "cat"
) -> None:
    """What the report of a run keeps of two images, drawn from `images`, at steps 0 and 100."""
    drawn, random = np.random.default_rng(images), np.random.default_rng(seed)
    fixed = {
        "names": np.array([first, "b.png"]), "classes": np.array([of, ""]),
        "large": drawn.integers(0, 255, (2, 64, 64, 3), np.uint8),
        "thumbs": drawn.integers(0, 255, (2, 16, 16, 3), np.uint8),
    }  # fmt: skip
    snapshots.write_arrays(folder / "report" / "images.npz", fixed)
    for step in (0, 100):
        maps = random.random((2, 8, 8), np.float32)
        arrays = {"maps": maps / maps.sum(axis=(1, 2), keepdims=True)}
        snapshots.write(folder / "report", "attention", step, arrays, most=8)


def measured(first: str, second: str) -> dict[str, Any]:
    """What evaluate writes of two networks."""
    return {
        "protocol": "knn",
        "settings": {"data": "folder:train", "val": "folder:val"},
        "figures": {first: {"knn20_top1": 50.0}, second: {"knn20_top1": 44.0}},
        "intervals": {first: {"knn20_top1": [47.5, 52.5]}, second: {"knn20_top1": [None, None]}},
        "differences": {
            second: {"knn20_top1": {"value": 6.0, "low": -1.5, "high": 9.0, "verdict": "even"}}
        },
        "published": {},
    }
