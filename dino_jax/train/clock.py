"""Where the time of a run goes: steps, waiting for images, and what is done between steps."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax

BETWEEN = ("evaluation", "checkpoint", "logging", "report")
"""What may be done between two steps, `spending` names one of them."""


class Clock:
    """Images a second, the share of time the device lacked a batch, and that spent between steps.

    Steps are only dispatched by the host, so a wait for the next batch is counted from the moment
    that the device has done all it was given; a thread notes that moment for each step.
    """

    def __init__(
        self, batch_size: int, *, done: Callable[[Any], Any] = jax.block_until_ready
    ) -> None:
        """Count in batches of `batch_size`; `done` returns when a step's figures are there."""
        self._batch_size, self._done = batch_size, done
        self._watcher = ThreadPoolExecutor(1, "steps")
        self._last: Future[float] | None = None
        self._waited = 0.0
        self._spent = dict.fromkeys(BETWEEN, 0.0)
        self._lap_began = time.perf_counter()
        self._lap_waited = self._lap_between = 0.0
        self.start()

    def dispatched(self, figures: Mapping[str, Any]) -> None:
        """A step was given to the device, and `figures` will be its figures."""

        def moment() -> float:
            # An error of the device is raised where the figures are fetched.
            with contextlib.suppress(Exception):
                self._done(figures)
            return time.perf_counter()

        self._last = self._watcher.submit(moment)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around taking the next batch."""
        entered = time.perf_counter()
        yield
        left = time.perf_counter()
        if self._last is None:
            idle_since = entered
        else:
            idle_since = self._last.result() if self._last.done() else left
        self._waited += max(0.0, left - max(entered, idle_since))

    @contextlib.contextmanager
    def spending(self, kind: str) -> Iterator[None]:
        """Around something of `BETWEEN`; the host's time, whatever the device does meanwhile."""
        entered = time.perf_counter()
        try:
            yield
        finally:
            self._spent[kind] += time.perf_counter() - entered

    def start(self) -> None:
        """Give `shares` from now on: what was before, the compilation above all, comes once."""
        self._began, self._before = time.perf_counter(), self._totals()

    def lap(self, steps: int) -> dict[str, float]:
        """The figures of one line, for the `steps` done since the line before."""
        now, spent = time.perf_counter(), sum(self._spent.values())
        passed = max(now - self._lap_began, 1e-9)
        between, waited = spent - self._lap_between, self._waited - self._lap_waited
        of_steps = max(passed - between, 1e-9)
        self._lap_began, self._lap_waited, self._lap_between = now, self._waited, spent
        return {
            "images_per_second": round(steps * self._batch_size / of_steps, 2),
            "data_wait": round(min(waited / of_steps, 1.0), 4),
            "overhead": round(min(between / passed, 1.0), 4),
        }

    def shares(self) -> dict[str, float]:
        """Seconds since `start` and the shares of them that went to each thing but the steps."""
        seconds = max(time.perf_counter() - self._began, 1e-9)
        spent = {name: value - self._before[name] for name, value in self._totals().items()}
        shares = {name: round(value / seconds, 5) for name, value in spent.items()}
        return {"seconds": round(seconds, 2), **shares}

    def close(self) -> None:
        """End the thread."""
        self._watcher.shutdown(wait=False)

    def _totals(self) -> dict[str, float]:
        return {"data_wait": self._waited, **self._spent}
