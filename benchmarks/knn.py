"""Weighted k-NN, ours beside the original's, and the memory of a large bank; one JSON line.

    python -m benchmarks.knn --original=CHECKOUT [--rounds=3] [--out=FILE]

The same features (about a thousand centres) go to `knn_classifier` of a checkout of
facebookresearch/dino and to ours, each in a process of its own that lives through the run; turns
alternate and medians are told. `script` is what eval_knn.py does of features: the votes of k = 10,
20, 100 and 200, top-1 and top-5. `ratio` is its time over ours; `ratios` adds k = 20 alone, and
the processor's seconds, which other work on the machine disturbs less. Answers are compared one by
one: every prediction, and every set of five from k = 20 up. Then a bank of 1.28 million rows, in
memory and memory-mapped: the most the process held at once (VmHWM). Needs torch, torchvision and
Linux.
"""

import argparse
import datetime as dt
import json
import pathlib
import statistics
import sys
import tempfile
from importlib import metadata
from typing import Any

import numpy as np

from benchmarks.machine import commit, describe
from benchmarks.worker import Worker

KS = (10, 20, 100, 200)
TASKS = {"script": KS, "k20": (20,)}
SIZES = {"bank": 50_000, "queries": 10_000, "width": 384, "classes": 1000}
LARGE = {"bank": 1_280_000, "queries": 2_000, "width": 384, "classes": 1000}


def speed(original: str, sizes: dict[str, int], *, rounds: int, folder: str) -> dict[str, Any]:
    """Seconds of both at each task, and whether they agree."""
    workers = {name: Worker("benchmarks.knn_worker") for name in ("original", "ours")}
    try:
        opened = {
            name: worker.ask("open", name=name, original=original, sizes=sizes)
            for name, worker in workers.items()
        }
        for name, worker in workers.items():  # a first turn, which also compiles
            for task, ks in TASKS.items():
                keep = f"{folder}/{name}.npz" if task == "script" else ""
                worker.ask("score", k=ks, keep=keep)
        turns: dict[str, dict[str, list[dict[str, float]]]] = {
            name: {task: [] for task in TASKS} for name in workers
        }
        for number in range(rounds):
            for task, ks in TASKS.items():
                for name in list(workers)[:: -1 if number % 2 else 1]:
                    turns[name][task].append(workers[name].ask("score", k=ks, keep=""))
    finally:
        for worker in workers.values():
            worker.close()
    seconds = {
        name: {
            task: {key: round(statistics.median(t[key] for t in each), 3) for key in each[0]}
            for task, each in tasks.items()
        }
        for name, tasks in turns.items()
    }
    ratios = {
        task: {
            key: round(value / seconds["ours"][task][key], 2)
            for key, value in seconds["original"][task].items()
        }
        for task in TASKS
    }
    return {
        "ratio": ratios["script"]["wall_s"],
        "ratios": ratios,
        "agreement": agreement(f"{folder}/original.npz", f"{folder}/ours.npz"),
        "seconds": seconds,
        "threads": {name: each["threads"] for name, each in opened.items()},
    }


def agreement(theirs: str, ours: str) -> dict[str, dict[str, Any]]:
    """By k: queries, and how many have another prediction, or another set of five.

    `leads` are of the latter, by what share of the most votes the fifth class leads the sixth.
    """
    with np.load(theirs) as first, np.load(ours) as second:
        found: dict[str, dict[str, Any]] = {}
        for k in KS:
            a, b = first[str(k)], second[str(k)]
            found[str(k)] = {"queries": len(a), "other_top1": int((a[:, 0] != b[:, 0]).sum())}
            if k >= 20:  # below, fewer than five classes may have votes
                other = (np.sort(a, axis=1) != np.sort(b, axis=1)).any(axis=1)
                leads = second[f"lead {k}"][other].tolist()
                found[str(k)] |= {"other_top5": len(leads), "leads": leads}
    return found


def memory(sizes: dict[str, int], folder: str) -> dict[str, Any]:
    """What a process held at most that searched a large bank: MB."""
    found: dict[str, Any] = {**sizes, "bank_mb": round(sizes["bank"] * sizes["width"] * 4 / 2**20)}
    for kind, path in (("mapped", f"{folder}/bank.npy"), ("in_memory", "")):
        worker = Worker("benchmarks.knn_worker")
        try:
            if path:
                other = Worker("benchmarks.knn_worker")
                other.ask("write", path=path, sizes=sizes)
                other.close()
            found[kind] = worker.ask("large", path=path, sizes=sizes, k=KS)
        finally:
            worker.close()
    return found


def main() -> int:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--original", required=True, help="a checkout of facebookresearch/dino")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=int, default=1, help="divides the sizes, for a trial")
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    machine = describe()
    small, large = (
        {**sizes, **{key: sizes[key] // options.scale for key in ("bank", "queries")}}
        for sizes in (SIZES, LARGE)
    )
    with tempfile.TemporaryDirectory() as folder:
        found = speed(options.original, small, rounds=options.rounds, folder=folder)
        held = memory(large, folder)
    report = {
        "benchmark": "knn",
        "command": f"python -m benchmarks.knn --original=CHECKOUT --rounds={options.rounds}",
        "commit": commit(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": machine,
        "versions": {name: metadata.version(name) for name in ("jax", "numpy", "torch")},
        "rounds": options.rounds,
        "sizes": small,
        **found,
        "memory": held,
    }
    print(json.dumps(report))
    if options.out:
        options.out.write_text(json.dumps(report) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
