"""The training loop.

Order within one turn: dispatch the step, and fetch the figures of all steps since the last fetch
only where a line is due or `IN_FLIGHT` of them wait; between these the host waits for no step. At a
step that is due, in this order: its line of figures with the evaluations, then the checkpoint; so
every line that a resume keeps has been written, and those beyond its checkpoint are dropped.
"""

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from dino_jax.data.source import Source
from dino_jax.interop.checkpoint import Checkpoints
from dino_jax.train.guards import CollapseWatch
from dino_jax.train.records import Records
from dino_jax.train.sharding import put_batch
from dino_jax.train.state import TrainState
from dino_jax.train.step import StepFunction
from dino_jax.types import HostBatch, Reporter

log = logging.getLogger(__name__)
IN_FLIGHT = 32
"""Steps dispatched ahead of the figures fetched, at most: their batches wait in device memory."""
Evaluate = Callable[[TrainState, bool], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long, and what is due when, in optimiser steps."""

    total_steps: int
    steps_per_epoch: int
    batch_size: int
    log_every: int
    eval_every: int
    checkpoint_every: int

    def due(self, step: int, every: int) -> bool:
        """Whether something done every so many steps falls on `step`; the last step always."""
        return step == self.total_steps or (every > 0 and step % every == 0)


class Loop:
    """Runs a step function over batches and keeps the books of the run."""

    def __init__(
        self,
        step: StepFunction,
        mesh: jax.sharding.Mesh,
        plan: Plan,
        *,
        records: Records,
        checkpoints: Checkpoints,
        watch: CollapseWatch,
        evaluate: Evaluate,
        source: Source,
        reporter: Reporter | None = None,
    ) -> None:
        """Put the parts together; `source` names unreadable examples to the user."""
        self._step, self._mesh, self._plan = step, mesh, plan
        self._records, self._checkpoints = records, checkpoints
        self._watch, self._evaluate, self._source = watch, evaluate, source
        self._reporter = reporter
        self._unreadable: set[int] = set()
        self._pending: list[tuple[int, dict[str, jax.Array]]] = []
        self._latest: dict[str, Any] = {}
        self._skipped = 0

    def troubles(self) -> dict[str, Any]:
        """What went wrong on the way: collapse, skipped updates, unreadable images."""
        return {
            "collapse": self._watch.collapsed,
            "alarms": self._watch.alarms,
            "skipped_updates": self._skipped,
            "unreadable_images": [self._source.name(i) for i in sorted(self._unreadable)],
        }

    def run(
        self, state: TrainState, batches: Iterator[HostBatch], *, stop: Callable[[], bool]
    ) -> TrainState:
        """Train from `state.step` to the plan's end, or until `stop()` says so; then save."""
        plan, start = self._plan, int(state.step)
        if start == 0:
            log.info("scoring the network of the start and compiling: about a minute on a CPU")
            scores = self._evaluate(state, False)
            self._write({"step": 0, "epoch": 0.0, **scores}, state, evaluated=True)
        clock = _Clock(plan.batch_size)
        with tqdm(total=plan.total_steps, initial=start, unit="step", mininterval=1.0) as bar:
            for done in range(start + 1, plan.total_steps + 1):
                with clock.waiting():
                    batch = self._screened(next(batches))
                state, metrics = self._step(state, put_batch(batch, self._mesh))
                self._pending.append((done, metrics))
                if done == start + 1:  # compiled by now: the time left is reckoned from here
                    bar.unpause()
                bar.update()
                stopping = stop()
                if plan.due(done, plan.log_every) or plan.due(done, plan.eval_every) or stopping:
                    self._keep_books(done, state, clock, bar)
                elif len(self._pending) >= IN_FLIGHT:
                    self._catch_up(clock)
                if plan.due(done, plan.checkpoint_every) or stopping:
                    self._checkpoints.save(state, done)
                if stopping:
                    break
        return state

    def _screened(self, batch: HostBatch) -> HostBatch:
        """Name each unreadable example once; hand on what the step needs."""
        replaced = batch["replaced"]
        for index in (int(index) for index in replaced[replaced >= 0]):
            self._unreadable.add(index)
            self._source.name_unreadable(index)
        return {name: value for name, value in batch.items() if name != "replaced"}

    def _keep_books(self, done: int, state: TrainState, clock: "_Clock", bar: tqdm) -> None:
        """Write the line of step `done`, with the evaluations that are due."""
        self._catch_up(clock)
        line: dict[str, Any] = {
            "step": done,
            "epoch": done / self._plan.steps_per_epoch,
            **{name: np.float32(value) for name, value in self._latest.items()},
            **clock.lap(),
        }
        if evaluated := self._plan.due(done, self._plan.eval_every):
            scores = self._evaluate(state, done == self._plan.total_steps)
            line |= scores
            bar.set_postfix(_shown(scores), refresh=False)
        self._write(line, state, evaluated=evaluated)
        clock.restart()
        bar.set_description(
            f"loss {line['loss']:.4f} · {line['images_per_second']:.0f} images/s", refresh=False
        )

    def _write(self, line: Mapping[str, Any], state: TrainState, *, evaluated: bool) -> None:
        self._records.write(line)
        if self._reporter is not None:
            teacher = state.teacher | state.teacher_stats
            self._reporter.line(line, teacher, self.troubles(), evaluated=evaluated)

    def _catch_up(self, clock: "_Clock") -> None:
        """Fetch the figures of the steps dispatched so far and watch them."""
        fetched = jax.device_get([metrics for _, metrics in self._pending])
        clock.steps += len(fetched)
        for (step, _), metrics in zip(self._pending, fetched, strict=True):
            self._latest = metrics
            if metrics["skipped"]:
                self._skipped += 1
                log.warning("step %d: the loss is not finite; the update was skipped whole", step)
            elif alarm := self._watch.see(step, {k: float(v) for k, v in metrics.items()}):
                log.warning("%s", alarm)
        self._pending.clear()


def _shown(scores: Mapping[str, Any]) -> dict[str, str]:
    names = [name for name in ("knn_top1", "view_retrieval_top1") if name in scores]
    return {name: f"{scores[name]:.1f}" for name in names[:1]}


class _Clock:
    """Images a second and the share of time spent waiting for the input, between two lines."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self.restart()

    def restart(self) -> None:
        self._start, self._waited, self.steps = time.perf_counter(), 0.0, 0

    def waiting(self) -> "_Clock":
        return self

    def __enter__(self) -> None:
        self._entered = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self._waited += time.perf_counter() - self._entered

    def lap(self) -> dict[str, float]:
        passed = max(time.perf_counter() - self._start, 1e-9)
        figures = {
            "images_per_second": round(self.steps * self._batch_size / passed, 2),
            "data_wait": round(min(self._waited / passed, 1.0), 4),
        }
        self.restart()
        return figures
