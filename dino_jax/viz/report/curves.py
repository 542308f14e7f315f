"""The curves of a report, from the lines of `metrics.jsonl`."""

from dino_jax.interop.runs import curve
from dino_jax.viz.report.verdict import Record, levels
from dino_jax.viz.web.chart import Line, chart, with_mean
from dino_jax.viz.web.page import Html, grid, paragraph, section

STEP = "step"


def _line(record: Record, name: str, shown: str, colour: int = 0, *, dashed: bool = False) -> Line:
    steps, values = curve(record.lines, name)
    return Line(shown, steps, values, colour, dashed)


def learning(record: Record) -> Html:
    """Entropies between the collapse lines, what is left to learn, and the loss."""
    limit = record.largest_entropy
    borders = {"0": 0.0}
    if limit is not None:
        borders[f"ln K = {limit:.2f}"] = limit
    entropies = [
        _line(record, "teacher_marginal_entropy", "of its mean over the batch", 0),
        _line(record, "teacher_entropy", "of one view", 1),
    ]
    parts = [
        chart(entropies, x=STEP, y="nats", levels=borders, title="Entropy of the teacher"),
        chart(
            [
                _line(record, "assignment_information", "assignment information", 2),
                _line(record, "kl", "KL(teacher ‖ student)", 3),
            ],
            x=STEP, y="nats", levels={"0": 0.0},
            title="What assignments tell, what is left to learn",
        ),
        chart(
            with_mean(_line(record, "loss", "loss", 0)),
            x=STEP, y="nats", title="Loss (no measure of progress)",
        ),
    ]  # fmt: skip
    note = (
        "Collapsed to one prototype, both entropies lie at 0; collapsed to the uniform answer, "
        "both at ln K with a KL of 0. Healthy lies between, with the two well apart: their "
        "distance is the assignment information. The loss is the teacher's entropy plus the KL, "
        "and goes up and down with the former whether features get better or not."
    )
    return section("Learning", grid(parts) + paragraph(note, kind="note"))


def scores(record: Record) -> Html:
    """k-NN, view retrieval and effective rank over time, against what needs no training."""
    parts = []
    for name, title in (
        ("knn_top1", "k-NN on held-out images, top 1"),
        ("view_retrieval_top1", "View retrieval, top 1"),
    ):
        if any(name in line for line in record.lines):
            parts.append(
                chart(
                    [
                        _line(record, name, "teacher", 0),
                        _with_start(record, f"student_{name}", name),
                    ],
                    x=STEP, y="percent", levels=_named(levels(record, name)), title=title,
                )
            )  # fmt: skip
    parts.append(
        chart(
            [
                _line(record, "effective_rank", "as they are", 0),
                _line(record, "effective_rank_centred", "less their mean", 2, dashed=True),
            ],
            x=STEP, y="directions", title="Effective rank of the teacher's features",
        )
    )  # fmt: skip
    notes = [*_missing(record), _last_one(record)]
    told = "".join(paragraph(note, kind="note") for note in notes if note)
    return section("Scores while training", grid(parts) + told)


def _with_start(record: Record, name: str, start: str) -> Line:
    """The student's scores; before the first step it is the teacher, which alone was scored."""
    steps, values = curve(record.lines, name)
    first = record.lines[0]
    if first["step"] == 0 and name not in first and start in first:
        steps, values = [0, *steps], [curve([first], start)[1][0], *values]
    return Line("student", steps, values, 1, dashed=True)


def _named(found: dict[str, float]) -> dict[str, float]:
    return {f"{name} {value:.1f}": value for name, value in found.items()}


def _missing(record: Record) -> list[str]:
    notes = []
    if record.lines and not any("knn_top1" in line for line in record.lines):
        notes.append("No k-NN: the images have no labels.")
    if not any(name.startswith("pixels_") for name in record.summary):
        when = (
            "come when the run ends" if record.resolved.get("eval", {}).get("baselines") else
            "are not measured in this run (--config.eval.baselines=true asks for them)"
        )  # fmt: skip
        notes.append(f"Scores of raw pixels and other methods without weights {when}.")
    elif (
        any("knn_top1" in line for line in record.lines[-1:])
        and "pixels_knn_top1" not in record.summary
    ):
        notes.append(
            "Raw pixels were not scored by k-NN on plain crops: on the embedded photographs the "
            "table below has the harder task that all methods were given."
        )
    return notes


def _last_one(record: Record) -> str:
    full = record.resolved.get("eval", {}).get("final_full")
    if record.finished and full and any("knn_top1" in line for line in record.lines):
        return "The last k-NN is over every image, those before over at most eval.knn_bank of them."
    return ""


def running(record: Record) -> Html:
    """Speed, waiting, gradients, skipped updates."""
    parts = [
        chart(
            with_mean(_line(record, "images_per_second", "images a second", 0)),
            x=STEP, y="images a second", levels={"0": 0.0}, title="Speed",
        ),
        chart(
            with_mean(_percent(_line(record, "data_wait", "waiting", 1))),
            x=STEP, y="percent of the time", levels={"0": 0.0}, title="Waiting for images",
        ),
        chart(
            with_mean(_line(record, "grad_norm", "gradient norm", 2)),
            x=STEP, y="norm", title="Norm of the gradient, before clipping", log=True,
        ),
    ]  # fmt: skip
    skipped = record.troubles.get("skipped_updates")
    told = "" if skipped is None else f"Skipped updates (loss or gradient not finite): {skipped:,}."
    return section(
        "Speed and steadiness", grid(parts) + (paragraph(told, kind="note") if told else "")
    )


def _percent(line: Line) -> Line:
    return line._replace(y=[100 * (value or 0.0) for value in line.y])


def schedules(record: Record) -> Html:
    """What the schedules gave each step."""
    shown = (
        ("learning_rate", "Learning rate"),
        ("weight_decay", "Weight decay"),
        ("momentum", "Momentum of the teacher"),
        ("teacher_temperature", "Temperature of the teacher"),
    )
    parts = [
        chart([_line(record, name, title.lower(), place)], x=STEP, y="", title=title)
        for place, (name, title) in enumerate(shown)
    ]
    return section("Schedules", grid(parts))
