"""One protocol over several networks: the table, the intervals, the differences."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from dino_jax.evals import bootstrap
from dino_jax.evals.bootstrap import FEWEST, Interval
from dino_jax.evals.protocol import Report, Request
from dino_jax.evals.published import published
from dino_jax.evals.table import Row, Table
from dino_jax.files import whole
from dino_jax.interop.encoder import NETWORK, Encoder

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
    compared = tuple(
        _row(f"{names[0]} less {other}", figures, verdicts=True)
        for other, figures in differences.items()
    )
    examples = [each.examples for figures in found.values() for each in figures.values()]
    if min(examples, default=FEWEST) < FEWEST:
        notes += (f"There are fewer than {FEWEST} examples: rough intervals, no verdicts.",)
    table = Table(reports[0].title, titles, rows + compared + known, notes)
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
        f"{protocol}.json": json.dumps(_plain(result.values), indent=1) + "\n",
    }
    for name, content in written.items():
        with whole(folder / name) as unfinished:
            unfinished.write_text(content)
    return tuple(folder / name for name in written)


def line(result: Result) -> str:
    """The figures as one line of JSON."""
    return json.dumps(_plain(result.values), allow_nan=False)


def _names(requests: Sequence[Request], reports: Sequence[Report]) -> list[str]:
    """A name for each row; the same weights twice are numbered."""
    names: list[str] = []
    for request, report in zip(requests, reports, strict=True):
        encoder = request.encoder
        name = report.row if encoder is None else encoder.name
        names.append(name if name not in names else f"{name} ({len(names) + 1})")
    return names


def _row(name: str, figures: Mapping[str, Interval], *, verdicts: bool = False) -> Row:
    values = {key: each.value for key, each in figures.items()}
    bounds = {key: (each.low, each.high) for key, each in figures.items()}
    said = {key: each.verdict for key, each in figures.items()} if verdicts else {}
    return Row(name, f"{name}: ", values, bounds, said)


def _published(protocol: str, first: Encoder | None, titles: Mapping[str, str]) -> tuple[Row, ...]:
    if first is None or first.kind != NETWORK:
        return ()
    known = published(protocol, first.arch, first.patch_size)
    shown = {key: value for key, value in known.items() if key in titles}
    title = f"paper: {first.arch} / {first.patch_size} on ImageNet"
    return (Row(title, "paper: ", shown),) if shown else ()


def _intervals(report: Report) -> dict[str, Interval]:
    return {name: bootstrap.interval(sample) for name, sample in report.samples.items()}


def _differences(first: Report, second: Report) -> dict[str, Interval]:
    return {
        name: bootstrap.difference(sample, second.samples[name])
        for name, sample in first.samples.items()
        if name in second.samples and len(second.samples[name].units) == len(sample.units)
    }


def _plain(value: Any) -> Any:
    """The same in what JSON has: null for what is no number, names for paths."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)
