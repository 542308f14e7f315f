"""The host pipeline as training runs it: two threads or processes against one, and its memory."""

import multiprocessing
import os
import pathlib
import time
from collections.abc import Iterator
from typing import Any

from dino_jax.config import CropsConfig, DataConfig
from dino_jax.data.pipeline import TrainIterator, train_iterator
from dino_jax.data.source import Source

_BATCH = 32
_MARKS = (2_000, 5_000, 10_000, 20_000)


def parallel(source: Source, crops: CropsConfig, *, seconds: float) -> Iterator[dict[str, Any]]:
    """Images per second of two threads and of two processes, over those of one."""
    size = min(_BATCH, len(source))
    for case, one, two in (
        ("threads", DataConfig(threads=1), DataConfig(threads=2)),
        ("processes", DataConfig(workers=1), DataConfig(workers=2)),
    ):
        rates: dict[str, list[float]] = {"one": [], "two": []}
        for _ in range(2):
            for name, data in (("one", one), ("two", two)):
                rates[name].append(_rate(source, crops, data, size, seconds))
        best = {name: round(max(found), 1) for name, found in rates.items()}
        yield {
            "case": f"two {case} against one",
            "images_per_second": best,
            "load": [round(load, 2) for load in os.getloadavg()],
            "ratio": round(best["two"] / best["one"], 2),
        }


def _iterator(source: Source, crops: CropsConfig, data: DataConfig, size: int) -> TrainIterator:
    return train_iterator(
        source,
        crops,
        data,
        seed=0,
        batch_size=size,
        start_step=0,
        stop_step=1 << 30,
        cache_bytes=0,
    )


def _rate(source: Source, crops: CropsConfig, data: DataConfig, size: int, seconds: float) -> float:
    """Images per second once the queues are full; the first batches wait for nobody."""
    with _iterator(source, crops, data, size) as batches:
        for _ in range(6):
            next(batches)
        count, began = 0, time.perf_counter()
        while time.perf_counter() < began + seconds:
            next(batches)
            count += 1
        return count * size / (time.perf_counter() - began)


def resident(source: Source, crops: CropsConfig, images: int) -> Iterator[dict[str, Any]]:
    """Resident memory of this process and of its workers after so many images, in MiB."""
    size = min(_BATCH, len(source))
    for case, data in (("threads", DataConfig(threads=2)), ("processes", DataConfig(workers=2))):
        found: dict[str, dict[str, list[float]]] = {}
        marks = [mark for mark in _MARKS if mark < images] + [images]
        with _iterator(source, crops, data, size) as batches:
            for number in range(1, -(-images // size) + 1):
                next(batches)
                while marks and number * size >= marks[0]:
                    workers = sorted(child.pid or 0 for child in multiprocessing.active_children())
                    found[str(marks.pop(0))] = {
                        "this": [_resident("self")],
                        "workers": [_resident(str(worker)) for worker in workers],
                    }
        first, last = next(iter(found.values())), list(found.values())[-1]
        total = [sum(map(sum, each.values())) for each in (last, first)]
        yield {"case": f"memory, {case}", "MiB": found, "ratio": round(total[0] / total[1], 3)}


def _resident(process: str) -> float:
    """MiB, from what Linux tells of a process."""
    pages = int(pathlib.Path(f"/proc/{process}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)
