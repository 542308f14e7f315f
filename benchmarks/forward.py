"""Images a second through a frozen backbone, and its parameters, as in the paper's tables 1 and 2.

    python -m benchmarks.forward [--models=S/16,S/8,B/16,B/8,RN50,XCiT-S12/16,XCiT-S12/8]
        [--batch=128] [--image=224] [--cores=1] [--rounds=5] [--no-torch]

Ours and timm's network of the same name (PyTorch, fused attention, no gradients), random weights,
float32 on a CPU and bfloat16 on a GPU, each in a process of its own, in turns. One JSON line a
model: `ratio` is ours over timm's images a second, both the best round; `paper` has the paper's
parameters and its images a second on a V100, at 128 a batch. On a CPU take `--batch=4`.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from benchmarks.machine import commit, describe
from benchmarks.worker import Worker

MODELS: dict[str, tuple[str, int, str, dict[str, float]]] = {
    "RN50": ("resnet50", 16, "resnet50", {"parameters": 23e6, "images_per_second": 1237}),
    "S/16": (
        "vit_small", 16, "vit_small_patch16_224",
        {"parameters": 21e6, "images_per_second": 1007},
    ),
    "S/8": (
        "vit_small", 8, "vit_small_patch8_224",
        {"parameters": 21e6, "images_per_second": 180},
    ),
    "B/16": (
        "vit_base", 16, "vit_base_patch16_224",
        {"parameters": 85e6, "images_per_second": 312},
    ),
    "B/8": (
        "vit_base", 8, "vit_base_patch8_224",
        {"parameters": 85e6, "images_per_second": 63},
    ),
    "XCiT-S12/16": ("xcit_small_12", 16, "xcit_small_12_p16_224", {}),
    "XCiT-S12/8": ("xcit_small_12", 8, "xcit_small_12_p8_224", {}),
}  # fmt: skip
"""Short name -> (the config's `arch`, patch size, timm's name, the paper's figures)."""
CONTENDERS = ("ours", "timm")


def measure(
    asked: dict[str, Any], contenders: Sequence[str], cores: Sequence[int], *, rounds: int
) -> dict[str, dict[str, float]]:
    """Parameters and the best images a second of each contender, taken in turns."""
    workers = {name: Worker("benchmarks.forward_worker") for name in contenders}
    found: dict[str, dict[str, float]] = {}
    try:
        for name, worker in workers.items():
            found[name] = worker.ask("build", contender=name, cores=list(cores), **asked)
        for _ in range(rounds):
            for name, worker in workers.items():
                for clock, seconds in worker.ask("batch").items():
                    least = min(seconds, found[name].get(clock, seconds))
                    found[name][clock] = round(least, 4)
    finally:
        for worker in workers.values():
            worker.close()
    for each in found.values():
        each["images_per_second"] = round(asked["batch"] / each["wall_s"], 2)
    return found


def over(found: dict[str, dict[str, float]], clock: str) -> float | None:
    """The other's time over ours; None where we are alone."""
    others = [each[clock] for name, each in found.items() if name != "ours"]
    return round(min(others) / found["ours"][clock], 3) if others else None


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the asked models and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--image", type=int, default=224)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-torch", action="store_true")
    options = parser.parse_args(argv)
    contenders = CONTENDERS[:1] if options.no_torch else CONTENDERS
    cores = sorted(os.sched_getaffinity(0))[-options.cores :]
    named = ("jax", "jaxlib") if options.no_torch else ("jax", "jaxlib", "torch", "timm")
    for name in options.models.split(","):
        arch, patch, theirs, paper = MODELS[name]
        sizes = {"batch": options.batch, "image": options.image}
        asked = {"arch": arch, "patch": patch, "timm": theirs, **sizes}
        machine = describe()
        found = measure(asked, contenders, cores, rounds=options.rounds)
        line = {
            "case": name,
            **sizes,
            "ratio": over(found, "wall_s"),
            "processor_ratio": over(found, "processor_s"),
            "contenders": found,
            "paper": paper,
            "threads": len(cores),
            "machine": machine,
            "versions": {package: metadata.version(package) for package in named},
            "commit": commit(),
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
