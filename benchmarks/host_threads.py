"""Whether two threads hinder each other, told on a machine that is busy with other things too.

Linux counts for every thread how long it ran and how long it was ready but had no core. What is
left of the time is waiting for the other thread: for the interpreter's lock, or for memory. A rate
over the time without the waits for a core is that of a machine with cores to spare.
"""

import pathlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

Work = Callable[[int], Any]
Figures = tuple[float, float]
"""Images a second of time with a core, and the share of that time a thread ran."""

_ROUNDS = 5


def unhindered(
    make: Callable[[], Work], images: int, *, seconds: float
) -> Iterator[dict[str, Any]]:
    """Images per second of two threads over those of one, waits for a core left out.

    `make` makes what takes the number of an image, one for each thread.
    """
    if not _schedstat().exists():
        return
    found = [
        (_turn(make, images, 1, seconds), _turn(make, images, 2, seconds)) for _ in range(_ROUNDS)
    ]
    ratios = [sum(rate for rate, _ in two) / one[0][0] for one, two in found]
    yield {
        "case": "two threads against one, waits for a core left out",
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in sorted(ratios)],
        "ran": round(statistics.median(share for _, two in found for _, share in two), 3),
    }


def _turn(make: Callable[[], Work], images: int, threads: int, seconds: float) -> list[Figures]:
    found: list[Figures] = []

    def run(number: int) -> None:
        work = make()
        work(0)
        began, (ran, waited), count = time.perf_counter(), _times(), 0
        while time.perf_counter() < began + seconds:
            work((count + number * images // 2) % images)
            count += 1
        after = _times()
        own = time.perf_counter() - began - (after[1] - waited)
        found.append((count / own, (after[0] - ran) / own))

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return found


def _schedstat() -> pathlib.Path:
    return pathlib.Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")


def _times() -> tuple[float, float]:
    """Seconds this thread ran, and was ready but had no core."""
    ran, waited, _ = _schedstat().read_text().split()
    return int(ran) / 1e9, int(waited) / 1e9
