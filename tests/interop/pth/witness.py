"""Read files in a process of its own, watched by Python's audit hook and by tracemalloc.

    python -m tests.interop.pth.witness FOLDER hostile|SEED COUNT

`hostile` reads the tables of hostile files; a seed and a count read so many mutated right files.
Prints one JSON line. The process being another, a crash would be seen, nothing of pytest slows the
reading, and no module is imported by chance beside it.
"""

import json
import pathlib
import pickle
import sys
import time
import tracemalloc
from collections.abc import Iterable, Iterator
from typing import Any

from dino_jax.config import UserError
from dino_jax.interop.pth import read_pth
from tests.interop.pth import (
    hostile_code,
    hostile_legacy,
    hostile_tensors,
    hostile_zips,
    mutate,
)
from tests.interop.pth.same import assert_plain

HARMLESS = {"_thread.start_new_thread", "builtins.id"}


class Watch:
    """The audit events of a reading, but its opening of the file and its own threads."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.file: str | None = None
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.file is None or event in HARMLESS:
            return
        if event == "open" and str(arguments[0]) == self.file:
            return
        self.events.append(f"{event}{arguments!r}"[:200])


def read(files: Iterable[tuple[str, bytes]], folder: pathlib.Path) -> dict[str, Any]:
    """What became of the files: the counts, and what must not have happened."""
    path = folder / "file.pth"
    watch = Watch()
    found: dict[str, Any] = {"read": 0, "refused": 0, "wrong": [], "seconds": 0.0, "excess": 0}
    for label, data in files:
        path.write_bytes(data)
        tracemalloc.clear_traces()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        began = time.process_time()
        watch.file = str(path)
        try:
            result = read_pth(path)
        except UserError as error:
            result, line = None, str(error)
            found["refused"] += 1
            # A cause is an error that the reader did not foresee: a mistake of its.
            if "\n" in line or str(path) not in line or error.__cause__ is not None:
                found["wrong"].append(f"{label}: {line}")
        except BaseException as error:  # what must not come out
            result = None
            found["wrong"].append(f"{label}: {type(error).__name__}: {error}"[:300])
        else:
            found["read"] += 1
        watch.file = None
        seconds = time.process_time() - began
        peak = tracemalloc.get_traced_memory()[1] - before
        assert_plain(result)
        found["seconds"] = max(found["seconds"], seconds)
        found["excess"] = max(found["excess"], peak - 2 * len(data))
    return found | {"events": watch.events[:5]}


def hostile() -> Iterator[tuple[str, bytes]]:
    """Every hostile file."""
    for table in (hostile_code, hostile_tensors, hostile_zips, hostile_legacy):
        for case in table.cases():
            yield str(case), case.data


def control(folder: pathlib.Path) -> list[str]:
    """What the watch sees when Python's own pickle reads such a file."""
    watch = Watch()
    watch.file = "none"
    pickle.loads(b"\x80\x02cos.path\nexists\nX\1\0\0\0x\x85R.")
    open(folder / "other", "w").close()
    watch.file = None
    return [event.split("(")[0] for event in watch.events]


def main() -> int:
    """Read once before watching, so that nothing is imported late; then watch."""
    folder = pathlib.Path(sys.argv[1])
    for name in ("checkpoint", "checkpoint_old", "tensors"):
        read_pth(mutate.DATA / f"{name}.pth")
    seen = control(folder)
    tracemalloc.start()
    if sys.argv[2] == "hostile":
        found = read(hostile(), folder)
    else:
        found = read(mutate.files(int(sys.argv[2]), int(sys.argv[3])), folder)
    sys.stdout.write(json.dumps(found | {"control": seen}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
