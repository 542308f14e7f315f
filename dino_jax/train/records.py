"""What a run writes about itself: `metrics.jsonl`, `tensorboard/`, `summary.json`."""

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorboardX import SummaryWriter

from dino_jax.interop.runs import read_metrics


class Records:
    """Writes one JSON object a line, and the same to TensorBoard; each step appears once."""

    def __init__(self, workdir: pathlib.Path, *, resumed_at: int = 0) -> None:
        """Open for appending; on a resume, lines after step `resumed_at` are dropped."""
        self._path = workdir / "metrics.jsonl"
        lines = read_metrics(self._path) if resumed_at else []
        kept = [line for line in lines if line["step"] <= resumed_at]
        rewritten = self._path.with_suffix(".jsonl.new")
        rewritten.write_text("".join(_line(entry) for entry in kept))
        rewritten.replace(self._path)
        self._file = self._path.open("a")
        self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=resumed_at + 1)

    def write(self, entry: Mapping[str, Any]) -> None:
        """Append one line; it must have `step` and `epoch`."""
        self._file.write(_line(entry))
        self._file.flush()
        for name, value in entry.items():
            number = isinstance(value, (int, float, np.number)) and name not in ("step", "epoch")
            if number and math.isfinite(value):  # the board would only warn of another
                self._board.add_scalar(name, value, entry["step"])

    def close(self) -> None:
        """Flush and close both."""
        self._file.close()
        self._board.close()


def write_summary(workdir: pathlib.Path, figures: Mapping[str, Any]) -> None:
    """Write the final figures to `summary.json`, whole or not at all."""
    path = workdir / "summary.json"
    rewritten = path.with_suffix(".json.new")
    rewritten.write_text(json.dumps(plain(figures), indent=1) + "\n")
    rewritten.replace(path)


def write_comparison(
    workdir: pathlib.Path, summary: Mapping[str, Any], table: str, figures: Mapping[str, float]
) -> None:
    """Write the table that ends a run to `table.md`, and its figures beside the summary's."""
    (workdir / "table.md").write_text(table + "\n")
    write_summary(workdir, {**summary, **figures})


def plain(value: Any) -> Any:
    """Numbers that JSON can hold and that round-trip float32; non-finite ones become strings."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (bool, str)) or value is None:
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    # The shortest text that gives the same float32 back, not float64's 17 digits of it.
    number = float(str(value)) if isinstance(value, np.float32) else float(value)
    return number if math.isfinite(number) else str(number)


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(plain(entry)) + "\n"
