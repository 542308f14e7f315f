"""The training step on CPU beside other ways to write it, alternated; one JSON line a case.

    python -m benchmarks.step [--cases=quickstart,cifar10] [--against=plain] [--cores=1]
        [--rounds=6] [--steps=2]

Cases: quickstart, cifar10, S/16 (2x224 + 8x96, batch 4), Ti/16 (2x64 + 4x32, batch 32).
`--against` takes plain (ours with automatic gradients), eager and compiled (PyTorch). Crops are
only normalised. `ratio` is the quickest other contender's time over ours, by the clock;
`processor_ratio` the same by processor time, which a busy machine disturbs less. Times are the
least over all steps.
"""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from benchmarks.machine import commit, describe
from benchmarks.worker import Worker
from benchmarks.workload import Workload

SMALL: dict[str, Any] = {"arch": "vit_tiny", "image": 32, "local": 16, "locals_": 4, "hidden": 512}
CASES = {
    "quickstart": Workload(
        "quickstart", width=128, depth=4, heads=4, patch=8, batch=128, prototypes=1024, **SMALL
    ),
    "cifar10": Workload(
        "cifar10", width=192, depth=6, heads=3, patch=4, batch=64, prototypes=2048, **SMALL
    ),
    "S/16": Workload(
        "S/16", "vit_small", width=384, depth=12, heads=6, patch=16, batch=4, prototypes=65536
    ),
    "Ti/16": Workload(
        "Ti/16",
        "vit_tiny",
        192,
        12,
        3,
        16,
        batch=32,
        image=64,
        local=32,
        locals_=4,
        prototypes=4096,
    ),
}


def measure(
    work: Workload, names: Sequence[str], cores: Sequence[int], *, rounds: int, steps: int
) -> dict[str, dict[str, float]]:
    """Milliseconds a step of each contender: the least of rounds x steps, taken in turns."""
    workers = {name: Worker("benchmarks.step_worker") for name in names}
    times: dict[str, dict[str, list[float]]] = {n: {"wall": [], "processor": []} for n in names}
    found: dict[str, dict[str, float]] = {}
    try:
        for name, worker in workers.items():
            sizes = dataclasses.asdict(work)
            built = worker.ask("build", name=name, cores=list(cores), work=sizes)
            found[name] = {"compile_s": built["compile_s"]}
        for _ in range(rounds):
            for name, worker in workers.items():
                for clock, seconds in worker.ask("steps", count=steps).items():
                    times[name][clock] += seconds
    finally:
        for worker in workers.values():
            worker.close()
    for name, clocks in times.items():
        for clock, seconds in clocks.items():
            found[name][f"{clock}_ms"] = round(1000 * min(seconds), 1)
        found[name]["images_per_second"] = round(work.batch / min(clocks["wall"]), 1)
    return found


def ratio(found: dict[str, dict[str, float]], clock: str) -> float:
    """Return the quickest other contender's time over ours."""
    others = [times[clock] for name, times in found.items() if name != "ours"]
    return round(min(others) / found["ours"][clock], 3)


def main() -> int:
    """Measure the asked cases and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", default="quickstart,cifar10")
    parser.add_argument("--against", default="plain")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=2)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[-options.cores :]
    names = ["ours", *options.against.split(",")]
    versions = {name: metadata.version(name) for name in ("jax", "jaxlib")}
    for case in options.cases.split(","):
        machine = describe()
        found = measure(CASES[case], names, cores, rounds=options.rounds, steps=options.steps)
        line = {
            "case": case,
            "batch": CASES[case].batch,
            "ratio": ratio(found, "wall_ms"),
            "processor_ratio": ratio(found, "processor_ms"),
            "contenders": found,
            "threads": len(cores),
            "machine": machine,
            "versions": versions,
            "commit": commit(),
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
