"""The runs that are compared: their folders read, short names, and where their steps lie."""

import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dino_jax.config import Config, Record, UserError, load_record
from dino_jax.interop.runs import checked_summary, count, curve, number, read_metrics

AXES = {"step": "step", "epoch": "epoch", "images": "images seen", "hours": "hours of training"}
"""What curves may be laid over each other by, and how it is called on the page."""


class Run(NamedTuple):
    """What a run's folder says."""

    name: str
    """Short, and no other run's."""
    folder: pathlib.Path
    """As the user named it."""
    config: Config
    """As resolved."""
    examples: int
    lines: Sequence[Mapping[str, Any]]
    """Of `metrics.jsonl`, one at least."""
    summary: Mapping[str, Any]
    hours: Mapping[int, float]
    """Of training, by step."""
    damaged: bool
    """Whether `metrics.jsonl` could be read only in part."""
    faults: Sequence[str] = ()
    """What else was left out since it is damaged, a sentence each."""

    @property
    def step(self) -> int:
        """The newest that was written."""
        return int(self.lines[-1]["step"])

    @property
    def ended(self) -> bool:
        """Whether the summary is of the newest step."""
        return self.summary.get("step") == self.step

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.ended and self.step == self.steps

    @property
    def largest_entropy(self) -> float:
        """ln K."""
        return math.log(self.config.head.prototypes)

    def curve(self, name: str, axis: str = "step") -> tuple[list[float], list[float]]:
        """Places on an axis (a key of `AXES`) and values of a figure, NaN for what is none."""
        steps, values = curve(self.lines, name)
        places = self.places(axis)
        return [places[step] for step in steps], values

    def places(self, axis: str) -> Mapping[int, float]:
        """Where the steps of the lines lie on an axis."""
        if axis == "hours":
            return self.hours
        steps = [line["step"] for line in self.lines]
        if axis == "epoch":
            return {step: step / self._steps_per_epoch for step in steps}
        return {step: step * (self.config.batch_size if axis == "images" else 1) for step in steps}

    def place(self, axis: str) -> float:
        """Where the newest step lies on an axis."""
        return self.places(axis)[self.step]

    @property
    def steps(self) -> int:
        """How many it is to have."""
        return self.config.steps or round(self.config.epochs * self._steps_per_epoch)

    @property
    def _steps_per_epoch(self) -> int:
        return max(self.examples // self.config.batch_size, 1)


def hours_of(lines: Sequence[Mapping[str, Any]], batch_size: int) -> dict[int, float]:
    """Hours of training by step, from the logged images per second, which leave out evaluations."""
    rates = dict(zip(*curve(lines, "images_per_second"), strict=True))
    hours, before, rate, found = 0.0, 0, math.nan, {}
    for line in lines:
        step = line["step"]
        rate = rates[step] if rates.get(step, 0.0) > 0 else rate
        hours += (step - before) * batch_size / rate / 3600 if step > before else 0.0
        found[step], before = hours, step
    return found


def open_runs(folders: Sequence[pathlib.Path]) -> list[Run]:
    """Read the folders of runs, in order.

    Raises:
        UserError: one holds no run, or one without a line yet, or one is named twice.
    """
    for place, folder in enumerate(folders):
        if not (folder / "config.json").is_file():
            why = "there is no such folder" if not folder.exists() else "it has no config.json"
            raise UserError(f"{folder} is no run ({why}): name folders given to main as --workdir")
        if any(folder.resolve() == other.resolve() for other in folders[:place]):
            raise UserError(f"{folder} is named twice: name each run once")
    names = short_names([pathlib.Path(os.path.abspath(folder)) for folder in folders])
    return [_opened(folder, name) for folder, name in zip(folders, names, strict=True)]


def _opened(folder: pathlib.Path, name: str) -> Run:
    told = "is not a run's, or of a newer dino_jax: leave the run out, or upgrade"
    try:
        record = load_record(folder)
    except UserError as error:
        raise UserError(f"{folder}/config.json {told}") from error
    if record is not None and not _is_countable(record):
        raise UserError(f"{folder}/config.json {told}")
    path = folder / "metrics.jsonl"
    try:
        lines = read_metrics(path)
        written = path.read_bytes().count(b"\n") if path.exists() else 0
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): leave the run out") from error
    if record is None or not lines:
        if written:
            raise UserError(f"{path} is damaged from its first line on: leave the run out")
        raise UserError(f"{folder} has no metrics yet: wait for its first line, or leave it out")
    summary, faults = checked_summary(folder)
    return Run(
        name, folder, record.resolved, record.examples, lines, summary,
        hours_of(lines, record.resolved.batch_size), written > len(lines), faults,
    )  # fmt: skip


def _is_countable(record: Record) -> bool:
    """Whether its numbers are such that steps, epochs and entropies can be told."""
    config = record.resolved
    counted = (record.examples, config.batch_size, config.head.prototypes)
    steps = config.steps is None or count(config.steps) is not None
    return all(map(count, counted)) and steps and 0 <= number(config.epochs) < 1e9


def short_names(folders: Sequence[pathlib.Path]) -> list[str]:
    """The last parts of absolute paths, as many of each as tell it from all others."""
    names = []
    for folder in folders:
        parts = folder.parts
        others = [other.parts for other in folders if other != folder]
        number = 1
        while number < len(parts) and any(o[-number:] == parts[-number:] for o in others):
            number += 1
        names.append("/".join(parts[-number:]))
    return names
