"""Kept while a run goes on: when, what of earlier calls, and never at the run's expense."""

import json
import logging
import pathlib
from collections.abc import Callable
from concurrent.futures import wait
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.train.method import build_models
from dino_jax.types import Params, Reporter
from dino_jax.viz.report import reporter as module
from dino_jax.viz.report import snapshots
from dino_jax.viz.report.looks import Images, Looks
from dino_jax.viz.report.reporter import NoReporter, PageReporter, page_reporter
from tests.data.fakes import FakeSource
from tests.train import tiny
from tests.viz.report.records import HEALTHY, line, write_run


class FakeLooks(Looks):
    """Looks at nothing: maps full of the number that the network is."""

    def __init__(self, shade: int = 0) -> None:
        one = np.array([0])
        self.queries = self.large = self.bank = Images(
            one, ["a"], ["cat"],
            np.full((1, 32, 32, 3), shade, np.uint8), np.full((1, 64, 64, 3), shade, np.uint8),
        )  # fmt: skip

    def attention(self, teacher: Params) -> np.ndarray | None:
        return np.full((1, 16, 16), int(teacher["backbone.w"]), np.float32)

    def neighbours(self, teacher: Params) -> dict[str, np.ndarray]:
        thumbs, classes = np.zeros((1, 5, 64, 64, 3), np.uint8), np.array([["cat"] * 5])
        similarity = np.full((1, 5), int(teacher["backbone.w"]), np.float32)
        return {"similarity": similarity, "thumbs": thumbs, "classes": classes, "bank": np.array(5)}


class Clock:
    """Time that only passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.now)


class Kept:
    """A reporter over a folder with a run's files."""

    def __init__(self, folder: pathlib.Path, **more: Any) -> None:
        self.run = write_run(folder / "run", line(0))
        self.reporter = self.new(**more)

    def new(
        self,
        looks: Callable[[], Looks] = FakeLooks,
        batch: Callable[[pathlib.Path], None] = lambda path: path.write_bytes(b"drawn"),
    ) -> PageReporter:
        (self.run / "report").mkdir(exist_ok=True)
        return PageReporter(self.run, looks, batch, ("python", "x"))

    def line(self, step: int, *, evaluated: bool = True, **troubles: Any) -> None:
        teacher = {"backbone.w": jnp.asarray(step)}
        self.reporter.line(line(step), teacher, HEALTHY | troubles, evaluated=evaluated)
        wait(self.reporter._beside)

    def steps(self) -> list[int]:
        return snapshots.steps_of(self.run / "report", "attention")

    @property
    def written(self) -> bool:
        """Whether there is a page; it is taken away."""
        page = self.run / "report.html"
        found = page.exists()
        page.unlink(missing_ok=True)
        return found

    def calls(self) -> list[dict[str, Any]]:
        return json.loads((self.run / "report" / "calls.json").read_text())


def test_what_is_kept_and_when(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    kept = Kept(tmp_path)
    assert isinstance(kept.reporter, Reporter)
    kept.reporter.begin(0)
    kept.line(0)
    assert (kept.run / "report" / "batch.png").read_bytes() == b"drawn"
    assert kept.written
    kept.line(1, evaluated=False)
    assert kept.written, "with the pictures that were made beside the run"
    clock.now = 5.0
    kept.line(5, evaluated=False)
    assert not kept.written, "not before 30 seconds have passed"
    kept.line(6)
    assert kept.written, "every evaluation is shown at once"
    clock.now = 36.0
    kept.line(7, evaluated=False)
    assert kept.written
    kept.line(8, evaluated=False)
    assert not kept.written
    assert kept.steps() == [0, 6]
    kept.reporter.end()
    assert kept.written
    maps = snapshots.read(kept.run / "report", "attention", 6)
    assert maps is not None
    assert (maps["maps"] == 6).all()


def test_a_resumed_run_goes_on_with_what_was_kept(tmp_path: pathlib.Path) -> None:
    kept = Kept(tmp_path)
    kept.reporter.begin(0)
    for step in (0, 4, 8):
        kept.line(step, alarms=["early"] if step < 8 else ["early", "late"])
    kept.reporter = kept.new(batch=lambda path: path.write_bytes(b"anew"))
    kept.reporter.begin(6)
    assert kept.steps() == [0, 4]
    assert (kept.run / "report" / "batch.png").read_bytes() == b"drawn"
    kept.line(12)
    assert kept.steps() == [0, 4, 12]
    first, second = kept.calls()
    assert (first["step"], second["step"]) == (0, 6)
    assert first["troubles"]["alarms"] == [{"step": 0, "text": "early"}]
    assert second["troubles"]["alarms"] == []
    # of a run that starts anew nothing is kept
    kept.reporter = kept.new()
    kept.reporter.begin(0)
    assert kept.steps() == []
    kept.reporter.end()
    assert len(kept.calls()) == 1


def test_other_held_out_images_begin_anew(tmp_path: pathlib.Path) -> None:
    """`data.val` may change in a run."""
    kept = Kept(tmp_path)
    kept.reporter.begin(0)
    kept.line(0)
    kept.reporter = kept.new(looks=lambda: FakeLooks(shade=9))
    kept.reporter.begin(3)
    kept.line(6)
    assert kept.steps() == [6]


def broken(*arguments: Any) -> Any:
    raise RuntimeError("out of ideas\nand of lines")


def test_nothing_that_goes_wrong_stops_the_run(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(tmp_path, looks=broken, batch=broken)
    with caplog.at_level(logging.WARNING):
        kept.reporter.begin(0)
        kept.line(0)
        kept.line(6)
        assert kept.written
        monkeypatch.setattr(module, "write_report", broken)
        kept.reporter.end()
        kept.reporter.end()
    assert caplog.messages == [
        f"the report {what} could not be made (out of ideas); the run goes on"
        for what in ("of the first batch", "of held-out images", "as a page")
    ]


def test_without_memory_for_a_copy_of_the_network_the_run_goes_on(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)

    def full(params: Params) -> Params:
        clock.now += 5.0
        raise MemoryError("RESOURCE_EXHAUSTED: out of memory")

    kept = Kept(tmp_path)
    kept.reporter.begin(0)
    monkeypatch.setattr(module, "own", full)
    with caplog.at_level(logging.WARNING):
        for step in (0, 6):
            kept.line(step)
        kept.line(7, alarms=7)
    assert len(caplog.messages) == 2
    assert "of held-out images could not be made (RESOURCE_EXHAUSTED" in caplog.messages[0]
    assert "of alarms could not be made" in caplog.messages[1]
    assert clock.now == 5.0, "its time is counted: a second time is not afforded"


def test_a_thread_that_cannot_be_started_is_one_line(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(tmp_path)
    monkeypatch.setattr(kept.reporter._thread, "submit", broken)
    with caplog.at_level(logging.WARNING):
        kept.reporter.begin(0)
        kept.line(0)
    assert [message.split(" could")[0] for message in caplog.messages] == [
        "the report of the first batch",
        "the report of held-out images",
    ]


def test_a_full_disk_is_one_line(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept(tmp_path)
    (kept.run / "report").rmdir()
    (kept.run / "report").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        kept.reporter.begin(0)
        for step in range(4):
            kept.line(step)
    assert len(caplog.messages) == len(set(caplog.messages)) <= 4
    assert all(message.endswith("the run goes on") for message in caplog.messages)


def test_where_it_would_take_too_long_pictures_are_left_out(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)

    class Slow(FakeLooks):
        def attention(self, teacher: Params) -> np.ndarray | None:
            clock.now += 3.0 * bool(teacher["backbone.w"] > 0)
            return super().attention(teacher)

    kept = Kept(tmp_path, looks=Slow)
    kept.reporter.begin(0)
    for step in range(0, 100, 10):
        kept.line(step)
        clock.now += 20
    # The first is made beside the run; then 2 s and 1 % of the time: 3 s, and again after 100 s.
    assert kept.steps() == [0, 10, 50]
    clock.now += 1000
    kept.line(200)
    assert kept.steps() == [0, 10, 50, 200]


def test_off_or_not_the_first_process_nothing_is_kept(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    off, on = tiny.config(report=False), tiny.config()
    source = FakeSource(8)
    rest = source, source, build_models(on)[1], broken
    silent = page_reporter(tmp_path, off, *rest, command=())
    assert isinstance(silent, NoReporter)
    assert isinstance(silent, Reporter)
    silent.begin(0)
    silent.line({}, {}, {}, evaluated=True)
    silent.end()
    assert isinstance(page_reporter(tmp_path, on, *rest, command=()), PageReporter)
    monkeypatch.setattr(module.jax, "process_index", lambda: 1)
    assert isinstance(page_reporter(tmp_path, on, *rest, command=()), NoReporter)
    assert list(tmp_path.iterdir()) == []
