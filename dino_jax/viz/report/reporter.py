"""Keeps a run's report while it trains: collects, and writes the page anew now and then."""

import contextlib
import logging
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import jax
import numpy as np

from dino_jax.config import Config
from dino_jax.data.source import Source
from dino_jax.models.build import Model
from dino_jax.types import Params, Reporter
from dino_jax.viz.report import calls, snapshots
from dino_jax.viz.report.first_batch import Crops, as_seen, first_rows, write_sheet
from dino_jax.viz.report.looks import NUMBER, Looks, own
from dino_jax.viz.report.pictures import BATCH
from dino_jax.viz.report.snapshots import ATTENTION, FIXED, NEIGHBOURS
from dino_jax.viz.report.write import FOLDER, write_report

log = logging.getLogger(__name__)

EVERY = 30.0
"""Seconds between two pages, at least, evaluations aside."""
SHARE, ALLOWANCE = 0.01, 2.0
"""Of the time of a run, and seconds besides, what the report may take after its first pictures."""
COLUMNS = 8
"""Steps of which attention is kept, at most."""


def page_reporter(
    workdir: pathlib.Path,
    config: Config,
    train: Source,
    held_out: Source,
    model: Model,
    crops: Crops,
    *,
    command: Sequence[str],
) -> Reporter:
    """What keeps `report.html`; nothing is kept with `report` off, nor by processes but the first.

    `crops` is the augmentation of the step, `command` what stood behind the name of the program.
    """
    if not config.report or jax.process_index():
        return NoReporter()

    def batch(path: pathlib.Path) -> None:
        if rows := first_rows(train, config, NUMBER):
            write_sheet(path, as_seen(rows, crops, config))

    called = ("python", "-m", "dino_jax.main", *command)
    return PageReporter(workdir, lambda: Looks(model, config, train, held_out), batch, called)


class NoReporter:
    """A `Reporter` that keeps nothing."""

    def begin(self, step: int) -> None:
        """Do nothing."""

    def line(
        self,
        line: Mapping[str, Any],
        teacher: Params,
        troubles: Mapping[str, Any],
        *,
        evaluated: bool,
    ) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


class PageReporter:
    """A `Reporter` that tells of its own mistakes once, in a line of the log, and never raises.

    The first pictures, for which things are compiled, are made in a thread beside the run, which
    itself compiles then; all others between two steps.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        looks: Callable[[], Looks],
        batch: Callable[[pathlib.Path], None],
        command: Sequence[str],
    ) -> None:
        """`looks` and `batch`, which draws the first batch into a file, are called when needed."""
        self._workdir, self._folder = workdir, workdir / FOLDER
        self._make_looks, self._batch, self._command = looks, batch, command
        self._looks: Looks | None = None
        self._failed: set[str] = set()
        self._calls: list[dict[str, Any]] = []
        self._began = self._refreshed = time.perf_counter()
        self._spent = self._page = 0.0
        self._thread = ThreadPoolExecutor(1)
        self._beside: list[Future[None]] = []

    def begin(self, step: int) -> None:
        """Take up what earlier calls kept, drop what they kept of later steps."""
        with self._tried("of earlier calls"):
            self._calls = calls.read_calls(self._folder) if step else []
            for call in self._calls:
                known = call.get("troubles", {}).get("alarms", [])
                call.get("troubles", {})["alarms"] = [a for a in known if a["step"] <= step]
            snapshots.drop(self._folder, after=step if step else -1)
        with self._tried("of this machine"):
            self._calls.append(calls.new_call(step, time.time(), self._command))
        batch = self._folder / BATCH
        with self._tried("of the first batch"):
            if not step or not batch.exists():
                self._start("of the first batch", lambda: self._batch(batch))

    def line(
        self,
        line: Mapping[str, Any],
        teacher: Params,
        troubles: Mapping[str, Any],
        *,
        evaluated: bool,
    ) -> None:
        """Look at the fixed images where an evaluation was due, and write the page if it is time.

        Where the report would take more than its share of the time, pictures are left out.
        """
        with self._tried("of alarms"):
            if self._calls:
                known = self._calls[-1]["troubles"].get("alarms", [])
                self._calls[-1]["troubles"] = calls.with_alarms(known, troubles, line["step"])
        now = time.perf_counter()
        affordable = self._spent <= SHARE * (now - self._began) + ALLOWANCE
        if evaluated and affordable:
            self._look(line["step"], teacher)
        waited = now - self._refreshed
        news = bool(self._beside) and all(work.done() for work in self._beside)
        if (evaluated and affordable) or news or waited > max(EVERY, self._page / SHARE):
            self._refresh()

    def end(self) -> None:
        """Write the page of what the run's folder now holds, with all that was begun."""
        self._settle()
        self._refresh()

    def _refresh(self) -> None:
        self._beside = [work for work in self._beside if not work.done()]
        before = time.perf_counter()
        with self._tried("as a page"):
            if self._calls:
                self._calls[-1] |= {"updated": time.time(), "reporting": round(self._spent, 2)}
                calls.write_calls(self._folder, self._calls)
            write_report(self._workdir)
        self._refreshed = time.perf_counter()
        self._page = self._refreshed - before

    def _look(self, step: int, teacher: Params) -> None:
        what = "of held-out images"
        busy = sum(not work.done() for work in self._beside)
        if busy > 4:  # evaluations a second apart, at the start: not for long
            return
        with self._tried(what):
            params = own(teacher)
            if self._looks is None or busy:
                self._start(what, lambda: self._looked(step, params))
            else:
                self._looked(step, params)

    def _looked(self, step: int, teacher: Params) -> None:
        looks = self._looks = self._looks or self._opened()
        if (maps := looks.attention(teacher)) is not None:
            snapshots.write(self._folder, ATTENTION, step, {"maps": maps}, most=COLUMNS)
        if len(looks.queries.indices) and len(looks.bank.indices):
            near = looks.neighbours(teacher)
            snapshots.write(self._folder, NEIGHBOURS, step, near, most=2)

    def _opened(self) -> Looks:
        """Read the fixed images; if they are not those of an earlier call, its pictures go."""
        looks = self._make_looks()
        fixed = {
            "large": looks.large.pixels,
            "thumbs": looks.queries.thumbs,
            "names": np.array(looks.queries.names, str),
            "classes": np.array(looks.queries.classes, str),
        }
        known = snapshots.read_arrays(self._folder / FIXED) or {}
        same = known.keys() == fixed.keys()
        if not (same and all(np.array_equal(known[name], fixed[name]) for name in fixed)):
            snapshots.drop(self._folder, after=-1)
            snapshots.write_arrays(self._folder / FIXED, fixed)
        return looks

    def _start(self, what: str, work: Callable[[], None]) -> None:
        """Have it done beside the run."""

        def guarded() -> None:
            with self._caught(what):
                work()

        self._beside.append(self._thread.submit(guarded))

    def _settle(self) -> None:
        """Wait for what is done beside."""
        before = time.perf_counter()
        wait(self._beside)
        self._spent += time.perf_counter() - before

    @contextlib.contextmanager
    def _tried(self, what: str) -> Iterator[None]:
        """As `_caught`; the time is counted."""
        before = time.perf_counter()
        try:
            with self._caught(what):
                yield
        finally:
            self._spent += time.perf_counter() - before

    @contextlib.contextmanager
    def _caught(self, what: str) -> Iterator[None]:
        """Whatever goes wrong inside is one line of the log, the first time."""
        try:
            yield
        except Exception as error:
            if what not in self._failed:
                self._failed.add(what)
                told = (str(error).strip() or type(error).__name__).splitlines()[0]
                log.warning("the report %s could not be made (%s); the run goes on", what, told)
