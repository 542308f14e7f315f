"""Curves of what a run wrote: steps with values, and NaN where there is no number."""

import json
import math
import pathlib
from typing import Any

import numpy as np
import pytest

from dino_jax.interop.runs import checked_summary, count, curve, number, read_metrics


def test_a_curve_has_the_lines_that_have_the_figure() -> None:
    lines = [{"step": 0, "knn": 9}, {"step": 10, "loss": 2.5}, {"step": 20, "knn": 11.5}]
    assert curve(lines, "knn") == ([0, 20], [9.0, 11.5])
    assert curve(lines, "kl") == ([], [])


@pytest.mark.parametrize("value", [None, True, "nan", "text", "0.9", [], {}, 10**400])
def test_what_is_no_number_is_a_gap(value: object) -> None:
    steps, values = curve([{"step": 3, "loss": value}, {"step": 4, "loss": 1}], "loss")
    assert steps == [3, 4]
    assert math.isnan(values[0])
    assert values[1] == 1


def test_infinities_come_back() -> None:
    _, values = curve([{"step": 3, "loss": "-inf"}, {"step": 4, "loss": "inf"}], "loss")
    assert values == [-np.inf, np.inf]


def test_a_step_is_a_count(tmp_path: pathlib.Path) -> None:
    assert [count(value) for value in (0, 7, -1, True, 1.0, "1", None, 10**350)] == [
        0, 7, None, None, None, None, None, None,
    ]  # fmt: skip
    path = tmp_path / "metrics.jsonl"
    for wrong in ("9" * 350, "-3", "1.5", "true"):
        path.write_text(f'{{"step": 0}}\n{{"step": {wrong}, "loss": 1}}\n')
        assert [line["step"] for line in read_metrics(path)] == [0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alarms", [1, {}]), ("alarms", "xx"), ("skipped_updates", "a"), ("collapse", 3),
        ("unreadable_images", [1]), ("seconds", "x"), ("steps", "no"), ("chance_knn_top1", 10**400),
    ],
)  # fmt: skip
def test_of_a_summary_only_what_is_damaged_is_left_out(
    tmp_path: pathlib.Path, name: str, value: Any
) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"step": 3, "collapse": None, name: value}))
    found, told = checked_summary(tmp_path)
    assert found == {"step": 3} | ({} if name == "collapse" else {"collapse": None})
    assert told == [f"summary.json is damaged: {name} left out."]
    (tmp_path / "summary.json").write_text("[")
    assert checked_summary(tmp_path) == ({}, ["summary.json is damaged: left out."])


def test_names_of_infinities_are_numbers_and_other_texts_are_not() -> None:
    assert [number(value) for value in ("inf", "-inf", 3, 2.5)] == [math.inf, -math.inf, 3, 2.5]
    assert all(math.isnan(number(value)) for value in ("1", "Infinity", b"1", (), 10**400))
