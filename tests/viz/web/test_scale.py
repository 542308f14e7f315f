"""Axes: ticks at round numbers that cover, places in the order of values, numbers as text."""

import itertools
import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dino_jax.viz.web.scale import LARGEST, SMALLEST, Scale, number, scale, tick

finite = st.floats(-LARGEST, LARGEST)
positive = st.floats(SMALLEST, LARGEST)


def read(label: str) -> float:
    """The number that a label says."""
    label = label.replace("−", "-").replace(",", "")
    factors = {"k": 1e3, "M": 1e6, "G": 1e9}
    return float(label.rstrip("kMG")) * factors.get(label[-1], 1.0)


def is_round(value: float) -> bool:
    """Whether it is 1, 2 or 5 times a power of ten."""
    mantissa = float(f"{value:.6e}".split("e")[0])
    return mantissa in (1.0, 2.0, 5.0)


def check(axis: Scale, low: float, high: float) -> None:
    assert 2 <= len(axis.ticks) <= 13
    assert list(axis.ticks) == sorted(set(axis.ticks))
    assert len(set(axis.labels)) == len(axis.labels)
    slack = 1e-9 * max(abs(axis.low), abs(axis.high))
    assert axis.low <= low + slack
    assert axis.high >= high - slack
    for value, label in zip(axis.ticks, axis.labels, strict=True):
        assert read(label) == pytest.approx(value, rel=1e-6, abs=1e-6 * (axis.high - axis.low))
        assert len(label) <= 12


@given(finite, finite)
@settings(max_examples=300, deadline=None)
def test_ticks_cover_what_is_drawn_at_round_numbers(one: float, other: float) -> None:
    low, high = sorted((one, other))
    axis = scale(low, high)
    check(axis, low, high)
    assert (axis.ticks[0], axis.ticks[-1]) == (axis.low, axis.high)
    assert (axis.at(axis.low), axis.at(axis.high)) == (0, 1)
    steps = {round(math.log10(b - a), 3) for a, b in itertools.pairwise(axis.ticks)}
    assert len(steps) == 1
    assert is_round(axis.ticks[1] - axis.ticks[0]) or axis.high > 1e5 * (axis.high - axis.low)


@given(positive, positive)
@settings(max_examples=300, deadline=None)
def test_logarithmic_ticks_cover_and_are_positive(one: float, other: float) -> None:
    low, high = sorted((one, other))
    axis = scale(low, high, log=True)
    check(axis, low, high)
    assert axis.log
    assert axis.ticks[0] > 0
    if high >= 3 * low:
        assert all(is_round(each) for each in axis.ticks)


@given(finite, finite)
@settings(max_examples=200, deadline=None)
def test_an_axis_that_does_not_end_at_ticks_has_them_inside(one: float, other: float) -> None:
    low, high = sorted((one, other))
    axis = scale(low, high, cover=False)
    slack = 1e-6 * (axis.high - axis.low)
    assert all(axis.low - slack <= each <= axis.high + slack for each in axis.ticks)
    assert len(axis.ticks) >= 2
    assert axis.low <= low <= high <= axis.high


@pytest.mark.parametrize("log", [False, True])
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_greater_values_lie_further(log: bool, data: st.DataObject) -> None:
    values = positive if log else finite
    a, b, c = sorted(data.draw(st.tuples(values, values, values)))
    axis = scale(a, c, log=log)
    places = [axis.at(each) for each in (a, b, c)]
    assert places == sorted(places)
    assert all(0 <= each <= 1 for each in places)
    if not log:
        assume(c - a > 1e-4 * max(abs(a), abs(c), 1e-200))
        share = (b - a) / (c - a)
        assert (places[1] - places[0]) == pytest.approx(share * (places[2] - places[0]), abs=1e-6)


def test_in_a_decade_lies_the_same_length() -> None:
    axis = scale(1e-6, 1.0, log=True)
    places = [axis.at(10.0**n) for n in range(-6, 1)]
    assert places == pytest.approx([n / 6 for n in range(7)])


def test_ticks_of_steps_are_short() -> None:
    assert scale(0, 9000, cover=False).labels == ("0", "2k", "4k", "6k", "8k")
    assert scale(0, 2100).labels == ("0", "500", "1k", "1.5k", "2k", "2.5k")
    assert scale(0, 1.2e6, cover=False).labels == (
        "0",
        "200k",
        "400k",
        "600k",
        "800k",
        "1M",
        "1.2M",
    )
    assert scale(-1, 1).labels == ("−1.0", "−0.5", "0", "0.5", "1.0")
    assert scale(1e-6, 5e-4, log=True).labels[0] == "1e-6"


@pytest.mark.parametrize("value", [0.0, 3.0, -7.5, 1e-290, 1e299, 48.0375])
def test_a_constant_lies_in_the_middle(value: float) -> None:
    axis = scale(value, value)
    assert axis.low < value < axis.high
    assert axis.at(value) == pytest.approx(0.5, abs=0.2)


def test_numbers_are_what_a_reader_wants() -> None:
    shown = {
        0.0: "0", 48.0375: "48.04", 0.1: "0.1", 9000: "9,000", 1e-6: "1e-6", 3.9634604: "3.963",
        -0.5: "−0.5", 123456.7: "123,457", 0.00123456: "0.001235", 1.5e12: "1.5e12",
        math.inf: "∞", -math.inf: "−∞", 99.99999: "100",
    }  # fmt: skip
    assert {value: number(value) for value in shown} == shown
    assert number(None) == number(math.nan) == "–"


@given(st.floats(-1e307, 1e307))
def test_numbers_keep_their_digits(value: float) -> None:
    assert read(number(value)) == pytest.approx(value, rel=6e-4)


@given(st.integers(-30, 30), st.sampled_from([1, 2, 5]), st.integers(-30, 30))
def test_neighbouring_ticks_read_differently(exponent: int, factor: int, count: int) -> None:
    step = factor * 10.0**exponent
    texts = [tick(n * step, step) for n in (count, count + 1)]
    assert texts[0] != texts[1]
    assert [read(each) for each in texts] == pytest.approx([count * step, (count + 1) * step])
