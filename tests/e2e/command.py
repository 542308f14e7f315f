"""The command, here and in a process of its own, and what it left behind."""

import contextlib
import datetime as dt
import io
import json
import logging
import os
import pathlib
import subprocess
import sys
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from dino_jax import flags, main
from dino_jax.config import Config
from dino_jax.interop.runs import read_metrics
from dino_jax.train.records import Records
from tests.data.images import encoded, write_folder

ROOT = pathlib.Path(__file__).parents[2]
RECIPE = ROOT / "tests" / "e2e" / "recipe.py"


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def load_recipe(*overrides: str) -> Config:
    """The recipe with overrides such as "devices=2"."""
    return flags.parse(command_line(RECIPE, "unused", *overrides)).config


def command_line(config: pathlib.Path, workdir: pathlib.Path | str, *overrides: str) -> list[str]:
    """What comes after `python -m`."""
    arguments = [f"--config.{override}" for override in overrides]
    return ["dino_jax.main", f"--config={config}", f"--workdir={workdir}", *arguments]


def train(workdir: pathlib.Path, *overrides: str, config: pathlib.Path = RECIPE) -> Ended:
    """Run the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    root = logging.getLogger()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        handler = logging.StreamHandler(err)  # pytest's own keeps main from setting one up
        root.addHandler(handler)
        try:
            code = main.main(command_line(config, workdir, *overrides))
        finally:
            root.removeHandler(handler)
    return Ended(code, out.getvalue(), err.getvalue())


KILLER = """
import os, signal, sys
from dino_jax import main
from dino_jax.interop.checkpoint import Checkpoints
from dino_jax.train.records import Records

write, save = Records.write, Checkpoints.save

def write_and_die(self, entry):
    write(self, entry)
    if entry["step"] == {step}:
        os.kill(os.getpid(), signal.SIGKILL)

def save_and_die(self, state, step):
    save(self, state, step)
    if step == {step}:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    if {in_save}:
        Checkpoints.save = save_and_die
    else:
        Records.write = write_and_die
    sys.exit(main.main())
"""


def killed(
    workdir: pathlib.Path,
    step: int,
    *overrides: str,
    in_save: bool = False,
    compiled_anew: bool = False,
) -> int:
    """Run the command in a process that `kill -9` ends right after the line of `step`.

    Or, `in_save`, while the checkpoint of `step` is being written behind it.
    """
    program = workdir.parent / "killer.py"
    program.write_text(KILLER.format(step=step, in_save=in_save))
    command = [sys.executable, str(program), *command_line(RECIPE, workdir, *overrides)[1:]]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JAX_NUM_CPU_DEVICES": "8",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": str(
            int(jax.config.read("jax_disable_most_optimizations"))
        ),
    }
    if compiled_anew:
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        environment["DINO_JAX_COMPILE_CACHE"] = "off"
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, check=False
    ).returncode


def signalled(monkeypatch: pytest.MonkeyPatch, step: int, number: int) -> None:
    """Let the line of `step` send this process a signal, as an operator would."""
    write = Records.write

    def write_and_signal(self: Records, entry: dict[str, Any]) -> None:
        write(self, entry)
        if entry["step"] == step:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Records, "write", write_and_signal)


CLOCKED = ("images_per_second", "data_wait", "overhead")
"""Figures that no two runs share."""


def figures(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without those figures."""
    return [
        {name: value for name, value in line.items() if name not in CLOCKED}
        for line in read_metrics(workdir / "metrics.jsonl")
    ]


def photograph(seed: int, height: int, width: int) -> np.ndarray:
    """A smooth random picture, as photographs are, of any size."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (5, 5, 3)).astype(np.float64)
    rows, columns = (np.linspace(0, 3.999, side) for side in (height, width))
    r, c = rows.astype(int), columns.astype(int)
    fr, fc = (rows - r)[:, None, None], (columns - c)[None, :, None]
    top = coarse[r][:, c] * (1 - fc) + coarse[r][:, c + 1] * fc
    bottom = coarse[r + 1][:, c] * (1 - fc) + coarse[r + 1][:, c + 1] * fc
    noise = random.integers(-8, 9, (height, width, 3))
    return np.clip(top * (1 - fr) + bottom * fr + noise, 0, 255).astype(np.uint8)


def write_classes(root: pathlib.Path, number: int) -> str:
    """`number` small photographs in three class folders, as a source's spec."""
    files = {
        f"class{i % 3}/{i:03}.png": encoded(photograph(i, 40 + i % 7, 48)) for i in range(number)
    }
    return f"folder:{write_folder(root, files)}"


RESULTS = pathlib.Path(__file__).parent / "results"


def leave_result(name: str, test: str, **found: Any) -> None:
    """Write what a slow test found, with command, commit and date, to a file to be committed."""
    version = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    result = {
        "command": f"python -m pytest -m slow {test}",
        "commit": version or "unknown",
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        **found,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
