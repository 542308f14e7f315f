"""The calls that made a run, one after the other: `report/calls.json` in its folder.

Of each: when it began and was last heard of, the command, the machine, the code, what went wrong,
and the seconds that its report took. Neither the name of a host nor a folder outside is kept.
"""

import json
import os
import pathlib
import platform
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from dino_jax import files
from dino_jax.interop.runs import count, number

FILE = "calls.json"
_TEXTS, _NUMBERS = ("command", "commit"), ("began", "updated", "reporting")
_LATEST = 1e11
"""Seconds of Unix, three thousand years."""
_FOLDERS = re.compile(r"(?<![^=:,\s])~?/[^,]*(?=/[^/,]+)")


def read_calls(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The calls, oldest first; none where the file is missing or not ours."""
    try:
        content = json.loads((folder / FILE).read_text())
    except (OSError, ValueError, RecursionError):
        return []
    ours = isinstance(content, list) and all(map(_is_call, content))
    return content if ours else []


def _is_call(value: Any) -> bool:
    """Whether it has the fields of `new_call`, of their types."""
    if not isinstance(value, dict) or count(value.get("step")) is None:
        return False
    troubles, about = value.get("troubles"), value.get("machine")
    return (
        all(isinstance(value.get(name), str) for name in _TEXTS)
        and all(abs(number(value.get(name))) < _LATEST for name in _NUMBERS)
        and isinstance(about, dict)
        and all(isinstance(each, str) for each in about.values())
        and isinstance(troubles, dict)
        and _is_troubles(troubles)
    )


def _is_troubles(value: Mapping[str, Any]) -> bool:
    alarms, names = value.get("alarms", []), value.get("unreadable_images", [])
    return (
        isinstance(alarms, list)
        and all(map(_is_alarm, alarms))
        and isinstance(names, list)
        and all(isinstance(name, str) for name in names)
        and isinstance(value.get("collapse"), (str, type(None)))
        and count(value.get("skipped_updates", 0)) is not None
    )


def _is_alarm(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return count(value.get("step")) is not None and isinstance(value.get("text"), str)


def write_calls(folder: pathlib.Path, calls: Sequence[Mapping[str, Any]]) -> None:
    """Write them, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with files.whole(folder / FILE, mark="new") as unfinished:
        unfinished.write_text(json.dumps(calls, indent=1) + "\n")


def with_alarms(
    known: Sequence[Mapping[str, Any]], troubles: Mapping[str, Any], step: int
) -> dict[str, Any]:
    """What went wrong, each alarm with the step at which it was first heard of."""
    heard = {alarm["text"]: alarm["step"] for alarm in known}
    alarms = [{"step": heard.get(text, step), "text": text} for text in troubles["alarms"]]
    return {**troubles, "alarms": alarms}


def new_call(step: int, began: float, command: Sequence[str]) -> dict[str, Any]:
    """What is known of a call when it begins after `step` steps, at a time in seconds of Unix."""
    return {
        "step": step,
        "began": began,
        "updated": began,
        "reporting": 0.0,
        "command": shlex.join(map(without_folders, command)),
        "commit": commit(),
        "machine": machine(),
        "troubles": {},
    }


def machine() -> dict[str, str]:
    """Devices, processor, cores and versions; no name of a host, no path."""
    kinds = [device.device_kind for device in jax.devices()]
    found = [f"{kinds.count(kind)} × {kind}" for kind in dict.fromkeys(kinds)]
    return {
        "devices": ", ".join(found),
        "processes": str(jax.process_count()),
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "jax": jax.__version__,
    }


def _processor() -> str:
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
    return match[1].strip() if match else platform.machine()


def commit() -> str:
    """The commit of the code, where it is a git checkout of its own; else an empty text."""
    root = pathlib.Path(__file__).parents[3]
    if not (root / ".git").exists():
        return ""
    try:
        version, changed = (
            subprocess.run(
                ["git", *words], cwd=root, capture_output=True, text=True, timeout=5, check=True
            ).stdout.strip()
            for words in (
                ("rev-parse", "--short=9", "HEAD"),
                ("status", "--porcelain", "--untracked-files=no", "--", "dino_jax", "configs"),
            )
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{version} with changes" if changed else version


def without_folders(text: str) -> str:
    """A value whose absolute paths have lost their folders: `folder:/a/b/c` becomes `folder:.../c`.

    A page that is shown around says what was read, not where on somebody's machine.
    """
    return _FOLDERS.sub("...", text)
