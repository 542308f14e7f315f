"""Curves of what a run wrote: steps with values, and NaN where there is no number."""

import math

import numpy as np
import pytest

from dino_jax.interop.runs import curve


def test_a_curve_has_the_lines_that_have_the_figure() -> None:
    lines = [{"step": 0, "knn": 9}, {"step": 10, "loss": 2.5}, {"step": 20, "knn": 11.5}]
    assert curve(lines, "knn") == ([0, 20], [9.0, 11.5])
    assert curve(lines, "kl") == ([], [])


@pytest.mark.parametrize("value", [None, True, "nan", "text", [], {}, 10**400])
def test_what_is_no_number_is_a_gap(value: object) -> None:
    steps, values = curve([{"step": 3, "loss": value}, {"step": 4, "loss": 1}], "loss")
    assert steps == [3, 4]
    assert math.isnan(values[0])
    assert values[1] == 1


def test_infinities_come_back() -> None:
    _, values = curve([{"step": 3, "loss": "-inf"}, {"step": 4, "loss": "inf"}], "loss")
    assert values == [-np.inf, np.inf]
