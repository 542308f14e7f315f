"""Hostile and mutated files in a watched process: nothing is run, nothing crashes, hangs or grows.

An audit hook sees every import, compilation, process, socket and opened file of the interpreter.
"""

import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from dino_jax.interop.pth.limits import SPARE
from tests.interop.pth.hostile_code import CANARY

ROOT = pathlib.Path(__file__).parents[3]
SMALL = 1 << 19
"""Bytes that a reading of some kilobytes may take beyond twice the file: its Python objects."""


def watched(folder: pathlib.Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.interop.pth.witness", str(folder), *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not (ROOT / CANARY).exists()
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["control"] == ["pickle.find_class", "open"]  # the hook does see
    assert found["wrong"] == []
    assert found["events"] == []
    return found


def test_hostile_files_run_nothing_and_stay_small(tmp_path: pathlib.Path) -> None:
    found = watched(tmp_path, "hostile")
    assert found["read"] == 0
    assert found["refused"] > 590
    assert found["seconds"] < 20  # of the processor; a million opcodes, traced
    assert found["excess"] < SPARE


@pytest.mark.parametrize("seed", range(4))
def test_mutated_files_are_read_or_refused(seed: int, tmp_path: pathlib.Path) -> None:
    """Ten thousand in all."""
    found = watched(tmp_path, str(seed), "2500")
    assert found["read"] > 50
    assert found["refused"] > 1500
    assert found["seconds"] < 2  # of the processor, for one file
    assert found["excess"] < SMALL
