"""What a run wrote into its folder, read back: `metrics.jsonl` and `summary.json`."""

import json
import logging
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

log = logging.getLogger(__name__)


def read_metrics(path: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl` up to the first that is not an object with an int `step`.

    A warning says which line that is, except for a last one cut off by a crash.
    """
    if not path.exists():
        return []
    *texts, rest = path.read_bytes().split(b"\n")
    lines = []
    for number, text in enumerate([*texts, rest] if rest else texts, start=1):
        entry = _object(text)
        if entry is None or type(entry.get("step")) is not int:
            if number <= len(texts):  # a line that was ended is not one cut off
                log.warning("line %d of %s is damaged: read up to there", number, path)
            break
        lines.append(entry)
    return lines


def last_line(workdir: pathlib.Path) -> dict[str, Any]:
    """The newest line of `metrics.jsonl`, empty where there is none."""
    lines = read_metrics(workdir / "metrics.jsonl")
    return lines[-1] if lines else {}


def curve(lines: Sequence[Mapping[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """Steps and values of one figure in the lines that have it; what is no number is NaN.

    JSON has no number for NaN and infinities: the run wrote their names, and they come back.
    """
    found = [(line["step"], _number(line[name])) for line in lines if name in line]
    return [step for step, _ in found], [value for _, value in found]


def _number(value: Any) -> float:
    try:
        return math.nan if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def read_summary(workdir: pathlib.Path) -> dict[str, Any]:
    """The figures in `summary.json`, none where it is missing, not whole or not ours."""
    try:
        content = (workdir / "summary.json").read_bytes()
    except OSError:
        return {}
    return _object(content) or {}


def _object(text: bytes) -> dict[str, Any] | None:
    """The JSON object that `text` is; `None` where it is anything else."""
    try:
        content = json.loads(text.decode())
    except (ValueError, RecursionError):  # neither UTF-8 nor JSON, a number too long; too deep
        return None
    return content if isinstance(content, dict) else None
