"""From the start of the command to the end of its first step, with an empty cache and a full one.

    python -m benchmarks.startup [--config=configs/vit_s16.py] [--batch=4] [--cores=2]
        [--data=embedded:photos:train --val=embedded:photos:val]

Runs `python -m dino_jax.main` twice in folders of its own, the second time with what the first
compiled, and ends each after its first step. One JSON line: `ratio` is cold over warm; `phases` are
seconds since the start (`images_at`, `first_step_at`) and what JAX says of tracing, lowering and
compiling the step (`step_…`) and everything else (`other_…`). Compiling goes on beside other
things: the phases overlap.
"""

import argparse
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Any

from benchmarks.machine import commit, describe

ASKED = {"cold": 60.0, "warm": 20.0}
"""Seconds to the first step of ViT-S/16 on two cores."""
IMAGES, STEP = "images to train on", "the first step is done"
"""What the command says when it has opened its images, and after its first step."""
COMPILED = re.compile(
    r"Finished (tracing|jaxpr to MLIR module conversion|XLA compilation of) "
    r"(\S+)(?: for jit)? in ([\d.]+) sec"
)
KINDS = {"t": "trace", "j": "lower", "X": "compile"}
"""By the first letter of what was finished."""


def phases(said: Iterable[tuple[float, str]]) -> dict[str, float]:
    """Read (seconds, line) until the first step is done; raises RuntimeError where it never is."""
    found: dict[str, float] = {}
    for at, line in said:
        if IMAGES in line:
            found["images_at"] = round(at, 2)
        elif match := COMPILED.search(line):
            kind, name, seconds = match.groups()
            where = "step" if "train_step" in name or "on_parts" in name else "other"
            key = f"{where}_{KINDS[kind[0]]}"
            found[key] = round(found.get(key, 0.0) + float(seconds), 2)
        elif STEP in line:
            return found | {"first_step_at": round(at, 2)}
    raise RuntimeError("the command ended before its first step")


def first_step(command: Sequence[str], cores: set[int], cache: pathlib.Path) -> dict[str, float]:
    """Run a command up to its first step; also `processor`, the seconds its threads were busy."""
    dropped = ("JAX_COMPILATION_CACHE_DIR", "DINO_JAX_COMPILE_CACHE")
    setting = {name: value for name, value in os.environ.items() if name not in dropped}
    setting |= {"XDG_CACHE_HOME": str(cache), "JAX_LOG_COMPILES": "1"}
    began = time.perf_counter()
    process = subprocess.Popen(
        ["taskset", "-c", ",".join(map(str, sorted(cores))), *command],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=setting,
    )  # fmt: skip
    last = ""

    def said() -> Iterable[tuple[float, str]]:
        nonlocal last
        for line in process.stderr or ():
            last = line.strip() or last
            yield time.perf_counter() - began, line

    try:
        return phases(said()) | {"processor": round(_busy(process.pid), 2)}
    except RuntimeError as error:
        raise RuntimeError(f"{error}: {last}") from error
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def _busy(process: int) -> float:
    """Seconds of processor time of all threads so far, as Linux counts them."""
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(arguments: Sequence[str], cores: set[int]) -> dict[str, dict[str, float]]:
    """Start the command with these arguments cold and warm, each in a working directory anew."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cold", "warm"):
            place = pathlib.Path(folder)
            command = [sys.executable, "-m", "dino_jax.main", *arguments]
            command.append(f"--workdir={place / name}")
            found[name] = first_step(command, cores, place / "cache")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--config", default="configs/vit_s16.py")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--data", default="embedded:photos:train")
    parser.add_argument("--val", default="embedded:photos:val")
    parser.add_argument("--cores", type=int, default=2)
    options, others = parser.parse_known_args(argv)
    cores = set(sorted(os.sched_getaffinity(0))[-options.cores :])
    arguments = [
        f"--config={options.config}",
        f"--config.batch_size={options.batch}",
        f"--config.data.train={options.data}",
        f"--config.data.val={options.val}",
        *others,
    ]
    machine = describe()
    found: dict[str, Any] = measure(arguments, cores)
    line = {
        "case": pathlib.Path(options.config).stem,
        "batch": options.batch,
        "data": options.data,
        "ratio": round(found["cold"]["first_step_at"] / found["warm"]["first_step_at"], 2),
        "asked": ASKED,
        "phases": found,
        "threads": len(cores),
        "machine": machine,
        "versions": {name: metadata.version(name) for name in ("jax", "jaxlib")},
        "commit": commit(),
    }
    sys.stdout.write(json.dumps(line) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
