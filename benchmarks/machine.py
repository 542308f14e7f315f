"""What a benchmark ran on."""

import os
import pathlib
import platform
import subprocess
from typing import Any


def describe() -> dict[str, Any]:
    """The processor, the cores this process may use, the load before it, and Python."""
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "load": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
    }


def commit() -> str | None:
    """The checkout's commit, with a + where it has changes; None where there is no history."""
    name = said("git", "rev-parse", "--short", "HEAD")
    changed = said("git", "status", "--porcelain", "--untracked-files=no")
    return f"{name}+" if name and changed else name


def said(*command: str) -> str | None:
    """The first line a command prints, None where it is not here, fails or says nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return next(iter(done.stdout.strip().splitlines()), None)


def _processor() -> str:
    """The processor's name as Linux says it, else what the platform module knows."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
