"""Pictures of a score as training goes on, against what needs no training."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

LEVEL = "0.45"  # grey
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by the colour-blind


class Course(NamedTuple):
    """One network's score, in percent, at the given steps.

    The last one ended the run: it may be of more images than those before, and is drawn apart.
    """

    name: str
    steps: Sequence[int]
    scores: Sequence[float]


def write_courses(
    path: str | pathlib.Path,
    runs: Sequence[Sequence[Course]],
    *,
    levels: Mapping[str, float],
    score: str,
    title: str = "",
) -> None:
    """Write a picture: a colour a run, in it the first course solid and the others dashed.

    `levels` are scores of what does not train, drawn as horizontal lines with their names; `score`
    is the name of the vertical axis. The score that ended a course is a dot. The folder is made if
    it is missing; the suffix of `path` says the format. Raises ValueError without a run.
    """
    from matplotlib.figure import Figure

    if not runs:
        raise ValueError("no runs to draw: give one or more")
    figure = Figure(figsize=(6.4, 3.9), layout="constrained")
    axis = figure.subplots()
    for number, run in enumerate(runs):
        colour = _COLOURS[number % len(_COLOURS)]
        for place, course in enumerate(run):
            look: dict[str, Any] = {"color": colour, "ls": "--" if place else "-"}
            axis.plot(course.steps[:-1], course.scores[:-1], lw=1.6, label=course.name, **look)
            axis.plot(course.steps[-2:], course.scores[-2:], lw=0.7, alpha=0.5, **look)
            axis.plot(course.steps[-1], course.scores[-1], "o", color=colour, ms=6 - 2 * place)
    for name, level in levels.items():
        axis.axhline(level, color=LEVEL, lw=0.8, ls=":")
        axis.annotate(
            f"{name} {level:.1f}",
            (0.3, level),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            fontsize=8,
            color=LEVEL,
        )
    axis.set(xlabel="step", ylabel=score, title=title, xlim=(0, None))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 0.08))
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)
