"""A table of figures: the same rows as text, as Markdown and as named values."""

import dataclasses
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping

_WIDTH = 100


@dataclasses.dataclass(frozen=True)
class Row:
    """One line: what the reader sees, the prefix of its names in `summary.json`, its figures."""

    title: str
    prefix: str
    values: dict[str, float]
    bounds: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    """Of the interval around a figure, where it was measured."""
    verdicts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Of differences, which are shown with their sign."""

    def cell(self, name: str) -> str:
        """What the table shows of one measure."""
        if name in self.verdicts:
            bounds = "".join(f" [{low:+.1f}, {high:+.1f}]" for low, high in self._bounds(name))
            return f"{self.values[name]:+.1f}{bounds} {self.verdicts[name]}"
        figure = _figure(self.values.get(name, math.nan))
        return figure + "".join(f" [{low:.1f}, {high:.1f}]" for low, high in self._bounds(name))

    def _bounds(self, name: str) -> list[tuple[float, float]]:
        """The one pair, or none."""
        found = self.bounds.get(name, (math.nan, math.nan))
        return [] if math.isnan(found[0]) else [found]


@dataclasses.dataclass(frozen=True)
class Table:
    """Figures of several methods in several measures; `columns` maps a measure to its title.

    Figures are percentages (0 to 100). A measure that a row lacks is shown as a dash.
    """

    title: str
    columns: dict[str, str]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """Columns aligned for a terminal, in several blocks where they are wider than it."""
        lines = list(self._cells())
        columns = list(zip(*lines, strict=True)) if self.columns else []
        # A path stays in one piece, to be copied.
        whole = textwrap.TextWrapper(_WIDTH, break_on_hyphens=False, break_long_words=False)
        notes = [line for note in self.notes for line in whole.wrap(note)]
        body = [line for block in _blocks(columns) for line in (*_aligned(block), "")]
        return "\n".join([self.title, "", *body, *notes]).rstrip()

    def markdown(self) -> str:
        """The same as a Markdown table."""
        head, *body = self._cells()
        rule = ["---"] + ["---:"] * (len(head) - 1)
        lines = ["| " + " | ".join(line) + " |" for line in (head, rule, *body)]
        shown = [*lines, ""] if self.columns else []
        notes = [f"- {note}" for note in self.notes]
        return "\n".join([f"**{self.title}**", "", *shown, *notes]).rstrip()

    def values(self) -> dict[str, float]:
        """Every figure by row prefix and measure, as in `untrained_view_retrieval_top1`."""
        return {
            row.prefix + name: row.values[name]
            for row in self.rows
            for name in self.columns
            if name in row.values
        }

    def _cells(self) -> Iterator[list[str]]:
        yield ["", *self.columns.values()]
        for row in self.rows:
            yield [row.title, *(row.cell(name) for name in self.columns)]


def best(figures: Iterable[dict[str, float]]) -> dict[str, float]:
    """The highest of several figures, measure by measure."""
    first, *others = figures
    return {name: max([first[name], *(other[name] for other in others)]) for name in first}


def _figure(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f}"


def _blocks(columns: list[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
    """The columns in parts that fit the width, each with the first one; at least one in each."""
    if not columns:
        return
    first, *rest = columns
    block = [first]
    for column in rest:
        if len(block) > 1 and _length([*block, column]) > _WIDTH:
            yield block
            block = [first]
        block.append(column)
    yield block


def _length(columns: list[tuple[str, ...]]) -> int:
    return sum(max(map(len, column)) + 2 for column in columns) - 2


def _aligned(columns: list[tuple[str, ...]]) -> list[str]:
    """Lines of columns side by side, with a rule under the first."""
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for cells in zip(*columns, strict=True):
        first, *rest = zip(cells, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
        lines.append("  ".join(padded).rstrip())
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]
