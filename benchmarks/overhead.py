"""What of a run's time is not its steps: the wait for images, scores, checkpoints and lines.

    python -m benchmarks.overhead --config=configs/cifar10.py [--steps=400] [--scores=2]
        [--checkpoints=4] [--case=NAME] [--out=FILE]
        [--data=SPEC --val=SPEC] [--config.FIELD=VALUE ...]

Trains a recipe for its first `--steps` steps, with so many scores and checkpoints in them, and
reads what the command itself counted (`shares` of summary.json). One JSON line: `measured` are
those shares; `seconds_each` what a step, a score of both networks, a checkpoint and a line of
figures take; `recipe` the shares of the whole run at the recipe's own cadence. `ratio` is the
time asked for scores, checkpoints and lines over theirs: 1 and more is within it. The full
comparison at a run's end and the report are not in it: they come once.
"""

import argparse
import json
import pathlib
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from benchmarks.machine import commit, describe
from benchmarks.step import keep
from dino_jax.config import resolve, to_dict

ASKED = {"data_wait": 0.02, "together": 0.03}
"""Shares of a run's time that are allowed."""
KINDS = {"evaluation": "eval_every", "checkpoint": "checkpoint_every", "logging": "log_every"}
"""What is done between steps, and the field that says how often."""


def times(config: Mapping[str, Any], steps: int) -> dict[str, int]:
    """How often each of `KINDS` falls in so many steps of a configuration; the last always."""
    found = {}
    for kind, field in KINDS.items():
        every = config[field] or steps
        found[kind] = -(-steps // every)
    return found


def scaled(
    shares: Mapping[str, float], ran: Mapping[str, int], steps: int, recipe: Mapping[str, Any]
) -> dict[str, dict[str, float]]:
    """Seconds of one of each, and the shares of the run that `recipe` (a config.json) describes.

    `shares` are those of a run of `steps` steps that did each of `KINDS` as often as `ran` says.
    The first step, which compiles, is not among the seconds.
    """
    seconds = shares["seconds"]
    between = {kind: shares[kind] * seconds for kind in KINDS}
    each = {kind: between[kind] / ran[kind] for kind in KINDS}
    report = shares["report"] * seconds
    each["step"] = (seconds - sum(between.values()) - report) / (steps - 1)
    total = int(recipe["steps"])
    spent = {kind: each[kind] * number for kind, number in times(recipe, total).items()}
    whole = each["step"] * total + sum(spent.values())
    found = {kind: round(value / whole, 5) for kind, value in spent.items()}
    found["together"] = round(sum(spent.values()) / whole, 5)
    return {
        "seconds_each": {name: round(value, 5) for name, value in each.items()},
        "recipe": found,
    }


def run(arguments: Sequence[str], workdir: pathlib.Path) -> tuple[int, dict[str, Any]]:
    """Train with these arguments; the number of images, and what the summary says of the time."""
    command = [sys.executable, "-m", "dino_jax.main", *arguments, f"--workdir={workdir}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    record = json.loads((workdir / "config.json").read_text())
    return record["examples"], json.loads((workdir / "summary.json").read_text())["shares"]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--config", default="configs/cifar10.py")
    for name, number in (("steps", 400), ("scores", 2), ("checkpoints", 4)):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--data")
    parser.add_argument("--val")
    parser.add_argument("--case")
    parser.add_argument("--out", type=pathlib.Path)
    options, others = parser.parse_known_args(argv)
    short = {
        "steps": options.steps,
        "eval_every": options.steps // options.scores,
        "checkpoint_every": options.steps // options.checkpoints,
        "eval.baselines": "false",
        "eval.final_full": "false",
    }
    arguments = [f"--config={options.config}", *others]
    images = {"data.train": options.data, "data.val": options.val}
    given = short | {name: spec for name, spec in images.items() if spec is not None}
    arguments += [f"--config.{name}={value}" for name, value in given.items()]
    machine = describe()
    with tempfile.TemporaryDirectory() as folder:
        examples, shares = run(arguments, pathlib.Path(folder) / "run")
    recipe = runpy.run_path(options.config)["get_config"]()
    resolved = resolve(recipe, examples=examples, platform="cpu", device_count=1)
    whole = to_dict(resolved.config) | {"steps": resolved.steps}
    ran = times(whole | short, options.steps)
    found = scaled(shares, ran, options.steps, whole)
    line = {
        "case": options.case or pathlib.Path(options.config).stem,
        "ratio": round(ASKED["together"] / found["recipe"]["together"], 2),
        "asked": ASKED,
        "steps": options.steps,
        "measured": shares,
        **found,
        "every": {field: whole[field] for field in KINDS.values()},
        "threads": machine["cores"],
        "machine": machine,
        "versions": {name: metadata.version(name) for name in ("jax", "jaxlib")},
        "commit": commit(),
    }
    if options.out:
        keep(options.out, line)
    sys.stdout.write(json.dumps(line) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
