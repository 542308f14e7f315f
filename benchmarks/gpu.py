"""Our training step on one GPU beside PyTorch's, in one run of at most eight minutes.

    python -m benchmarks.gpu [--models=S/16,B/16,S/8,B/8] [--minutes=8] [--images=DIR] [--out=docs]

Three contenders do the same work on the same synthetic uint8 crops, brought from the host at each
step: ours (bfloat16; it also augments on the device, which the others leave out; `ours host` does
not), `eager` (the original's manner: float16 autocast with a loss scaler, explicit attention) and
`compiled` (torch.compile, fused attention, bfloat16). They take turns, `--rounds` of them; a figure
is the median of its turns. `real` is ours on JPEG files read, decoded and cut by the run's own
pipeline: those of `--images`, else files of ImageNet's size cut from the photographs of the wheels.
Ours keeps its memory through the run, so that it gets half of the card and the torch process the
rest; a torch contender whose batch does not fit halves it, and says so.

Prints one JSON line a model with `ratio` (ours over eager) and `ratio_compiled`, one an attention
shape, and writes `performance_gpu_run.md` and `performance_gpu_run.json` under `--out` after each,
so that a run cut short leaves what it has. What we compile is kept: a second run starts at once.
`--toy` shrinks the models to what a CPU does in seconds.
"""

import argparse
import dataclasses
import datetime as dt
import json
import pathlib
import sys
import tempfile
import time
from typing import Any

from benchmarks.gpu_photos import write_photos
from benchmarks.gpu_table import markdown, summary
from benchmarks.machine import commit, describe, said
from benchmarks.worker import Worker, WorkerError
from benchmarks.workload import Workload, workload

BATCHES = {"S/16": 128, "B/16": 64, "S/8": 32, "B/8": 16}
"""Images a step, in the order of the run."""
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
        with tempfile.TemporaryDirectory() as folder:
            measure(options, report, ours, theirs, Course(options, report, started, folder))
    finally:
        for worker in workers:
            worker.close()
    write(report, options.out, started)
    return int(any("images_per_second" not in row.get("ours", {}) for row in report["models"]))


def write(report: dict[str, Any], out: pathlib.Path, started: float) -> None:
    """The report so far as JSON and as a page."""
    report["seconds"] = round(time.perf_counter() - started, 1)
    out.mkdir(parents=True, exist_ok=True)
    (out / "performance_gpu_run.json").write_text(json.dumps(report, indent=1) + "\n")
    (out / "performance_gpu_run.md").write_text(markdown(report))


class Course:
    """How far the run is: the time left, the folder of images, what has been found."""

    def __init__(
        self, options: argparse.Namespace, report: dict[str, Any], started: float, folder: str
    ) -> None:
        self.options, self.report, self._started = options, report, started
        self._folder = pathlib.Path(folder)

    def over(self) -> bool:
        """Whether nothing new is to be started."""
        return time.perf_counter() - self._started > 60 * self.options.minutes

    def images(self) -> str:
        """A folder of JPEG files, written the first time where none was given."""
        if self.options.images is not None:
            return f"folder:{self.options.images}"
        if not any(self._folder.iterdir()):
            write_photos(self._folder, self.options.files)
        return f"folder:{self._folder}"

    def found(self, kind: str, row: dict[str, Any]) -> None:
        """Print a row and write the report with it."""
        print(json.dumps({"benchmark": kind, **row}), flush=True)
        write(self.report, self.options.out, self._started)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(BATCHES))
    parser.add_argument("--batch", type=int, help="instead of each model's own")
    parser.add_argument("--locals", type=int, default=8, dest="locals_", help="local crops")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.5, help="of one turn")
    parser.add_argument("--minutes", type=float, default=8.0, help="start nothing new after these")
    parser.add_argument("--precision", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--variants", default="device,host", help="of ours: where the photometric "
                        "operations run, -xla or -cudnn behind it for that attention")  # fmt: skip
    parser.add_argument("--real", default="B/16,B/8,S/16", help="models also run on JPEG files")
    parser.add_argument("--images", type=pathlib.Path, help="a folder of them")
    parser.add_argument("--files", type=int, default=1024, help="to write where none is given")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0: threads")
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
    course: Course,
) -> None:
    """Build everything of ours at once, then model by model; attention comes last."""
    works = [
        workload(name, options.batch or BATCHES[name], locals_=options.locals_, toy=options.toy)
        for name in options.models.split(",")
    ]
    # The first variant of every model first: it is the one that counts.
    specs = [
        our_spec(options, work, variant)
        for variant in options.variants.split(",")
        for work in works
    ]
    ours.tell("build", specs=specs)
    first = _torch_build(theirs, works[0], toy=options.toy)
    if options.real:
        course.images()
    built = ours.answer()
    for index, work in enumerate(works):
        if course.over():
            break
        theirs_built = first if index == 0 else _torch_build(theirs, work, toy=options.toy)
        turns = _turns(options, work, ours, theirs if theirs_built else None, built)
        row = summary(work, turns, built | theirs_built, str(report.get("gpu")))
        report["models"].append(row)
        if work.name.removesuffix(" toy") in options.real.split(",") and not course.over():
            row["real"] = real(options, work, ours, course, row)
        _dropped(ours, options, work)
        course.found("gpu", row)
    if not options.toy and not course.over():
        report["attention"] = _attention(ours, theirs)
        for row in report["attention"]:
            course.found("gpu attention", row)


def real(
    options: argparse.Namespace,
    work: Workload,
    ours: Worker,
    course: Course,
    row: dict[str, Any],
) -> dict[str, Any]:
    """Ours on JPEG files; `share` is its rate over that on synthetic crops."""
    name = f"{work.name} {options.variants.split(',')[0]}"
    try:
        found = ours.ask(
            "real",
            name=name,
            folder=course.images(),
            seconds=2 * options.seconds,
            workers=options.workers,
        )
    except WorkerError as error:
        return {"error": str(error)}
    synthetic = row.get("ours", {}).get("images_per_second")
    found["share"] = round(found["images_per_second"] / synthetic, 3) if synthetic else None
    return found


def _dropped(ours: Worker, options: argparse.Namespace, work: Workload) -> None:
    """Have the model's states forgotten."""
    for variant in options.variants.split(","):
        try:
            ours.ask("drop", name=f"{work.name} {variant}")
        except WorkerError:
            continue


def our_spec(options: argparse.Namespace, work: Workload, variant: str) -> dict[str, Any]:
    """`device`, `host`, `device-cudnn`, `device-xla`…: what the worker needs to build it."""
    where, _, attention = variant.partition("-")
    return {
        "name": f"{work.name} {variant}",
        "work": dataclasses.asdict(work),
        "photometric": where == "device",
        "attention": attention or "auto",
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
            continue
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
