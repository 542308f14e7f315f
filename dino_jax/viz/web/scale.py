"""Where values lie on an axis, its ticks at round numbers, and how numbers are written."""

import math
from collections.abc import Iterable
from typing import NamedTuple

LARGEST = 1e300
"""Of greater magnitude nothing is drawn: differences would overflow."""
SMALLEST = 1e-280
"""Below that a logarithmic axis draws nothing."""
_FLAT = 1e-5  # a range this small beside its values is drawn as one constant
_SUFFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


class Scale(NamedTuple):
    """An axis: the values at its ends, whether it is logarithmic, and where it is marked."""

    low: float
    high: float
    log: bool
    ticks: tuple[float, ...]
    labels: tuple[str, ...]

    def at(self, value: float) -> float:
        """The place of a value: 0 at the low end, 1 at the high one."""
        if self.log:
            low, high, value = (math.log10(each) for each in (self.low, self.high, value))
        else:
            low, high = self.low, self.high
        return min(max((value - low) / (high - low), 0.0), 1.0)


def scale(low: float, high: float, *, log: bool = False, cover: bool = True) -> Scale:
    """An axis for values from `low` to `high`, of at most `LARGEST`.

    For a logarithmic one both are `SMALLEST` at least.
    With `cover` it ends at ticks, so that they cover the values; without at the values themselves.
    Equal or nearly equal ends are moved apart.
    """
    if log and high >= low * 3:
        return _logarithmic(low, high)
    low, high = _apart(low, high)
    exponent, factor = _step(high - low)
    step = factor * 10.0**exponent
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if log and first <= 0:
        return _logarithmic(low, high)
    if not cover:
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    counts = range(first * factor, last * factor + 1, factor)
    # Powers of ten above one are exact, so the ticks are the nearest floats to round numbers.
    ticks = tuple(n * 10.0**exponent if exponent >= 0 else n / 10.0**-exponent for n in counts)
    ends = (ticks[0], ticks[-1]) if cover else (low, high)
    return Scale(*ends, log, ticks, tuple(tick(each, step) for each in ticks))


def _apart(low: float, high: float) -> tuple[float, float]:
    size = max(abs(low), abs(high))
    if high - low > _FLAT * size and high - low > 1e-290:
        return low, high
    middle, half = low / 2 + high / 2, 0.1 * size if size >= SMALLEST else 1.0
    return middle - half, middle + half


def _step(span: float) -> tuple[int, int]:
    """The exponent and the factor (1, 2 or 5) of a distance that cuts `span` in four to ten."""
    exponent = math.floor(math.log10(span / 4))
    rest = span / 4 / 10.0**exponent
    return exponent, 5 if rest >= 5 else 2 if rest >= 2 else 1


def _logarithmic(low: float, high: float) -> Scale:
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    last = max(last, first + 1)
    if last - first > 3:  # powers of ten, of more decades than are legible every second or third
        every = -(-(last - first) // 6)
        ticks = [10.0**n for n in range(first, last + every, every)]
    else:
        between = [m * 10.0**n for n in range(first, last + 1) for m in (1, 2, 5)]
        below = max((t for t in between if t <= low * (1 + 1e-9)), default=between[0])
        above = min((t for t in between if t >= high * (1 - 1e-9)), default=between[-1])
        ticks = [t for t in between if below <= t <= above]
    ticks = [float(f"{each:.1g}") for each in ticks]
    return Scale(ticks[0], ticks[-1], True, tuple(ticks), tuple(tick(t, t) for t in ticks))


def tick(value: float, step: float) -> str:
    """A tick's text, with the digits by which ticks `step` apart differ: 0, 500, 1k, 1.5k."""
    size = abs(value)
    if size < step / 2:
        return "0"
    if size >= 1e12 or step < 1e-4:
        digits = max(0, math.floor(math.log10(size) + 1e-9) - math.floor(math.log10(step) + 1e-9))
        return _minus(_short(f"{value:.{digits}e}"))
    divisor, suffix = next(((d, s) for d, s in _SUFFIXES if size >= d), (1.0, ""))
    decimals = max(0, -math.floor(math.log10(step / divisor) + 1e-9))
    text = f"{value / divisor:.{decimals}f}"
    return _minus((_bare(text) if suffix else text) + suffix)


def number(value: float | None, digits: int = 4) -> str:
    """A number for a reader, to so many significant digits; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if value == int(value) and size < 1e9:
        return _minus(f"{int(value):,}")
    if size < 1e-3 or size >= 1e9:
        return _minus(_short(f"{value:.{digits - 1}e}"))
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    return _minus(_bare(f"{value:,.{decimals}f}"))


def _short(text: str) -> str:
    """1.200e-05 as 1.2e-5."""
    mantissa, exponent = text.split("e")
    return f"{_bare(mantissa)}e{int(exponent)}"


def _bare(text: str) -> str:
    """1.50 as 1.5 and 2.00 as 2."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def _minus(text: str) -> str:
    return text.replace("-", "−", 1) if text.startswith("-") else text


def ends(values: Iterable[float]) -> tuple[float, float] | None:
    """The least and the greatest; None where there are none."""
    found = sorted(values)
    return (found[0], found[-1]) if found else None
