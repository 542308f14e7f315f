"""The loop's books: what is due when, each step once, nothing waited for, trouble said."""

import json
import logging
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.interop.checkpoint import Checkpoints
from dino_jax.interop.runs import read_metrics
from dino_jax.train import loop as loop_module
from dino_jax.train.guards import CollapseWatch
from dino_jax.train.loop import Loop, Plan
from dino_jax.train.records import Records
from dino_jax.train.sharding import make_mesh
from dino_jax.train.state import TrainState
from dino_jax.types import Params
from tests.data.fakes import FakeSource

Metrics = dict[str, Any]
HEALTHY = {"teacher_entropy": 1.0, "teacher_marginal_entropy": 2.0, "kl": 1.0}
COLLAPSED = {"teacher_entropy": 0.0, "teacher_marginal_entropy": 0.0, "kl": 1.0}


class FakeCheckpoints(Checkpoints):
    """Remembers what was saved, and how many lines there were by then."""

    def __init__(self, metrics: pathlib.Path) -> None:
        self.saved: list[tuple[int, int]] = []
        self._metrics = metrics

    def save(self, state: TrainState, step: int) -> None:
        assert int(state.step) == step
        self.saved.append((step, read_metrics(self._metrics)[-1]["step"]))


def state_at(step: int) -> TrainState:
    teacher, stats = ({f"backbone.{name}": jnp.zeros(1)} for name in ("w", "mean"))
    return TrainState(jnp.asarray(step, jnp.int32), {}, teacher, {}, stats, jnp.zeros((1, 8)), {})


def batches(replaced: dict[int, int]) -> Iterator[dict[str, np.ndarray]]:
    for number in range(1000):
        row = np.full(4, -1)
        row[1] = replaced.get(number, -1)
        yield {"views": np.zeros((4, 1), np.uint8), "index": np.arange(4), "replaced": row}


class Books:
    """A loop over a step that only counts."""

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        of_step: Callable[[int], Metrics] = lambda step: HEALTHY,
        start: int = 0,
        **plan: int,
    ) -> None:
        due = {"total_steps": 12, "log_every": 5, "eval_every": 6, "checkpoint_every": 4} | plan
        self.path = folder / "metrics.jsonl"
        self.checkpoints = FakeCheckpoints(self.path)
        self.records = Records(folder, resumed_at=start)
        self.evaluated: list[tuple[int, bool]] = []
        self.seen: list[set[str]] = []
        self._of_step = of_step
        self.loop = Loop(
            self._step,
            make_mesh(1),
            Plan(steps_per_epoch=3, batch_size=4, **due),
            records=self.records,
            checkpoints=self.checkpoints,
            watch=CollapseWatch(8),
            evaluate=self._evaluate,
            source=FakeSource(9, damaged=(1, 5)),
            reporter=self,
        )
        self.start, self.begun = start, 0
        self.told: list[tuple[int, bool, Metrics]] = []

    def _step(
        self, state: TrainState, batch: dict[str, jax.Array]
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        self.seen.append(set(batch))
        done = int(state.step) + 1
        metrics = {"loss": 1 / done, "skipped": 0.0} | self._of_step(done)
        return state_at(done), {name: jnp.float32(value) for name, value in metrics.items()}

    def _evaluate(self, state: TrainState, final: bool) -> Metrics:
        self.evaluated.append((int(state.step), final))
        return {"knn_top1": 50.0}

    def begin(self, step: int) -> None:
        assert step == self.start
        assert len(self.seen) == 1, "what the report compiles would delay the first step"
        self.begun += 1

    def line(self, line: Metrics, teacher: Params, troubles: Metrics, *, evaluated: bool) -> None:
        assert read_metrics(self.path)[-1]["step"] == line["step"], "told before it was written"
        assert set(teacher) == {"backbone.w", "backbone.mean"}
        self.told.append((line["step"], evaluated, dict(troubles)))

    def end(self) -> None:
        raise AssertionError("the run says where it ends, not the loop")

    def run(self, stop: Callable[[], bool] = lambda: False, **replaced: int) -> list[Metrics]:
        spoilt = {int(number.removeprefix("at")): index for number, index in replaced.items()}
        self.state = self.loop.run(state_at(self.start), batches(spoilt), stop=stop)
        self.records.close()
        return read_metrics(self.path)


def test_what_is_due_when(tmp_path: pathlib.Path) -> None:
    books = Books(tmp_path)
    lines = books.run()
    assert [line["step"] for line in lines] == [0, 5, 6, 10, 12]
    assert [line["step"] for line in lines if "knn_top1" in line] == [0, 6, 12]
    assert books.evaluated == [(0, False), (6, False), (12, True)]
    assert [step for step, _ in books.checkpoints.saved] == [4, 8, 12]
    assert int(books.state.step) == 12
    for line in lines[1:]:
        assert line["epoch"] == line["step"] / 3
        assert line["loss"] == pytest.approx(1 / line["step"], rel=1e-7)
        assert line["images_per_second"] > 0
        assert 0 <= line["data_wait"] <= 1


def test_the_report_is_told_of_every_line(tmp_path: pathlib.Path) -> None:
    books = Books(tmp_path, of_step=lambda step: {"skipped": float(step == 5)} | HEALTHY)
    lines = books.run()
    assert [step for step, _, _ in books.told] == [line["step"] for line in lines]
    assert [step for step, evaluated, _ in books.told if evaluated] == [0, 6, 12]
    assert [troubles["skipped_updates"] for _, _, troubles in books.told] == [0, 1, 1, 1, 1]


def test_a_line_never_outlives_the_checkpoint_that_a_resume_starts_from(
    tmp_path: pathlib.Path,
) -> None:
    books = Books(tmp_path, log_every=1)
    books.run()
    assert all(step == line for step, line in books.checkpoints.saved)


def test_a_resumed_run_does_not_begin_again(tmp_path: pathlib.Path) -> None:
    Books(tmp_path, log_every=1).run()
    books = Books(tmp_path, log_every=1, start=8)
    lines = books.run()
    assert [line["step"] for line in lines] == list(range(13))
    assert books.evaluated == [(12, True)]
    assert len(books.seen) == 4


def test_a_signal_ends_after_the_step_with_its_line_and_checkpoint(
    tmp_path: pathlib.Path,
) -> None:
    books = Books(tmp_path)
    lines = books.run(stop=lambda: len(books.seen) == 7)
    assert lines[-1]["step"] == 7
    assert books.checkpoints.saved[-1] == (7, 7)
    assert (7, False) not in books.evaluated
    assert int(books.state.step) == 7


def test_unreadable_examples_are_named_once_and_counted(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    books = Books(tmp_path)
    with caplog.at_level(logging.WARNING):
        books.run(at2=5, at3=5, at7=1, at9=5)
    assert caplog.messages == [f"skipped unreadable image number {i} (damaged)" for i in (5, 1)]
    assert books.loop.troubles()["unreadable_images"] == ["number 1", "number 5"]
    assert all(names == {"views", "index"} for names in books.seen)


def test_a_skipped_update_is_said_and_does_not_count_as_collapse(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = {"loss": np.nan, "skipped": 1.0} | COLLAPSED
    books = Books(tmp_path, of_step=lambda step: bad if step in (3, 5) else HEALTHY)
    with caplog.at_level(logging.WARNING):
        lines = books.run()
    assert [message.split(":")[0] for message in caplog.messages] == ["step 3", "step 5"]
    assert books.loop.troubles()["skipped_updates"] == 2
    assert lines[1]["loss"] == "nan"
    json.loads(books.path.read_text().splitlines()[1], parse_constant=pytest.fail)


def test_collapse_is_seen_between_the_lines_too(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    books = Books(
        tmp_path,
        of_step=lambda step: COLLAPSED if 5 <= step < 30 else HEALTHY,
        total_steps=40, log_every=40, eval_every=0, checkpoint_every=0,
    )  # fmt: skip
    with caplog.at_level(logging.WARNING):
        books.run()
    (message,) = caplog.messages
    assert message.startswith("collapse (one prototype) since step 5: ")
    assert books.loop.troubles()["alarms"] == [message]
    assert books.loop.troubles()["collapse"] is None


def test_no_step_waits_for_its_own_figures(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = [(0, 0)]
    real = jax.device_get
    books = Books(tmp_path, total_steps=80, log_every=7, eval_every=0, checkpoint_every=30)

    def watched(tree: Any) -> Any:
        fetched.append((fetched[-1][0] + len(tree), len(books.seen)))
        return real(tree)

    monkeypatch.setattr(jax, "device_get", watched)
    lines = books.run()
    assert [line["step"] for line in lines] == [0, *range(7, 80, 7), 80]
    for done, dispatched in fetched[1:-1]:
        assert done < dispatched <= done + loop_module.IN_FLIGHT
    assert fetched[-1] == (80, 80)


def test_a_checkpoint_waits_for_its_line(tmp_path: pathlib.Path) -> None:
    books = Books(tmp_path, log_every=4, checkpoint_every=4, eval_every=0)
    books.run()
    assert books.checkpoints.saved == [(4, 4), (8, 8), (12, 12)]


def test_the_start_is_scored_after_the_first_step_as_it_was(tmp_path: pathlib.Path) -> None:
    books = Books(tmp_path)
    scored: list[tuple[int, int, float]] = []

    def evaluate(state: TrainState, final: bool) -> Metrics:
        del final
        weight = float(state.teacher["backbone.w"][0])
        scored.append((len(books.seen), int(state.step), weight))
        return {}

    def step(
        state: TrainState, batch: dict[str, jax.Array]
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """Write over the state it is given, as the compiled step does."""
        new, metrics = books._step(state, batch)
        teacher = {name: value + 1 for name, value in state.teacher.items()}
        for value in state.teacher.values():
            value.delete()
        return new._replace(teacher=teacher), metrics

    books.loop._evaluate, books.loop._step = evaluate, step
    books.run()
    assert scored == [(1, 0, 0.0), (6, 6, 6.0), (12, 12, 12.0)]
    assert books.begun == 1


def test_the_shares_of_a_run(tmp_path: pathlib.Path) -> None:
    books = Books(tmp_path)
    began = time.perf_counter()

    def evaluate(state: TrainState, final: bool) -> Metrics:
        del final
        time.sleep(0.02 if int(state.step) else 1.0)
        return {}

    books.loop._evaluate = evaluate
    lines = books.run()
    shares = books.loop.shares()
    assert 0.04 < shares["seconds"] < time.perf_counter() - began - 1.0
    spent = shares["evaluation"] * shares["seconds"]
    assert 0.03 < spent < 1.0, "the scoring of the start is not among them"
    assert all(0 <= shares[name] < 1 for name in ("checkpoint", "logging", "report", "data_wait"))
    assert all(0 <= line["overhead"] <= 1 for line in lines[1:])
