"""One protocol over several networks: the table, the intervals, the differences."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from dino_jax.evals import bootstrap
from dino_jax.evals.bootstrap import Interval
from dino_jax.evals.encoder import NETWORK, Encoder
from dino_jax.evals.protocol import Report, Request
from dino_jax.evals.published import published
from dino_jax.evals.table import Row, Table
from dino_jax.files import whole

Run = Callable[[Request], Report]


class Result(NamedTuple):
    """The reports of all networks, in order, and what is said of them together."""

    table: Table
    values: dict[str, Any]
    """What `--json` prints: `figures` and `intervals` by row and figure; `differences` of the first
    row from each other one; `published`; `settings`."""
    reports: tuple[Report, ...]


def evaluate(
    protocol: str, run: Run, requests: Sequence[Request], *, settings: Mapping[str, Any]
) -> Result:
    """Run a protocol for every request; the first is compared with each of the others.

    Rows appear in order: the networks, then what is published of the first one's architecture.
    """
    reports = tuple(run(request) for request in requests)
    names = _names(requests, reports)
    found = {name: _intervals(report) for name, report in zip(names, reports, strict=True)}
    others = dict(zip(names[1:], reports[1:], strict=True))
    differences = {name: _differences(reports[0], report) for name, report in others.items()}
    titles = {key: title for report in reports for key, title in report.titles.items()}
    notes = tuple(dict.fromkeys(note for report in reports for note in report.notes))
    rows = tuple(_row(name, figures) for name, figures in found.items())
    known = _published(protocol, requests[0].encoder, titles)
    said = tuple(_said(names[0], other, titles, each) for other, each in differences.items())
    table = Table(reports[0].title, titles, rows + known, notes + tuple(filter(None, said)))
    values = {
        "protocol": protocol,
        "settings": dict(settings),
        "figures": {
            name: {key: each.value for key, each in found[name].items()} | dict(report.values)
            for name, report in zip(names, reports, strict=True)
        },
        "intervals": {name: {k: [e.low, e.high] for k, e in found[name].items()} for name in names},
        "differences": {
            other: {
                key: {"value": e.value, "low": e.low, "high": e.high, "verdict": e.verdict}
                for key, e in figures.items()
            }
            for other, figures in differences.items()
        },
        "published": known[0].values if known else {},
    }
    return Result(table, values, reports)


def write(result: Result, protocol: str, folder: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Write the table and the figures as PROTOCOL.md and PROTOCOL.json; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {
        f"{protocol}.md": result.table.markdown() + "\n",
        f"{protocol}.json": json.dumps(result.values, indent=1, default=_plain) + "\n",
    }
    for name, content in written.items():
        with whole(folder / name) as unfinished:
            unfinished.write_text(content)
    return tuple(folder / name for name in written)


def line(result: Result) -> str:
    """The figures as one line of JSON."""
    return json.dumps(result.values, default=_plain)


def _names(requests: Sequence[Request], reports: Sequence[Report]) -> list[str]:
    """A name for each row; the same weights twice are numbered."""
    names: list[str] = []
    for request, report in zip(requests, reports, strict=True):
        encoder = request.encoder
        name = report.row if encoder is None else encoder.name
        names.append(name if name not in names else f"{name} ({len(names) + 1})")
    return names


def _row(name: str, figures: Mapping[str, Interval]) -> Row:
    values = {key: each.value for key, each in figures.items()}
    return Row(name, f"{name}: ", values, {k: (e.low, e.high) for k, e in figures.items()})


def _published(protocol: str, first: Encoder | None, titles: Mapping[str, str]) -> tuple[Row, ...]:
    if first is None or first.kind != NETWORK:
        return ()
    known = published(protocol, first.arch, first.patch_size)
    shown = {key: value for key, value in known.items() if key in titles}
    title = f"paper: {first.arch} / {first.patch_size} on ImageNet"
    return (Row(title, "paper: ", shown),) if shown else ()


def _said(
    first: str, other: str, titles: Mapping[str, str], figures: Mapping[str, Interval]
) -> str:
    """One sentence on the differences between two rows."""
    each = (
        f"{titles.get(key, key)} {found.value:+.1f} [{found.low:+.1f}, {found.high:+.1f}] "
        f"{found.verdict}"
        for key, found in figures.items()
    )
    return f"{first} less {other}: {', '.join(each)}." if figures else ""


def _intervals(report: Report) -> dict[str, Interval]:
    return {name: bootstrap.interval(sample) for name, sample in report.samples.items()}


def _differences(first: Report, second: Report) -> dict[str, Interval]:
    return {
        name: bootstrap.difference(sample, second.samples[name])
        for name, sample in first.samples.items()
        if name in second.samples and len(second.samples[name].units) == len(sample.units)
    }


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value.item() if hasattr(value, "item") else str(value)
