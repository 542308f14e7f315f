"""How sure a figure is: percentile bootstrap over the examples it was measured on."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from dino_jax.evals.protocol import Sample

RESAMPLES = 1000
LEVEL = 0.95
FEWEST = 6
"""Examples that a verdict takes: of five, all won, a sign test still has p > 0.05."""
_FEWEST_BOUNDED = 3
"""Examples that an interval takes."""


class Interval(NamedTuple):
    """A figure with the bounds of its 95 % interval, in the figure's units."""

    value: float
    low: float
    high: float
    lower_wins: bool = False
    examples: int = FEWEST

    @property
    def verdict(self) -> str:
        """Of a difference: `beats` or `loses` where the interval excludes zero, else `even`.

        `too few` where there are fewer than `FEWEST` examples, or no figure.
        """
        if self.examples < FEWEST or math.isnan(self.low):
            return "too few"
        if not (self.low > 0 or self.high < 0):
            return "even"
        return "beats" if (self.low > 0) != self.lower_wins else "loses"


def interval(sample: Sample, *, seed: int = 0) -> Interval:
    """The figure and its interval over resampled examples (Efron & Tibshirani 1993, 13.3).

    Of one or two examples the bounds are not numbers: they would only repeat them.
    """
    examples = len(sample.units)
    if examples < _FEWEST_BOUNDED:
        return Interval(sample.value, math.nan, math.nan, examples=examples)
    return _bounded(sample.value, _resampled((sample,), seed)[0])._replace(examples=examples)


def difference(first: Sample, second: Sample, *, seed: int = 0) -> Interval:
    """First less second on the same examples, each resample drawing the same of both.

    Raises ValueError where they are not of the same number of examples.
    """
    if len(first.units) != len(second.units):
        raise ValueError(f"{len(first.units)} examples cannot be paired with {len(second.units)}")
    if (examples := len(first.units)) < _FEWEST_BOUNDED:
        value = first.value - second.value
        return Interval(value, math.nan, math.nan, first.lower_wins, examples)
    drawn = _resampled((first, second), seed)
    found = _bounded(first.value - second.value, drawn[0] - drawn[1])
    return found._replace(lower_wins=first.lower_wins, examples=examples)


def _resampled(samples: tuple[Sample, ...], seed: int) -> Float[np.ndarray, "samples resamples"]:
    random = np.random.default_rng(seed)
    count = len(samples[0].units)
    found = np.zeros((len(samples), RESAMPLES))
    for column in range(RESAMPLES):
        rows = random.integers(count, size=count)
        found[:, column] = [sample.statistic(sample.units[rows]) for sample in samples]
    return found


def _bounded(value: float, drawn: np.ndarray) -> Interval:
    held = drawn[~np.isnan(drawn)]  # a resample may lack what the figure is about
    if not len(held):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(held, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(value, float(low), float(high))
