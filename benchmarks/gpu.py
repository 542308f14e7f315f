"""Our training step on one GPU beside PyTorch's, in one run of a few minutes.

    python -m benchmarks.gpu [--models=S/16,S/8,B/16,B/8] [--minutes=8] [--out=docs]

Three contenders do the same work on the same synthetic uint8 crops, brought from the host at each
step: ours (bfloat16; it also augments on the device, which the others leave out), `eager` (the
original's manner: float16 autocast with a loss scaler, explicit attention) and `compiled`
(torch.compile, fused attention, bfloat16). They take turns, `--rounds` of them; a figure is the
median of its turns. Ours keeps its memory through the run, so that it gets half of the card and
the torch process the rest; a torch contender whose batch does not fit halves it, and says so.

Prints one JSON line a model with `ratio` (ours over eager) and `ratio_compiled`, one an attention
shape, and writes `performance_gpu.md` and `performance_gpu.json` under `--out`. `--toy` shrinks the
models to what a CPU does in seconds.
"""

import argparse
import dataclasses
import datetime as dt
import json
import pathlib
import statistics
import sys
import time
from typing import Any

from benchmarks.gpu_table import markdown
from benchmarks.machine import commit, describe, said
from benchmarks.worker import Worker, WorkerError
from benchmarks.workload import Workload, workload

BATCHES = {"S/16": 128, "S/8": 32, "B/16": 64, "B/8": 16}
DENSE_BF16 = {"H100": 989.4e12, "H200": 989.4e12}
"""Datasheet peaks of the SXM parts, multiplications and additions of dense bfloat16 a second."""
ENVIRONMENT = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.52"}
TOKENS = (37, 145, 197, 785)


def main(arguments: list[str] | None = None) -> int:
    """Run, print, write the files; 1 if one of our own figures could not be had."""
    options = parse(arguments)
    started = time.perf_counter()
    ours = Worker("benchmarks.gpu_ours", environment=ENVIRONMENT)
    theirs = Worker("benchmarks.gpu_torch") if options.torch else None
    workers = [worker for worker in (ours, theirs) if worker is not None]
    report: dict[str, Any] = {
        "benchmark": "gpu",
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "commit": options.commit or commit(),
        "command": "python -m benchmarks.gpu " + " ".join(arguments or sys.argv[1:]),
        **describe(),
        "models": [],
    }
    try:
        for worker in workers:
            report |= worker.ask("machine")
        report["gpu"] = said(
            "nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"
        )
        measure(options, report, ours, theirs, started)
    finally:
        for worker in workers:
            worker.close()
    report["seconds"] = round(time.perf_counter() - started, 1)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "performance_gpu.json").write_text(json.dumps(report, indent=1) + "\n")
    (options.out / "performance_gpu.md").write_text(markdown(report))
    return int(any("images_per_second" not in row.get("ours", {}) for row in report["models"]))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(BATCHES))
    parser.add_argument("--batch", type=int, help="instead of each model's own")
    parser.add_argument("--locals", type=int, default=8, dest="locals_", help="local crops")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5, help="of one turn")
    parser.add_argument("--minutes", type=float, default=8.0, help="start nothing new after these")
    parser.add_argument("--precision", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--variants", default="device,device-cudnn", help="of ours: where "
                        "the photometric operations run, and a forced attention")  # fmt: skip
    parser.add_argument("--commit", help="where the checkout has no history")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs"))
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--no-torch", action="store_false", dest="torch")
    return parser.parse_args(arguments)


def measure(
    options: argparse.Namespace,
    report: dict[str, Any],
    ours: Worker,
    theirs: Worker | None,
    started: float,
) -> None:
    """Build everything of ours at once, then model by model; each line is printed as it comes."""
    works = [
        workload(name, options.batch or BATCHES[name], locals_=options.locals_, toy=options.toy)
        for name in options.models.split(",")
    ]
    variants = options.variants.split(",")
    specs = [our_spec(options, work, variant) for work in works for variant in variants]
    ours.tell("build", specs=specs)
    first = _torch_build(theirs, works[0], toy=options.toy)
    built = ours.answer()
    for index, work in enumerate(works):
        if time.perf_counter() - started > 60 * options.minutes:
            break
        theirs_built = first if index == 0 else _torch_build(theirs, work, toy=options.toy)
        turns = _turns(options, work, ours, theirs if theirs_built else None, built)
        row = summary(work, turns, built | theirs_built, str(report.get("gpu")))
        report["models"].append(row)
        print(json.dumps({"benchmark": "gpu", **row}), flush=True)
    if not options.toy:
        report["attention"] = _attention(ours, theirs)
        for row in report["attention"]:
            print(json.dumps({"benchmark": "gpu attention", **row}), flush=True)


def our_spec(options: argparse.Namespace, work: Workload, variant: str) -> dict[str, Any]:
    """`device`, `host`, `device-cudnn` or `device-xla`: what the worker needs to build it."""
    where, _, attention = variant.partition("-")
    return {
        "name": f"{work.name} {variant}",
        "work": dataclasses.asdict(work),
        "photometric": where == "device",
        "attention": attention or "default",
        "precision": "float32" if options.toy else options.precision,
    }


def _torch_build(theirs: Worker | None, work: Workload, *, toy: bool) -> dict[str, Any]:
    if theirs is None:
        return {}
    specs: list[dict[str, Any]] = [
        {
            "name": manner,
            "manner": manner,
            "work": dataclasses.asdict(work),
            "precision": "float32" if toy else precision,
        }
        for manner, precision in (("eager", "float16"), ("compiled", "bfloat16"))
    ]
    found: dict[str, Any] = {}
    for spec in specs:
        try:
            found |= theirs.ask("build", specs=[spec])
        except WorkerError as error:
            found[spec["name"]] = {"error": str(error)}
    return found


def _turns(
    options: argparse.Namespace,
    work: Workload,
    ours: Worker,
    theirs: Worker | None,
    built: dict[str, Any],
) -> dict[str, list[dict[str, Any]]]:
    """Every contender's turns, round by round; the last round of ours also with resident input."""
    names = {f"{work.name} {variant}": ours for variant in options.variants.split(",")}
    names = {name: worker for name, worker in names.items() if "error" not in built[name]}
    if theirs is not None:
        names |= {"eager": theirs, "compiled": theirs}
    turns: dict[str, list[dict[str, Any]]] = {}
    for _ in range(options.rounds):
        for name, worker in names.items():
            turns.setdefault(name, []).append(_turn(worker, name, options.seconds))
    for name, worker in names.items():
        if worker is ours:
            turns[f"{name} resident"] = [_turn(worker, name, options.seconds, resident=True)]
    for name, worker in names.items():
        try:
            worker.ask("drop", name=name)
        except WorkerError:
            continue
    return turns


def _turn(worker: Worker, name: str, seconds: float, *, resident: bool = False) -> dict[str, Any]:
    try:
        return worker.ask("run", name=name, seconds=seconds, resident=resident)
    except WorkerError as error:
        return {"error": str(error)}


def summary(
    work: Workload, turns: dict[str, list[dict[str, Any]]], built: dict[str, Any], gpu: str
) -> dict[str, Any]:
    """One model's figures: each contender's median, the ratios, and ours of the card's peak."""
    row: dict[str, Any] = {
        "model": work.name,
        "crops": f"2x{work.image} + {work.locals_}x{work.local}",
        "gflops_per_image": round(work.train_flops() / 1e9, 1),
    }
    peak = next((value for name, value in DENSE_BF16.items() if name in gpu), None)
    for name, own in turns.items():
        if name.endswith(" resident"):
            continue
        short = name.removeprefix(f"{work.name} ")
        if short != name:  # the first variant is the one that counts
            short = f"ours {short}" if "ours" in row else "ours"
        row[short] = _figures(own, turns.get(f"{name} resident"), built.get(name, {}))
        if peak is not None and "images_per_second" in row[short]:
            share = row[short]["images_per_second"] * work.train_flops() / peak
            row[short]["mfu"] = round(share, 4)
    for key, other in (("ratio", "eager"), ("ratio_compiled", "compiled")):
        rates = [row.get(name, {}).get("images_per_second") for name in ("ours", other)]
        row[key] = round(rates[0] / rates[1], 3) if all(rates) else None
    return row


def _figures(
    turns: list[dict[str, Any]], resident: list[dict[str, Any]] | None, built: dict[str, Any]
) -> dict[str, Any]:
    rates = [turn["images_per_second"] for turn in turns if "images_per_second" in turn]
    if not rates:
        return {"error": turns[0].get("error", "no turn")}
    peak = built.get("peak_gib")
    return {
        "images_per_second": round(statistics.median(rates), 1),
        "turns": [round(rate, 1) for rate in rates],
        "resident": round(resident[0].get("images_per_second", 0.0), 1) if resident else None,
        "batch": turns[0]["batch"],
        "peak_gib": None if peak is None else round(peak, 2),
        "compile_s": built.get("compile_s"),
    }


def _attention(ours: Worker, theirs: Worker | None) -> list[dict[str, Any]]:
    """XLA's, cuDNN's and torch's attention at every length, forward and backward, about 2^16
    tokens of six heads of 64."""
    shapes = [[2**16 // tokens, tokens, 6, 64] for tokens in TOKENS]
    rows: dict[int, dict[str, Any]] = {shape[1]: {"shape": shape} for shape in shapes}
    for found in ours.ask("attention", shapes=shapes, implementations=["xla", "cudnn"])["rows"]:
        milliseconds = round(found["ms"], 3) if "ms" in found else found["refused"]
        rows[found["shape"][1]][found["implementation"]] = milliseconds
    if theirs is not None:
        for found in theirs.ask("attention", shapes=shapes)["rows"]:
            rows[found["shape"][1]]["torch"] = round(found["ms"], 3)
    return list(rows.values())


if __name__ == "__main__":
    sys.exit(main())
