"""Waiting for images is what the device waits, not the host; all else has its share."""

import threading
import time
import types

import pytest

from dino_jax.train import clock as clock_module
from dino_jax.train.clock import BETWEEN, Clock

UNIT = 0.03
"""Seconds; what is asked of a share leaves room for a busy machine."""


class Device:
    """Does what it is given one after the other, `seconds` each, beside the host."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.free_at = seconds, 0.0

    def dispatch(self) -> dict[str, float]:
        self.free_at = max(self.free_at, time.perf_counter()) + self.seconds
        return {"done": self.free_at}


def until(figures: dict[str, float]) -> None:
    while (left := figures["done"] - time.perf_counter()) > 0:
        time.sleep(left)


def run(*, reading: float, computing: float, ahead: int = 1, steps: int = 12) -> float:
    """The share of a loop that waits where it is `ahead` of its device, as ours is."""
    clock, device = Clock(8, done=until), Device(computing)
    given: list[dict[str, float]] = []
    for step in range(steps):
        with clock.waiting():
            time.sleep(reading)
        given.append(device.dispatch())
        clock.dispatched(given[-1])
        if step == 0:
            until(given[0])
            clock.start()
        if len(given) > ahead:
            until(given[-1 - ahead])
    until(given[-1])
    share = clock.shares()["data_wait"]
    clock.close()
    return share


def test_a_slow_input_keeps_the_device_waiting() -> None:
    assert run(reading=4 * UNIT, computing=0.0) > 0.9
    assert run(reading=4 * UNIT, computing=2 * UNIT) == pytest.approx(0.5, abs=0.2)


def test_an_input_that_is_read_while_the_device_computes_is_not_waited_for() -> None:
    assert run(reading=2 * UNIT, computing=4 * UNIT) < 0.25
    assert run(reading=0.0, computing=2 * UNIT) < 0.1


def test_what_is_read_in_the_shade_of_a_step_counts_from_its_end() -> None:
    # one step in flight, read for three units of which two are hidden behind it
    clock, device = Clock(8, done=until), Device(2 * UNIT)
    clock.start()
    clock.dispatched(device.dispatch())
    with clock.waiting():
        time.sleep(3 * UNIT)
    shares = clock.shares()
    assert shares["data_wait"] * shares["seconds"] == pytest.approx(UNIT, abs=0.8 * UNIT)


def test_what_is_done_between_steps_has_its_share_and_slows_no_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(clock_module, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))
    clock = Clock(10)
    for seconds, kind in enumerate(BETWEEN, 1):
        with clock.spending(kind):
            now[0] += seconds
    now[0] += 10
    assert clock.lap(3) == {"images_per_second": 3.0, "data_wait": 0.0, "overhead": 0.5}
    shares = {"evaluation": 0.05, "checkpoint": 0.1, "logging": 0.15, "report": 0.2}
    assert clock.shares() == {"seconds": 20.0, "data_wait": 0.0} | shares
    with clock.waiting():
        now[0] += 5  # before anything was dispatched: the device has nothing to do
    assert clock.lap(1) == {"images_per_second": 2.0, "data_wait": 1.0, "overhead": 0.0}
    assert clock.shares()["data_wait"] == 0.2
    clock.start()
    now[0] += 1
    assert set(clock.shares().values()) == {1.0, 0.0}


def test_a_step_that_fails_is_raised_where_its_figures_are_fetched() -> None:
    failed = threading.Event()

    def broken(figures: object) -> None:
        failed.set()
        raise RuntimeError("out of memory")

    clock = Clock(8, done=broken)
    clock.dispatched({})
    assert failed.wait(5)
    with clock.waiting():
        pass
    clock.close()
