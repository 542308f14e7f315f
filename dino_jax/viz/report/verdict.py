"""How a run is going, in words: where it is, whether it is healthy, what it has learnt."""

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dino_jax.interop.runs import curve
from dino_jax.interop.runs import number as read_number
from dino_jax.viz.web.scale import number


class Record(NamedTuple):
    """What a run's folder holds in text, as read."""

    config: Mapping[str, Any]
    """`config.json`; empty where it is missing."""
    lines: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Any]
    calls: Sequence[Mapping[str, Any]]
    written: float | None
    """When the newest line was written, in seconds of Unix."""
    faults: Sequence[str] = ()
    """What was left out in reading since it is damaged, a sentence each."""

    @property
    def resolved(self) -> Mapping[str, Any]:
        """The configuration as resolved."""
        return self.config.get("resolved", {})

    @property
    def step(self) -> int:
        """The newest step that is known."""
        return self.lines[-1]["step"] if self.lines else 0

    @property
    def steps(self) -> int | None:
        """How many there are to be, if known."""
        found = self.summary.get("steps")
        if isinstance(found, int):
            return found
        resolved, per_epoch = self.resolved, self.config.get("steps_per_epoch")
        if isinstance(resolved.get("steps"), int):
            return resolved["steps"]
        epochs = resolved.get("epochs")
        return round(epochs * per_epoch) if epochs and per_epoch else None

    @property
    def ended(self) -> bool:
        """Whether the newest call came to its end, by itself or stopped by a signal."""
        return bool(self.lines) and self.summary.get("step") == self.step

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.ended and self.step == self.steps

    @property
    def troubles(self) -> Mapping[str, Any]:
        """Collapse, alarms (texts), skipped updates and unreadable images; empty if unknown."""
        if self.ended:
            found = {name: self.summary[name] for name in TROUBLES if name in self.summary}
            earlier = [text for call in self.calls[:-1] for text in _alarms(call)]
            return found | {"alarms": [*dict.fromkeys([*earlier, *found.get("alarms", [])])]}
        if not self.calls or not self.calls[-1].get("troubles"):
            return {}
        alarms = [text for call in self.calls for text in _alarms(call)]
        return {**self.calls[-1]["troubles"], "alarms": [*dict.fromkeys(alarms)]}

    @property
    def largest_entropy(self) -> float | None:
        """ln K."""
        prototypes = self.resolved.get("head", {}).get("prototypes")
        return math.log(prototypes) if isinstance(prototypes, int) and prototypes > 1 else None

    def last(self, name: str) -> float:
        """The newest value of a figure; NaN where there is none."""
        values = curve(self.lines, name)[1]
        return values[-1] if values else math.nan


TROUBLES = ("collapse", "alarms", "skipped_updates", "unreadable_images")


def _alarms(call: Mapping[str, Any]) -> list[str]:
    return [alarm["text"] for alarm in call.get("troubles", {}).get("alarms", [])]


def progress(record: Record) -> str:
    """What step, how long, and whether it goes on."""
    step, steps = record.step, record.steps
    of = f" of {steps:,}" if steps else ""
    if record.finished:
        return f"Finished: {step:,} steps{_lasted(record)}."
    if record.ended:
        return (
            f"Stopped at step {step:,}{of}{_lasted(record)}; the same command goes on from there."
        )
    share = f" ({100 * step / steps:.0f} %)" if steps else ""
    when = f", line written {_moment(record.written)}" if record.written else ""
    return (
        f"Running: step {step:,}{of}{share}{when}. Reload the page for a newer one. If that is "
        "long ago, the run was killed, and the same command goes on."
    )


def _lasted(record: Record) -> str:
    seconds = sum(max(call["updated"] - call["began"], 0) for call in record.calls)
    if len(record.calls) <= 1 and isinstance(record.summary.get("seconds"), (int, float)):
        seconds = record.summary["seconds"]
    calls = f" and {len(record.calls)} calls" if len(record.calls) > 1 else ""
    return f" in {duration(seconds)}{calls}" if seconds else ""


def duration(seconds: float) -> str:
    """Seconds as a reader says them: 3 min 9 s."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def _moment(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def health(record: Record) -> tuple[str, str]:
    """Healthy or collapsed, in words; "good", "bad" or "" (nothing known)."""
    troubles = record.troubles
    if not record.lines or (len(record.lines) == 1 and record.step == 0):
        return "No step has been recorded yet.", ""
    figures = _figures(record)
    if not troubles:
        return f"Whether it collapsed is not recorded for this run. {figures}", ""
    alarms = troubles.get("alarms") or []
    if troubles.get("collapse"):
        return f"COLLAPSED: {alarms[-1] if alarms else troubles['collapse']}. {figures}", "bad"
    if alarms:
        return f"It had collapsed and recovered: {alarms[-1]}. {figures}", "bad"
    return f"Healthy: no collapse seen. {figures}", "good"


def _figures(record: Record) -> str:
    entropy, marginal = (
        record.last(name) for name in ("teacher_entropy", "teacher_marginal_entropy")
    )
    if math.isnan(entropy) or math.isnan(marginal):
        return ""
    limit = record.largest_entropy
    of = f", ln K being {limit:.2f}" if limit else ""
    return (
        f"The teacher's entropy is {entropy:.2f} nats, that of its mean over the batch "
        f"{marginal:.2f}{of}: an assignment tells {marginal - entropy:.2f} nats about its image."
    )


def warnings(record: Record) -> list[str]:
    """What else a reader should know at once."""
    found, troubles = list(record.faults), record.troubles
    if skipped := troubles.get("skipped_updates"):
        found.append(f"{skipped:,} updates were skipped since loss or gradient was not finite.")
    if unreadable := troubles.get("unreadable_images"):
        names = ", ".join(name.rsplit("/", 1)[-1] for name in unreadable[:4])
        more = ", …" if len(unreadable) > 4 else ""
        found.append(f"{len(unreadable):,} images could not be read: {names}{more}.")
    waits = [value for value in curve(record.lines, "data_wait")[1] if not math.isnan(value)]
    if waits and (typical := sorted(waits)[len(waits) // 2]) > 0.25:
        found.append(
            f"The network waits for images {100 * typical:.0f} % of the time: more data.workers, "
            "smaller images on disk, or fewer local crops make the run faster."
        )
    return found


SCORES = {"knn_top1": "k-NN", "view_retrieval_top1": "view retrieval"}
BASELINES = {
    "chance": "chance",
    "pixels": "raw pixels",
    "hog": "HOG",
    "untrained": "untrained",
}


def levels(record: Record, score: str) -> dict[str, float]:
    """What a score is held against, by name: what needs no training, and the start of the run."""
    steps, values = curve(record.lines, score)
    found = {
        shown: float(record.summary[f"{name}_{score}"])
        for name, shown in BASELINES.items()
        if math.isfinite(read_number(record.summary.get(f"{name}_{score}")))
    }
    if "untrained" not in found and steps and steps[0] == 0 and not math.isnan(values[0]):
        start = "start" if record.resolved.get("init_from") else "untrained"
        found[start] = values[0]
    return found


def learnt(record: Record) -> list[str]:
    """The newest and the best score against what needs no training, a sentence a score."""
    told = []
    for score, shown in SCORES.items():
        steps, values = curve(record.lines, score)
        scored = [(v, s) for v, s in zip(values, steps, strict=True) if s and not math.isnan(v)]
        if not scored:
            continue
        best, newest = max(scored), scored[-1]
        against = ", ".join(f"{name} {v:.1f}" for name, v in levels(record, score).items())
        more = f"; best {best[0]:.1f} % at step {best[1]:,}" if best != newest else ""
        told.append(
            f"Teacher's {shown}: {newest[0]:.1f} % at step {newest[1]:,}{more}"
            + (f" (percent: {against})." if against else ".")
        )
    return told


def figures(record: Record) -> dict[str, str]:
    """The newest figures, for tiles."""
    shown = {
        "epoch": record.last("epoch"),
        "loss": record.last("loss"),
        "images a second": record.last("images_per_second"),
        "k-NN top 1, %": record.last("knn_top1"),
        "view retrieval, %": record.last("view_retrieval_top1"),
        "effective rank": record.last("effective_rank"),
    }
    return {name: number(value, 3) for name, value in shown.items() if not math.isnan(value)}
