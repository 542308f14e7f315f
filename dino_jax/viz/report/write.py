"""`report.html` of a run: a pure function of what lies in the run's folder."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from dino_jax import files
from dino_jax.config import Config, UserError
from dino_jax.config.fields import from_dict
from dino_jax.interop.runs import checked_summary, count, number, read_metrics
from dino_jax.viz.report import curves, pictures, verdict
from dino_jax.viz.report.calls import FILE as CALLS
from dino_jax.viz.report.calls import read_calls, without_folders
from dino_jax.viz.report.snapshots import FIXED
from dino_jax.viz.report.verdict import Record
from dino_jax.viz.web import page as web
from dino_jax.viz.web.page import Html

FOLDER, FILE = "report", "report.html"


def write_report(workdir: pathlib.Path) -> pathlib.Path:
    """Write the report of a run, whole or not at all, and return where it lies.

    What the folder does not hold is left out of the page with a line that says so.

    Raises:
        UserError: the folder holds no run, or cannot be written into.
    """
    if not (workdir / "config.json").is_file() and not (workdir / "metrics.jsonl").is_file():
        raise UserError(f"{workdir} holds no run: name a folder that main was given as --workdir")
    path = workdir / FILE
    page = report(workdir)
    try:
        with files.whole(path, mark="new") as unfinished:
            unfinished.write_text(page)
    except OSError as error:
        reason = "it is a folder" if path.is_dir() else error.strerror
        raise UserError(f"{path} cannot be written ({reason}): move what is in the way") from error
    return path


def report(workdir: pathlib.Path) -> str:
    """The page of a run, of what is in its folder now."""
    record, folder = read_record(workdir), workdir / FOLDER
    config = _typed(record.resolved)
    holds_images = any((folder / name).exists() for name in (FIXED, pictures.BATCH))
    parts = [
        summary(record, holds_images=holds_images),
        curves.learning(record),
        curves.scores(record),
        comparison(workdir / "table.md"),
        *pictures.panels(folder, config),
        curves.running(record),
        curves.schedules(record),
        configuration(record.config),
        calls(record),
    ]
    return web.page(
        f"Training report: {workdir.resolve().name}", "".join(parts), style=pictures.STYLE
    )


def read_record(workdir: pathlib.Path) -> Record:
    """What a run's folder holds in text; what is missing or damaged is empty."""
    metrics = workdir / "metrics.jsonl"
    try:
        content = json.loads((workdir / "config.json").read_text())
    except (OSError, ValueError, RecursionError):
        content = {}
    try:
        lines, written = read_metrics(metrics), metrics.stat().st_mtime
    except OSError:
        lines, written = [], None
    config, faults = _checked(content)
    summary, others = checked_summary(workdir)
    faults += others
    known = read_calls(workdir / FOLDER)
    if not known and (workdir / FOLDER / CALLS).exists():
        faults.append(f"{FOLDER}/{CALLS} is damaged: left out.")
    return Record(config, lines, summary, known, written, faults)


def _checked(content: Any) -> tuple[dict[str, Any], list[str]]:
    """A configuration without what is not of its type, and what that was."""
    if not isinstance(content, dict) or not isinstance(content.get("resolved"), dict):
        return {}, ["config.json is damaged: left out."] if content else []
    wrong = []
    if not isinstance(content.get("reasons", []), list):
        wrong.append("reasons")
    if not count(content.get("steps_per_epoch", 1)):
        wrong.append("steps_per_epoch")
    resolved = content["resolved"]
    inner = [name for name in ("head", "eval", "data") if not isinstance(resolved.get(name), dict)]
    if resolved.get("steps") is not None and count(resolved["steps"]) is None:
        inner.append("steps")
    if not 0 <= number(resolved.get("epochs", 0)) < 1e9:
        inner.append("epochs")
    kept = {name: value for name, value in content.items() if name not in wrong}
    kept["resolved"] = {name: value for name, value in resolved.items() if name not in inner}
    wrong += [f"resolved.{name}" for name in inner if name in resolved]
    return kept, [f"config.json is damaged: {', '.join(wrong)} left out."] if wrong else []


def _typed(resolved: Mapping[str, Any]) -> Config | None:
    try:
        return from_dict(resolved)
    except (UserError, TypeError, AttributeError):  # of a newer dino_jax
        return None


def summary(record: Record, *, holds_images: bool) -> Html:
    """The verdict: where the run is, whether it is healthy, what it has learnt."""
    told, kind = verdict.health(record)
    parts = [web.paragraph(verdict.progress(record), kind="lead"), web.paragraph(told, kind=kind)]
    parts += [web.paragraph(text, kind="bad") for text in verdict.warnings(record)]
    parts += [web.paragraph(text) for text in verdict.learnt(record)]
    parts.append(web.facts(verdict.figures(record)))
    if holds_images:
        embedded = str(record.resolved.get("data", {}).get("train", "")).startswith("embedded:")
        whose = (
            "It shows parts of photographs that come with scikit-image and scikit-learn; their "
            "terms are in dino_jax's NOTICE."
            if embedded
            else "It holds thumbnails of your images: think of that before you send it on."
        )
        parts.append(web.paragraph(f"This page needs no network. {whose}", kind="note"))
    return Html("".join(parts))


def comparison(path: pathlib.Path) -> Html:
    """The table over the baselines that ends a run (`table.md`)."""
    title = "Against what needs no training"
    try:
        lines = path.read_text().splitlines()
    except (OSError, ValueError):
        told = "Left out: the run has no table.md (eval.baselines writes one when a run ends)."
        return web.section(title, web.paragraph(told, kind="note"))
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|"
    ]
    notes = "".join(web.paragraph(line[2:], kind="note") for line in lines if line[:2] == "- ")
    if len(rows) < 3:
        return web.section(title, notes)
    return web.section(title, web.table(rows[0], rows[2:], caption="percent correct") + notes)


def configuration(config: Mapping[str, Any]) -> Html:
    """Every field as requested and as resolved, and why it was picked."""
    if not config:
        return web.section("Configuration", web.paragraph("Left out: no config.json.", kind="note"))
    requested, resolved = (_flat(config.get(name, {})) for name in ("requested", "resolved"))
    rows = [[name, _value(requested.get(name)), _value(value)] for name, value in resolved.items()]
    changed = [row for row in rows if row[1] != row[2]]
    heads = ("field", "requested", "resolved")
    reasons = [str(reason) for reason in config.get("reasons", [])]
    parts = [web.paragraph(without_folders(reason)) for reason in reasons]
    if changed:
        parts.append(web.table(heads, changed, caption="what was left to be picked"))
    parts.append(web.details(f"All {len(rows)} fields", web.table(heads, rows)))
    return web.section("Configuration", "".join(parts))


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items() if isinstance(values, dict) else ():
        inner = _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {}
        flat |= inner or {f"{prefix}{name}": value}
    return flat


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return without_folders(str(value)) if value is not None else "None"


def calls(record: Record) -> Html:
    """The command, the machine and the code of every call."""
    if not record.calls:
        told = "Left out: this run kept no report while it trained."
        return web.section("Command and machine", web.paragraph(told, kind="note"))
    parts = []
    for place, call in enumerate(record.calls, start=1):
        if len(record.calls) > 1:
            parts.append(Html(f"<h3>Call {place}, from step {call.get('step', 0):,}</h3>"))
        lasted = max(call.get("updated", 0) - call.get("began", 0), 0)
        share = 100 * call.get("reporting", 0) / lasted if lasted else 0
        about = {**call.get("machine", {}), "code": call.get("commit") or "no git checkout"}
        about["this report"] = f"{call.get('reporting', 0):.1f} s of {lasted:.0f} ({share:.1f} %)"
        parts += [web.code(str(call.get("command", ""))), web.facts(about)]
    note = "Of absolute paths only the last part is shown."
    return web.section("Command and machine", "".join(parts) + web.paragraph(note, kind="note"))
