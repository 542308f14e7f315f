"""Reading a ViT-B/16 `.pth` of 343 MB, ours beside torch.load and numpy(); one JSON line.

    python -m benchmarks.pth [--rounds=9] [--times=4] [--out=FILE]

Each turn is a fresh process that has imported what it needs; the contenders alternate, and the file
lies in the page cache. `first_s` is the first reading of a process, which is how a file is read;
`again_s` the later ones of the same process, whose memory it already has. Medians over the rounds,
and of the first readings also the least, which a busy machine disturbs less.
`ratio` is torch's first time over ours, `times_torch` is ours over torch's of everything; peak
memory is VmHWM, with all libraries and (`net`) beyond what the imports took. Needs torch and Linux.
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

from benchmarks.machine import commit, describe
from benchmarks.worker import Worker

NAMES = ("torch", "ours")


def turn(**question: Any) -> dict[str, Any]:
    """One answer of a process of its own."""
    worker = Worker("benchmarks.pth_worker")
    try:
        return worker.ask(**question)
    finally:
        worker.close()


def measure(path: str, *, rounds: int, times: int) -> dict[str, dict[str, float]]:
    """The medians of each contender."""
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in NAMES}
    for number in range(rounds):
        for name in NAMES[:: -1 if number % 2 else 1]:
            turns[name].append(turn(command="read", name=name, path=path, times=times))
    if turns["ours"][0]["crc"] != turns["torch"][0]["crc"]:
        raise RuntimeError("the contenders read different numbers")
    return {name: figures(turns[name]) for name in NAMES}


def figures(turns: list[dict[str, Any]]) -> dict[str, float]:
    """Medians over the turns, of the first reading and of the later ones."""
    found = {}
    for clock, label in (("wall", ""), ("processor", "processor_")):
        found[f"{label}first_s"] = statistics.median(t[clock][0] for t in turns)
        found[f"{label}least_s"] = min(t[clock][0] for t in turns)
        found[f"{label}again_s"] = statistics.median(s for t in turns for s in t[clock][1:])
    found["peak_mb"] = statistics.median(t["peak_mb"] for t in turns)
    found["net_mb"] = statistics.median(t["peak_mb"] - t["before_mb"] for t in turns)
    return {name: round(value, 4) for name, value in found.items()}


def main() -> int:
    """Make the file, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--times", type=int, default=4)
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    machine = describe()
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder) / "vit_base.pth")
        made = turn(command="make", path=path)
        found = measure(path, rounds=options.rounds, times=options.times)
    ours, torch = found["ours"], found["torch"]
    report = {
        "benchmark": "pth",
        "command": "python -m benchmarks.pth " + " ".join(sys.argv[1:]),
        "commit": commit(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": machine,
        "versions": {"torch": made["torch"], "numpy": metadata.version("numpy")},
        "bytes": made["bytes"],
        "rounds": options.rounds,
        "ratio": round(torch["first_s"] / ours["first_s"], 3),
        "times_torch": {name: round(ours[name] / torch[name], 3) for name in ours},
        "contenders": found,
    }
    print(json.dumps(report))
    if options.out:
        options.out.write_text(json.dumps(report) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
