"""The training loop.

Order within one turn: dispatch the step, then write the lines of earlier steps, whose figures come
while it runs; no step waits for its own, and at most `IN_FLIGHT` are ahead of the figures fetched.
Where an evaluation or a checkpoint is due the loop waits for the step, in this order: its line of
figures with the evaluations, then the checkpoint; so every line that a resume keeps has been
written, and those beyond its checkpoint are dropped. The network of the start is scored after the
first step, from a copy on the host: whether a run works at all is known before it is measured.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from dino_jax.data.source import Source
from dino_jax.interop.checkpoint import Checkpoints
from dino_jax.train.clock import Clock
from dino_jax.train.guards import CollapseWatch
from dino_jax.train.records import Records
from dino_jax.train.sharding import put_batch, whole
from dino_jax.train.state import TrainState
from dino_jax.train.step import StepFunction
from dino_jax.types import HostBatch, Reporter

log = logging.getLogger(__name__)
IN_FLIGHT = 4
"""Steps dispatched ahead of the figures fetched, at most: their batches wait in device memory, and
a signal for their end."""
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
        self._since_line = self._skipped = 0
        self._clock = Clock(plan.batch_size)

    def troubles(self) -> dict[str, Any]:
        """What went wrong on the way: collapse, skipped updates, unreadable images."""
        return {
            "collapse": self._watch.collapsed,
            "alarms": self._watch.alarms,
            "skipped_updates": self._skipped,
            "unreadable_images": [self._source.name(i) for i in sorted(self._unreadable)],
        }

    def shares(self) -> dict[str, float]:
        """Seconds since the first step, and what share of them each thing but the steps took."""
        return self._clock.shares()

    def run(
        self, state: TrainState, batches: Iterator[HostBatch], *, stop: Callable[[], bool]
    ) -> TrainState:
        """Train from `state.step` to the plan's end, or until `stop()` says so; then save."""
        plan, clock, start = self._plan, self._clock, int(state.step)
        first = None if start else _Kept.of(state)
        with tqdm(total=plan.total_steps, initial=start, unit="step", mininterval=1.0) as bar:
            for done in range(start + 1, plan.total_steps + 1):
                with clock.waiting():
                    batch = self._screened(next(batches))
                state, metrics = self._step(state, put_batch(batch, self._mesh))
                self._pending.append((done, metrics))
                clock.dispatched(metrics)
                if done == start + 1:
                    self._begun(start, first, metrics)
                    first = None
                    bar.unpause()  # compiled by now: the time left is reckoned from here
                bar.update()
                self._follow(done, state, bar)
                stopping = stop()
                save = plan.due(done, plan.checkpoint_every) or stopping
                if save or plan.due(done, plan.eval_every):
                    self._settle(done, state, bar, stopping=stopping)
                if save:
                    jax.block_until_ready(metrics)  # the step's own time is none of the saving's
                    with clock.spending("checkpoint"):
                        self._checkpoints.save(state, done)
                if stopping:
                    break
        clock.close()
        return state

    def _begun(self, start: int, first: "_Kept | None", metrics: Mapping[str, jax.Array]) -> None:
        """Wait for the first step, and score the network of before it where it is that of 0."""
        jax.block_until_ready(metrics)
        log.info("the first step is done")
        if self._reporter is not None:  # not before: what it compiles would delay the step
            self._reporter.begin(start)
        if first is not None:
            log.info("scoring the network of the start: on a CPU this may take minutes")
            before = first.state()
            with self._clock.spending("evaluation"):
                scores = self._evaluate(before, False)
            self._write({"step": 0, "epoch": 0.0, **scores}, before, evaluated=True)
        self._clock.start()

    def _screened(self, batch: HostBatch) -> HostBatch:
        """Name each unreadable example once; hand on what the step needs."""
        replaced = batch["replaced"]
        for index in (int(index) for index in replaced[replaced >= 0]):
            self._unreadable.add(index)
            self._source.name_unreadable(index)
        return {name: value for name, value in batch.items() if name != "replaced"}

    def _follow(self, done: int, state: TrainState, bar: tqdm) -> None:
        """Write the lines of steps before `done` that are due; stay at most `IN_FLIGHT` ahead."""
        if any(self._plan.due(step, self._plan.log_every) for step, _ in self._pending[:-1]):
            self._catch_up(done - 1, state, bar)
        elif len(self._pending) > IN_FLIGHT:
            self._catch_up(done - IN_FLIGHT // 2, state, bar)

    def _settle(self, done: int, state: TrainState, bar: tqdm, *, stopping: bool) -> None:
        """Write the line of step `done` if it is due, with the evaluations that are due."""
        plan = self._plan
        evaluated = plan.due(done, plan.eval_every)
        if not (evaluated or stopping or plan.due(done, plan.log_every)):
            return
        self._catch_up(done - 1, state, bar)
        self._fetch(done)
        scores: Mapping[str, Any] | None = None
        if evaluated:
            with self._clock.spending("evaluation"):
                scores = self._evaluate(state, done == plan.total_steps)
            bar.set_postfix(_shown(scores), refresh=False)
        self._line(done, state, bar, scores)

    def _catch_up(self, last: int, state: TrainState, bar: tqdm) -> None:
        """Fetch the figures of the steps up to `last`, write the lines due among them."""
        plan = self._plan
        while due := [s for s, _ in self._pending if s <= last and plan.due(s, plan.log_every)]:
            self._fetch(due[0])
            self._line(due[0], state, bar, None)
        self._fetch(last)

    def _line(
        self, step: int, state: TrainState, bar: tqdm, scores: Mapping[str, Any] | None
    ) -> None:
        line: dict[str, Any] = {
            "step": step,
            "epoch": step / self._plan.steps_per_epoch,
            **{name: np.float32(value) for name, value in self._latest.items()},
            **self._clock.lap(self._since_line),
            **(scores or {}),
        }
        self._since_line = 0
        self._write(line, state, evaluated=scores is not None)
        bar.set_description(
            f"loss {line['loss']:.4f} · {line['images_per_second']:.0f} images/s", refresh=False
        )

    def _write(self, line: Mapping[str, Any], state: TrainState, *, evaluated: bool) -> None:
        with self._clock.spending("logging"):
            self._records.write(line)
        if self._reporter is not None:
            teacher = whole(state.teacher | state.teacher_stats, self._mesh)
            with self._clock.spending("report"):
                self._reporter.line(line, teacher, self.troubles(), evaluated=evaluated)

    def _fetch(self, last: int) -> None:
        """Fetch the figures of the steps up to `last`, and watch them."""
        waiting = [entry for entry in self._pending if entry[0] <= last]
        if not waiting:
            return
        self._pending = self._pending[len(waiting) :]
        fetched = jax.device_get([metrics for _, metrics in waiting])
        self._since_line += len(fetched)
        for (step, _), metrics in zip(waiting, fetched, strict=True):
            self._latest = metrics
            if metrics["skipped"]:
                self._skipped += 1
                log.warning("step %d: the loss is not finite; the update was skipped whole", step)
            elif alarm := self._watch.see(step, {k: float(v) for k, v in metrics.items()}):
                log.warning("%s", alarm)


class _Kept(NamedTuple):
    """The networks of a state on the host, since the step is given the state to write over."""

    networks: dict[str, Any]
    shardings: dict[str, Any]
    rest: TrainState

    @classmethod
    def of(cls, state: TrainState) -> "_Kept":
        names = ("student", "teacher", "student_stats", "teacher_stats")
        networks = {name: getattr(state, name) for name in names}
        step = jax.numpy.zeros((), jax.numpy.int32)
        return cls(
            jax.tree.map(np.array, networks),  # copies: on a CPU others would be views
            jax.tree.map(lambda value: value.sharding, networks),
            TrainState(step, {}, {}, {}, {}, None, None),
        )

    def state(self) -> TrainState:
        """The state back on its devices, without what no evaluation reads."""
        return self.rest._replace(**jax.device_put(self.networks, self.shardings))


def _shown(scores: Mapping[str, Any]) -> dict[str, str]:
    names = [name for name in ("knn_top1", "view_retrieval_top1") if name in scores]
    return {name: f"{scores[name]:.1f}" for name in names[:1]}
