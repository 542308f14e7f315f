"""Charts: whole SVG within its view box, in the order of values, with gaps, levels and a legend."""

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dino_jax.viz.web.chart import HEIGHT, WIDTH, Line, chart, with_mean
from dino_jax.viz.web.curve import MOST, prepared
from dino_jax.viz.web.scale import number
from tests.viz.web.reading import SVG, places, points, tree

NASTY = "<a href='x'>&\"run\" </svg></script>\0\udc80"


def drawn(*lines: Line, **options: Any) -> str:
    return chart(lines, **{"x": "step", "y": "loss", "title": "Loss"} | options)


def texts(figure: str, kind: str = "text") -> list[str]:
    return [each.text or "" for each in tree(figure).iter(f"{SVG}{kind}")]


def values(figure: str) -> Any:
    return json.loads(tree(figure).attrib["data-lines"])


series = st.lists(
    st.tuples(st.floats(width=64), st.one_of(st.none(), st.floats(width=64), st.floats(-100, 100))),
    max_size=30,
)


@given(st.lists(series, max_size=4), st.booleans(), st.dictionaries(st.text(), st.floats()))
@settings(max_examples=150, deadline=None)
def test_whatever_is_drawn_is_whole_and_within(
    data: list[list[tuple[float, Any]]], log: bool, levels: dict[str, float]
) -> None:
    lines = [
        Line(f"line {n}", [x for x, _ in each], [y for _, y in each], n, dashed=n % 2 == 1)
        for n, each in enumerate(data)
    ]
    figure = drawn(*lines, log=log, levels=levels)
    if tree(figure).find(f"{SVG}svg") is None:
        assert "no loss yet" in figure
        return
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places(figure))


@pytest.mark.parametrize("log", [False, True])
@given(ys=st.lists(st.floats(1e-5, 1e5), min_size=2, max_size=40))
@settings(max_examples=60, deadline=None)
def test_greater_is_higher_and_later_is_further_right(log: bool, ys: list[float]) -> None:
    (curve,) = points(drawn(Line("a", range(len(ys)), ys), log=log))
    assert [x for x, _ in curve] == sorted({x for x, _ in curve})
    in_order = sorted(range(len(ys)), key=lambda n: ys[n])
    heights = [curve[n][1] for n in in_order]
    assert all(a >= b for a, b in itertools.pairwise(heights))


def test_values_lie_where_the_ticks_say() -> None:
    figure = drawn(Line("a", [0, 100], [0.0, 10.0]))
    (curve,) = points(figure)
    plot = tree(figure)
    labelled = {e.text: e for e in plot.iter(f"{SVG}text") if e.get("text-anchor") == "end"}
    assert curve[0][1] == pytest.approx(float(labelled["0"].attrib["y"]) - 4, abs=0.1)
    assert curve[1][1] == pytest.approx(float(labelled["10"].attrib["y"]) - 4, abs=0.1)


@pytest.mark.parametrize("gaps", [0.0, 0.001, 0.9])
@given(seed=st.integers(0, 1000), count=st.integers(MOST + 1, 5000))
@settings(max_examples=15, deadline=None)
def test_of_many_points_few_are_left_and_the_extremes_are_among_them(
    gaps: float, seed: int, count: int
) -> None:
    random = np.random.default_rng(seed)
    ys = np.where(random.random(count) < gaps, math.nan, random.standard_normal(count)).tolist()
    kept = prepared(range(len(ys)), ys)
    assert len(kept.points) <= MOST
    finite = [y for y in ys if not math.isnan(y)]
    assert (min(kept.values), max(kept.values)) == (min(finite), max(finite))
    assert kept.last == finite[-1]
    assert kept.x == sorted(kept.x)
    assert all(ys[int(x)] == y or math.isnan(y) for x, y in kept.points)
    assert any(math.isnan(y) for _, y in kept.points) == any(map(math.isnan, ys))


@pytest.mark.parametrize("gap", [math.nan, None, math.inf, -math.inf])
def test_a_gap_is_one_and_what_stands_alone_is_a_mark(gap: float | None) -> None:
    ys: list[Any] = [1.0, 2.0, gap, 3.0, gap, 5.0, 4.0]
    figure = drawn(Line("a", range(7), ys))
    assert figure.count("M") > 2
    (path,) = [
        e.attrib["d"] for e in tree(figure).iter(f"{SVG}path")
        if e.get("class") == "curve" and e.attrib["d"] != "M-18 0H18"
    ]  # fmt: skip
    assert path.count("M") == 2
    assert path.count("L") == 2
    marks = {e.attrib["transform"] for e in tree(figure).iter(f"{SVG}g")}
    assert len(marks) >= 4, "the one alone, and those along the curve"


def test_on_a_logarithmic_axis_what_is_not_positive_is_a_gap() -> None:
    figure = drawn(Line("a", range(5), [0.0, 1.0, 10.0, -1.0, 5.0]), log=True, levels={"0": 0.0})
    (curve,) = points(figure)
    assert len(curve) == 2
    assert "loss (log)" in texts(figure)
    assert "level" not in figure


def test_levels_are_drawn_with_their_names_and_the_axis_reaches_them() -> None:
    levels = {"ln K = 6.24": 6.24, "chance": 6.2, "zero": 0.0}
    figure = drawn(Line("a", [0, 10], [3.0, 2.0]), levels=levels)
    plot = tree(figure)
    names = {e.text: e for e in plot.iter(f"{SVG}text") if e.get("class") == "level-name"}
    assert set(names) == set(levels)
    places = [(float(e.attrib["x"]), float(e.attrib["y"])) for e in names.values()]
    for number_, (x, y) in enumerate(places):
        for other in places[:number_]:
            assert abs(y - other[1]) >= 14 or abs(x - other[0]) > 50
    heights = [float(e.attrib["y1"]) for e in plot.iter(f"{SVG}line") if e.get("class") == "level"]
    assert heights[0] < heights[1] < heights[2]


@pytest.mark.parametrize("ys", [[], [math.nan, math.nan], [None]])
def test_of_nothing_it_says_so(ys: list[Any]) -> None:
    figure = drawn(Line("a", range(len(ys)), ys), levels={"ln K": 6.2})
    assert "no loss yet" in figure
    assert tree(figure).find(f"{SVG}svg") is None


@pytest.mark.parametrize("ys", [[3.0], [3.0] * 50])
def test_one_point_and_a_constant_are_seen(ys: list[float]) -> None:
    figure = drawn(Line("a", range(len(ys)), ys))
    assert list(tree(figure).iter(f"{SVG}g"))
    assert all(HEIGHT * 0.2 < y < HEIGHT * 0.8 for curve in points(figure) for _, y in curve)


def test_the_legend_has_names_and_last_values() -> None:
    figure = drawn(Line("a", [0, 1], [3.0, 0.25]), Line("b", [0, 1], [1.0, math.nan], 1))
    entries = ["".join(item.itertext()).split() for item in tree(figure).iter() if item.tag == "li"]
    assert entries == [["a", "0.25"], ["b", "1"], ["last", "values"]]


def test_names_are_escaped_wherever_they_stand() -> None:
    figure = chart(
        [Line(NASTY, [0, 1], [1, 2])], x=NASTY, y=NASTY, title=NASTY, levels={NASTY: 1.5}
    )
    assert "<a" not in figure
    assert "</script" not in figure
    figure.encode()
    shown = NASTY.replace("\0", "\ufffd").replace("\udc80", "\ufffd")
    assert shown in texts(figure)
    assert shown in [each.text for each in tree(figure).iter("span")]
    assert tree(figure).attrib["data-x"] == shown


def test_it_is_told_to_who_cannot_see_it() -> None:
    plot = tree(drawn(Line("run a", [0, 50], [4.0, 1.5]))).find(f"{SVG}svg")
    assert plot is not None
    assert plot.get("role") == "img"
    assert [child.tag for child in plot][:2] == [f"{SVG}title", f"{SVG}desc"]
    assert plot[0].text == "Loss"
    assert plot[1].text == "loss by step. run a: 4 at 0, 1.5 at 50, between 1.5 and 4."


def test_curves_differ_by_more_than_their_colour() -> None:
    lines = [Line(str(n), [0, 1], [n, n + 1.0], n % 8, dashed=n >= 8) for n in range(16)]
    looks = set()
    for item in tree(drawn(*lines)).iter("li"):
        paths = list(item.iter(f"{SVG}path"))
        looks |= {tuple((p.get("d"), p.get("class")) for p in paths)} if paths else set()
    assert len(looks) == 16


def test_the_values_under_the_pointer_are_those_drawn() -> None:
    xs, ys = [0, 10, 20], [1.23456, math.nan, 1e-7]
    ((given_x, given_y),) = values(drawn(Line("a", xs, ys)))
    assert given_x == xs
    assert given_y == [number(y) for y in ys] == ["1.235", "–", "1e-7"]


@given(st.lists(st.floats(-1e6, 1e6), min_size=75, max_size=400))
@settings(max_examples=30, deadline=None)
def test_the_mean_stays_within_and_ends_where_the_curve_does(ys: list[float]) -> None:
    faint, mean = with_mean(Line("a", range(len(ys)), ys))
    assert faint.faint
    assert faint.y == ys
    assert not mean.faint
    half, place = len(ys) // 50, len(ys) // 2
    expected = sum(ys[place - half : place + half + 1]) / (2 * half + 1)
    assert mean.y[place] == pytest.approx(expected, abs=1e-3)
    assert (mean.y[0], mean.y[-1]) == pytest.approx((ys[0], ys[-1]), abs=1e-3)


def test_a_faint_curve_is_in_no_legend_and_gaps_stay_gaps() -> None:
    ys = [2.0] * 50 + [math.nan] + [2.0] * 49
    lines = with_mean(Line("a", range(100), ys))
    assert math.isnan(lines[1].y[50])
    assert [y for y in lines[1].y if not math.isnan(y)] == pytest.approx([2.0] * 99)
    figure = drawn(*lines)
    assert len(values(figure)) == 1
    assert len(points(figure)) == 2
    assert with_mean(Line("a", [1], [2])) == [Line("a", [1], [2])]
