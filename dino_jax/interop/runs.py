"""What a run wrote into its folder, read back: `metrics.jsonl` and `summary.json`."""

import json
import logging
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

log = logging.getLogger(__name__)

_NAMED = ("nan", "inf", "-inf")
"""What a run writes for numbers that JSON has not."""
_MOST = 2**53
"""Counts from there on are not exact as floats: nobody's run has so many of anything."""


def read_metrics(path: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl` up to the first that is not an object with a count `step`.

    A warning says which line that is, except for a last one cut off by a crash.
    """
    if not path.exists():
        return []
    *texts, rest = path.read_bytes().split(b"\n")
    lines = []
    for number, text in enumerate([*texts, rest] if rest else texts, start=1):
        entry = _object(text)
        if entry is None or count(entry.get("step")) is None:
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
    found = [(line["step"], number(line[name])) for line in lines if name in line]
    return [step for step, _ in found], [value for _, value in found]


def number(value: Any) -> float:
    """What was read as a figure, as a float; NaN for what is none, or too large for one."""
    if isinstance(value, bool) or not (isinstance(value, (int, float)) or value in _NAMED):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def count(value: Any) -> int | None:
    """What was read as a number of things, or as a step; None for what is none."""
    return value if type(value) is int and 0 <= value < _MOST else None


def read_summary(workdir: pathlib.Path) -> dict[str, Any]:
    """The figures in `summary.json`, none where it is missing, not whole or not ours.

    What is not of its type is left out.
    """
    return checked_summary(workdir)[0]


def checked_summary(workdir: pathlib.Path) -> tuple[dict[str, Any], list[str]]:
    """The same, and a sentence for each thing that was left out since it is damaged."""
    path = workdir / "summary.json"
    if not path.exists():
        return {}, []
    try:
        content = _object(path.read_bytes())
    except OSError:
        content = None
    if content is None:
        return {}, ["summary.json is damaged: left out."]
    found = {name: value for name, value in content.items() if _is_summary(name, value)}
    wrong = [name for name in content if name not in found]
    return found, [f"summary.json is damaged: {', '.join(wrong)} left out."] if wrong else []


def _is_summary(name: str, value: Any) -> bool:
    """Whether a figure of the summary is of its type; what is not known here may be any."""
    if name in ("alarms", "unreadable_images"):
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if name == "collapse":
        return value is None or isinstance(value, str)
    if name in ("step", "steps", "skipped_updates"):
        return value is None or count(value) is not None
    if name == "seconds":
        return math.isfinite(number(value))
    return not isinstance(value, int) or isinstance(value, bool) or not math.isnan(number(value))


def _object(text: bytes) -> dict[str, Any] | None:
    """The JSON object that `text` is; `None` where it is anything else."""
    try:
        content = json.loads(text.decode())
    except (ValueError, RecursionError):  # neither UTF-8 nor JSON, a number too long; too deep
        return None
    return content if isinstance(content, dict) else None
