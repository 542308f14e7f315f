"""The scores of several runs in tables: at a point they share, and at the end."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dino_jax.interop.runs import number as read_number
from dino_jax.viz.compare.runs import AXES, Run
from dino_jax.viz.compare.settings import repeats, same_images
from dino_jax.viz.web.page import Html, paragraph, section, table
from dino_jax.viz.web.scale import number

MEASURES = {
    "knn_top1": "k-NN top 1, %",
    "knn_top5": "k-NN top 5, %",
    "view_retrieval_top1": "view retrieval, %",
    "scene_top1": "scenes, %",
    "scene_textures_top1": "scenes, textures, %",
    "scene_grey_top1": "scenes, grey photographs, %",
    "effective_rank": "effective rank",
    "effective_rank_centred": "effective rank, centred",
}
NETWORKS = {"": "teacher", "student_": "student", "untrained_": "untrained", "start_": "start"}
Figures = Mapping[str, Sequence[float]]
"""Of all runs, NaN where one has none, by a name for the reader."""


class Table(NamedTuple):
    """Scores side by side."""

    caption: str
    names: tuple[str, ...]
    figures: Figures
    alike: bool
    """Whether all runs are at the same point, or at their ends."""


def tables(runs: Sequence[Run], axis: str) -> list[Table]:
    """Scores where all runs were scored last, if that is before an end, and of each run's end."""
    names = tuple(run.name for run in runs)
    found = []
    shared = _shared(runs, axis)
    if shared and any(run.place(axis) > shared for run in runs):
        at = {run.name: _line_at(run, shared, axis) for run in runs}
        where = f"{AXES[axis]} {number(shared)}: the last at which all runs were scored"
        found.append(Table(where, names, _figures([at[name] for name in names]), True))
    ends = ", ".join(f"{run.name} at step {run.step:,}" for run in runs)
    last = [{**_newest(run), **(run.summary if run.ended else {})} for run in runs]
    finished = all(run.finished for run in runs)
    where = f"{'at the end' if finished else 'as far as they are'}: {ends}"
    alike = finished or len({run.step for run in runs}) == 1
    found.append(Table(where, names, _figures(last), alike))
    return [each for each in found if each.figures]


def _shared(runs: Sequence[Run], axis: str) -> float | None:
    scored = []
    for run in runs:
        places = run.places(axis)
        lines = (line for line in run.lines if any(name in line for name in MEASURES))
        scored.append({places[line["step"]] for line in lines})
    return max(set.intersection(*scored), default=None)


def _line_at(run: Run, place: float, axis: str) -> Mapping[str, Any]:
    places = run.places(axis)
    return [line for line in run.lines if places[line["step"]] == place][-1]


def _newest(run: Run) -> dict[str, Any]:
    """The newest value of each measure while the run trained."""
    wanted = {*MEASURES, *(f"student_{name}" for name in MEASURES)}
    found: dict[str, Any] = {}
    for line in run.lines:
        found |= {name: line[name] for name in wanted & line.keys()}
    return found


def _figures(sources: Sequence[Mapping[str, Any]]) -> Figures:
    found = {}
    for measure, title in MEASURES.items():
        for prefix, network in NETWORKS.items():
            values = [read_number(source.get(prefix + measure)) for source in sources]
            if not all(map(math.isnan, values)):
                found[f"{title}: {network}"] = values
    return found


def columns(shown: Table, runs: Sequence[Run]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: a column a run, and what may be said of them together.

    That is the difference of two on the same images, or mean and spread of repeats.
    """
    heads, spread = ["score", *shown.names], shown.alike and len(runs) > 2 and repeats(runs)
    differ = shown.alike and len(runs) == 2 and same_images(runs)
    if differ:
        heads.append(f"{runs[0].name} less {runs[1].name}")
    elif spread:
        heads += ["mean", "standard deviation"]
    rows = []
    for name, values in shown.figures.items():
        row = [name, *map(_one, values)]
        if differ:
            row.append(signed(values[0] - values[1]))
        elif spread:
            known = all(map(math.isfinite, values))
            row += [
                _one(of(values)) if known else "–" for of in (statistics.fmean, statistics.stdev)
            ]
        rows.append(row)
    return heads, rows


def signed(value: float) -> str:
    """A difference, to a tenth."""
    return "–" if math.isnan(value) else f"{value:+.1f}".replace("-", "−")


def _one(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f}"


def scores(runs: Sequence[Run], axis: str) -> Html:
    """The section of the page."""
    parts: list[str] = []
    for shown in tables(runs, axis):
        heads, rows = columns(shown, runs)
        parts.append(table(heads, rows, caption=shown.caption))
    if not parts:
        parts.append(paragraph("No run has been scored yet.", kind="note"))
    else:
        said = "Figures of single networks on held-out images, without intervals."
        if any(run.finished and run.config.eval.final_full for run in runs):
            said += " With eval.final_full the k-NN that ends a run is over all images."
        parts.append(paragraph(said, kind="note"))
    return section("Scores", "".join(parts))
