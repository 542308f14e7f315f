"""Train the original and ours on the same crops from the same weights, and compare every loss.

    python -m benchmarks.lockstep --original=CHECKOUT --data=FOLDER --out=FILE [--steps=100]

The crops are ours, augmented; the initial weights, the loop and everything after the crops are the
original's in its run, ours in ours, at the small setting, whose last layer is frozen for the first
60 steps. Needs torch and torchvision beside jax. Prints a JSON line with the largest relative
difference of a loss, and `ratio`, the original's seconds a step over ours, one thread each.
"""

import argparse
import datetime as dt
import json
import pathlib
import sys
import time

import jax
import numpy as np
import torch

from benchmarks.curve import config_of
from benchmarks.curve_setting import Setting
from benchmarks.machine import commit, describe
from benchmarks.original import Run, alone
from benchmarks.ours import device_batch, trainer
from dino_jax.data.pipeline import train_iterator
from dino_jax.data.sources import open_source

Figures = dict[str, list[float]]
"""Of every step, by program."""


def main(arguments: list[str] | None = None) -> int:
    """Train both by turns, compare, write."""
    options = parse(arguments)
    jax.config.update("jax_default_matmul_precision", "highest")
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    alone()
    machine = describe()
    losses, times = train_both(options)
    theirs, ours = (np.array(losses[name]) for name in ("original", "ours"))
    seconds = {name: round(float(np.median(found)), 4) for name, found in times.items()}
    report = {
        "benchmark": "lockstep",
        "command": "python -m benchmarks.lockstep " + " ".join(arguments or sys.argv[1:]),
        "commit": commit(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": machine,
        "versions": {"jax": jax.__version__, "torch": torch.__version__},
        "steps": options.steps,
        "largest_relative_difference": float(np.abs(ours / theirs - 1).max()),
        "step_s": seconds,
        "ratio": round(seconds["original"] / seconds["ours"], 3),
    }
    print(json.dumps(report))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report | {"loss": losses}) + "\n")
    return int(report["largest_relative_difference"] > 1e-4)


def train_both(options: argparse.Namespace) -> tuple[Figures, Figures]:
    """The losses and the seconds of every step, of both."""
    setting = Setting()
    original = Run(options.original, setting, blur=True)
    train = open_source(f"tar:{options.data / 'cifar10_train.tar.gz'}")
    built = trainer(config_of(setting, seed=options.seed, blur=True), examples=len(train))
    config = built.resolved.config
    weights = original.student.state_dict().items()
    state = built.start({name: value.numpy().copy() for name, value in weights})
    cut = jax.jit(built.method.crops)
    losses: Figures = {"original": [], "ours": []}
    times: Figures = {"original": [], "ours": []}
    with train_iterator(
        train,
        config.crops,
        config.data,
        seed=options.seed,
        batch_size=setting.batch,
        start_step=0,
        stop_step=options.steps,
    ) as batches:
        for number, host in enumerate(batches):
            batch = device_batch(host)
            parts = [np.asarray(part).transpose(1, 0, 4, 2, 3) for part in cut(batch)[0]]
            crops = [torch.from_numpy(crop.copy()) for part in parts for crop in part]
            began = time.perf_counter()
            losses["original"].append(original.step_on(number, crops)["loss"])
            between = time.perf_counter()
            state, found = built.step(state, batch)
            losses["ours"].append(float(found["loss"]))
            times["original"].append(between - began)
            times["ours"].append(time.perf_counter() - between)
    return losses, times


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--original", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
