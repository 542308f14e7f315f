"""The training step on CPU beside other ways to write it, alternated; one JSON line a case.

    python -m benchmarks.step [--cases=quickstart,cifar10] [--against=plain] [--cores=1]
        [--rounds=6] [--steps=2] [--original=CHECKOUT] [--blocks=auto] [--lock=FILE] [--out=FILE]

Cases: quickstart, cifar10, and S/16 (2x224 + 8x96, batch 4) and Ti/16 (2x64 + 4x32, batch 32) by
their prototypes: S/16-65536, S/16-4096, Ti/16-65536, Ti/16-4096. `--against`
takes plain (ours with automatic gradients), PyTorch's eager, fused, compiled (see
`benchmarks.torch_dino`), fused-heap and compiled-heap (with our way with memory), and original, a
checkout of facebookresearch/dino. Crops are only normalised. Each ratio is another contender's time
over ours: `ratio` takes the quickest of them, `ratios` says it of the quickest torch and of every
contender, by the clock and by processor time (which a busy machine disturbs less), by the least and
the median of all steps. `--lock` is a file to hold while timing, so that benchmarks on one machine
wait for each other; `--out` a JSON file whose entry of the same case and cores is replaced.
"""

import argparse
import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import statistics
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Any

from benchmarks.machine import commit, describe
from benchmarks.worker import Worker
from benchmarks.workload import Workload

TORCH = ("eager", "fused", "compiled", "fused-heap", "compiled-heap", "original")
CLOCKS = ("wall", "processor")
SMALL: dict[str, Any] = {"arch": "vit_tiny", "image": 32, "local": 16, "locals_": 4, "hidden": 512}
CASES = {
    "quickstart": Workload(
        "quickstart", width=128, depth=4, heads=4, patch=8, batch=128, prototypes=1024, **SMALL
    ),
    "cifar10": Workload(
        "cifar10", width=192, depth=6, heads=3, patch=4, batch=64, prototypes=2048, **SMALL
    ),
    **{
        f"S/16-{prototypes}": Workload(
            "S/16", "vit_small", 384, 12, 6, 16, batch=4, prototypes=prototypes
        )
        for prototypes in (65536, 4096)
    },
    **{
        f"Ti/16-{prototypes}": Workload(
            *("Ti/16", "vit_tiny", 192, 12, 3, 16),
            batch=32,
            image=64,
            local=32,
            locals_=4,
            prototypes=prototypes,
        )
        for prototypes in (65536, 4096)
    },
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """How to measure: the cores, rounds of so many steps each, and what ours is built with."""

    cores: Sequence[int]
    rounds: int
    steps: int
    blocks: str = "auto"
    checkout: pathlib.Path | None = None
    lock: pathlib.Path | None = None


def measure(work: Workload, names: Sequence[str], plan: Plan) -> dict[str, dict[str, float]]:
    """Milliseconds a step of each contender over rounds x steps, taken in turns."""
    checkout = {} if plan.checkout is None else {"DINO_CHECKOUT": str(plan.checkout)}
    workers = {name: Worker("benchmarks.step_worker", environment=checkout) for name in names}
    times: dict[str, dict[str, list[float]]] = {n: {c: [] for c in CLOCKS} for n in names}
    found: dict[str, dict[str, float]] = {}
    try:
        for name, worker in workers.items():
            built = worker.ask(
                "build",
                name=name,
                cores=list(plan.cores),
                work=dataclasses.asdict(work),
                blocks=plan.blocks,
            )
            found[name] = {"compile_s": built["compile_s"]}
        with held(plan.lock):
            for _ in range(plan.rounds):
                for name, worker in workers.items():
                    for clock, seconds in worker.ask("steps", count=plan.steps).items():
                        times[name][clock] += seconds
    finally:
        for worker in workers.values():
            worker.close()
    for name, clocks in times.items():
        found[name] |= in_short(clocks)
        found[name]["images_per_second"] = round(work.batch / min(clocks["wall"]), 1)
    return found


@contextlib.contextmanager
def held(lock: pathlib.Path | None) -> Iterator[None]:
    """Hold a lock file, waiting for whoever has it; None: nothing to wait for."""
    if lock is None:
        yield
        return
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def in_short(clocks: dict[str, list[float]]) -> dict[str, float]:
    """Least and median milliseconds by each clock."""
    short = {f"{clock}_ms": 1000 * min(seconds) for clock, seconds in clocks.items()}
    for clock, seconds in clocks.items():
        short[f"{clock}_median_ms"] = 1000 * statistics.median(seconds)
    return {name: round(value, 1) for name, value in short.items()}


def ratios(found: dict[str, dict[str, float]], others: Sequence[str]) -> dict[str, float]:
    """By each clock and measure the quickest of the other contenders' time over ours."""
    keys = [key for key in found["ours"] if key.endswith("_ms")]
    return {
        key.removesuffix("_ms"): round(
            min(found[name][key] for name in others) / found["ours"][key], 3
        )
        for key in keys
    }


def compared(found: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Ratios to each contender, and to the quickest torch by each measure."""
    others = [name for name in found if name != "ours"]
    torches = [name for name in others if name in TORCH]
    best = {"best_torch": ratios(found, torches)} if torches else {}
    return best | {name: ratios(found, [name]) for name in others}


def keep(path: pathlib.Path, line: dict[str, Any]) -> None:
    """Put a case's line into a file of them, in place of that of the same case and cores."""
    lines = json.loads(path.read_text()) if path.exists() else []
    own = line["case"], line["threads"]
    lines = [other for other in lines if (other["case"], other["threads"]) != own]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([*lines, line], indent=1) + "\n")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", default="quickstart,cifar10")
    parser.add_argument("--against", default="plain")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--blocks", default="auto")
    for name in ("--original", "--lock", "--out"):
        parser.add_argument(name, type=pathlib.Path)
    options = parser.parse_args(arguments)
    if "original" in options.against.split(",") and options.original is None:
        parser.error("--against=original needs --original=CHECKOUT of facebookresearch/dino")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the asked cases and print a line for each."""
    options = parse(arguments)
    cores = sorted(os.sched_getaffinity(0))[-options.cores :]
    plan = Plan(
        *(cores, options.rounds, options.steps, options.blocks),
        checkout=options.original,
        lock=options.lock,
    )
    names = ["ours", *options.against.split(",")]
    wanted = ("jax", "jaxlib", *(("torch",) if set(names) & set(TORCH) else ()))
    for case in options.cases.split(","):
        machine, found = describe(), measure(CASES[case], names, plan)
        line = {
            "case": case,
            "batch": CASES[case].batch,
            "ratio": ratios(found, names[1:])["wall"],
            "ratios": compared(found),
            "contenders": found,
            "threads": len(cores),
            "blocks": options.blocks,
            "machine": machine,
            "load_after": [round(load, 2) for load in os.getloadavg()],
            "versions": {name: metadata.version(name) for name in wanted},
            "commit": commit(),
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        if options.out:
            keep(options.out, line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
