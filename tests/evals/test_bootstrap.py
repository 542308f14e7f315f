"""Intervals around figures: coverage, closed form, pairing."""

import numpy as np
import pytest

from dino_jax.evals.bootstrap import Interval, difference, interval
from dino_jax.evals.protocol import Sample


def test_interval_of_a_mean_is_that_of_the_normal_law() -> None:
    random = np.random.default_rng(3)
    units = random.random(400) < 0.3
    found = interval(Sample(units))
    share = units.mean()
    half = 196 * np.sqrt(share * (1 - share) / 400)
    assert found.value == pytest.approx(100 * share)
    assert found.low == pytest.approx(found.value - half, abs=0.6)
    assert found.high == pytest.approx(found.value + half, abs=0.6)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    held = 0
    for trial in range(60):
        found = interval(Sample(random.random(150) < 0.4), seed=trial)
        held += found.low <= 40 <= found.high
    assert 52 <= held <= 60  # 57 expected; below 52 once in two hundred


def test_a_figure_of_equal_units_has_no_width() -> None:
    assert interval(Sample(np.ones(20)))[:3] == (100.0, 100.0, 100.0)


def test_pairs_are_drawn_together() -> None:
    """Examples differ widely and both methods alike: the difference is certain all the same."""
    random = np.random.default_rng(1)
    hard = random.random(300)
    found = difference(Sample(0.5 * hard + 0.05), Sample(0.5 * hard))
    assert found.value == pytest.approx(5)
    assert found.high - found.low < 1e-9
    assert found.verdict == "beats"
    fewer = difference(Sample(0.5 * hard + 0.05, lower_wins=True), Sample(0.5 * hard))
    assert fewer.verdict == "loses"
    assert interval(Sample(0.5 * hard)).high - interval(Sample(0.5 * hard)).low > 2


def test_verdicts() -> None:
    assert Interval(1, 0.5, 2).verdict == "beats"
    assert Interval(-1, -2, -0.5).verdict == "loses"
    assert Interval(0.5, -1, 2).verdict == "even"
    assert Interval(0.0, 0.0, 0.0).verdict == "even"
    assert Interval(1, 0.5, 2, lower_wins=True).verdict == "loses"
    assert Interval(-1, -2, -0.5, lower_wins=True).verdict == "beats"
    assert Interval(0.5, -1, 2, lower_wins=True).verdict == "even"
    assert Interval(np.nan, np.nan, np.nan).verdict == "too few"


@pytest.mark.parametrize(("examples", "verdict"), [(1, "too few"), (5, "too few"), (6, "beats")])
def test_a_handful_of_examples_gives_no_verdict(examples: int, verdict: str) -> None:
    found = difference(Sample(np.ones(examples)), Sample(np.zeros(examples)))
    assert (found.value, found.verdict) == (100, verdict)


def test_any_statistic_and_units_of_any_shape() -> None:
    """Units may be counts whose figure is a ratio of sums, as mean intersection over union is."""
    units = np.array([[1, 2], [3, 4], [0, 1]] * 2)

    def ratio(counts: np.ndarray) -> float:
        return 100 * float(counts[:, 0].sum() / counts[:, 1].sum())

    sample = Sample(units, ratio)
    assert sample.value == pytest.approx(400 / 7)
    assert interval(sample).low <= sample.value <= interval(sample).high


def test_resamples_without_a_figure_are_left_out() -> None:
    units = np.array([np.nan, np.nan, 1.0, 1.0, 0.5, 0.5])

    def of_known(values: np.ndarray) -> float:
        known = values[~np.isnan(values)]
        return 100 * float(known.mean()) if len(known) else float("nan")

    found = interval(Sample(units, of_known))
    assert found.value == pytest.approx(75)
    assert 50 <= found.low <= found.high <= 100


def test_a_handful_of_examples_has_no_interval() -> None:
    assert interval(Sample(np.array([0.5, 1.0, 0.0]))).high == pytest.approx(100)
    found = interval(Sample(np.array([1.0, 0.0])))
    assert found.value == pytest.approx(50)
    assert np.isnan(found.low)
    assert np.isnan(found.high)


def test_unequal_numbers_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="3 examples cannot be paired with 4"):
        difference(Sample(np.ones(3)), Sample(np.ones(4)))
