"""The curves of several runs, a colour a run, the student's dashed beside the teacher's."""

import math
from collections.abc import Mapping, Sequence

from dino_jax.interop.runs import number
from dino_jax.viz.compare.runs import AXES, Run
from dino_jax.viz.compare.settings import same_images
from dino_jax.viz.web.chart import Line, chart, with_mean
from dino_jax.viz.web.page import Html, grid, paragraph, section

LEARNING = {
    "loss": ("Loss", "nats"),
    "kl": ("KL of teacher and student", "nats"),
    "teacher_entropy": ("Entropy of the teacher, of one view", "nats"),
    "teacher_marginal_entropy": ("Entropy of its mean over the batch", "nats"),
    "assignment_information": ("Assignment information", "nats"),
}
SCORES = {
    "knn_top1": ("k-NN, top 1", "percent"),
    "knn_top5": ("k-NN, top 5", "percent"),
    "view_retrieval_top1": ("View retrieval, top 1", "percent"),
    "effective_rank": ("Effective rank of the features", "directions"),
    "effective_rank_centred": ("Effective rank less their mean", "directions"),
}
RUNNING = {
    "images_per_second": ("Speed", "images a second"),
    "data_wait": ("Waiting for images", "share of the time"),
    "grad_norm": ("Norm of the gradient, before clipping", "norm"),
}
SCHEDULES = {
    "learning_rate": ("Learning rate", "each step"),
    "weight_decay": ("Weight decay", "each step"),
    "momentum": ("Momentum of the teacher", "each step"),
    "teacher_temperature": ("Temperature of the teacher", "each step"),
}
Titles = Mapping[str, tuple[str, str]]


def curves(runs: Sequence[Run], axis: str) -> Html:
    """The sections of the page that hold curves."""
    parts = [
        section(
            "Learning",
            grid(_charts(runs, LEARNING, axis))
            + paragraph(
                "Bold: the mean of neighbouring values; pale: every value. Collapse to one "
                "prototype is an entropy of 0 in both; collapse to the uniform answer is ln K in "
                "both, with a KL of 0. A lower loss is no better network.",
                kind="note",
            ),
        ),
        section("Scores while training", _scores(runs, axis)),
        section("Speed and steadiness", grid(_charts(runs, RUNNING, axis))),
    ]
    differing = {name: title for name, title in SCHEDULES.items() if not _same(runs, name)}
    told = paragraph("The same in all runs at every step they share.") if not differing else ""
    parts.append(section("Schedules", told + grid(_charts(runs, differing, axis))))
    return Html("".join(parts))


def _scores(runs: Sequence[Run], axis: str) -> str:
    body: str = grid(_charts(runs, SCORES, axis, student=True))
    if any("knn_top1" in line for run in runs for line in run.lines):
        full = [run.name for run in runs if run.finished and run.config.eval.final_full]
        note = "Solid: teacher; dashed: student."
        if full:
            last = "the last k-NN is over all images, those before over a part"
            note += f" In finished runs with eval.final_full ({', '.join(full)}) {last}."
        body += paragraph(note, kind="note")
    return body


def _charts(runs: Sequence[Run], titles: Titles, axis: str, *, student: bool = False) -> list[Html]:
    """One for each figure that a run has."""
    drawn = []
    for name, (title, unit) in titles.items():
        lines = [
            line
            for place, run in enumerate(runs)
            for line in _lines(run, name, place, axis, student=student)
        ]
        if lines:
            levels = _levels(runs, name)
            drawn.append(chart(lines, x=AXES[axis], y=unit, title=title, levels=levels))
    return drawn


def _lines(run: Run, name: str, place: int, axis: str, *, student: bool) -> list[Line]:
    x, y = run.curve(name, axis)
    found = with_mean(Line(run.name, x, y, place)) if x else []
    x, y = run.curve(f"student_{name}", axis) if student else ([], [])
    return [*found, Line(f"{run.name}, student", x, y, place, dashed=True)] if x else found


def _levels(runs: Sequence[Run], name: str) -> dict[str, float]:
    """Horizontal lines: collapse, or what needs no training where all runs agree on it."""
    if name in ("kl", "assignment_information"):
        return {"0": 0.0}
    if name in ("teacher_entropy", "teacher_marginal_entropy", "loss"):
        limits = {f"ln K = {run.largest_entropy:.2f}": run.largest_entropy for run in runs}
        return limits if name == "loss" else {"0": 0.0, **limits}
    if name in ("images_per_second", "data_wait"):
        return {"": 0.0}
    found: dict[str, float] = {}
    if not same_images(runs):
        return found
    for prefix, shown in (("chance_", "chance"), ("pixels_", "raw pixels")):
        values = {number(run.summary.get(prefix + name)) for run in runs}
        values = {value for value in values if math.isfinite(value)}
        if len(values) == 1:
            found[f"{shown} {min(values):.1f}"] = min(values)
    return found


def _same(runs: Sequence[Run], name: str) -> bool:
    """Whether a figure is the same in all runs at the steps they share, up to rounding."""
    first, *others = [dict(zip(*run.curve(name), strict=True)) for run in runs]
    return all(
        math.isclose(first[step], other[step], rel_tol=1e-6)
        for other in others
        for step in first.keys() & other.keys()
    )
