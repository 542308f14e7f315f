"""Draw the k-NN accuracy of student and teacher over finished runs, beside their baselines.

    python -m benchmarks.knn_curves RUN [RUN ...] --out=FILE

Each RUN is a folder with the `metrics.jsonl` and `summary.json` of a run whose config asked for
baselines; the levels that need no training are those of the first, on the whole split. Curves are
on the part of the split that is looked at in training (`eval.knn_bank`, `eval.knn_queries`), dots
at the last step on all of it.
"""

import argparse
import itertools
import pathlib

from dino_jax.interop.runs import read_metrics, read_summary
from dino_jax.viz.curves import Course, write_courses

SCORE = "knn_top1"
LEVELS = {"raw pixels": "pixels_", "untrained network": "untrained_", "chance": "chance_"}


def courses(run: pathlib.Path) -> list[Course]:
    """The teacher's and the student's course, the last score of either being the whole split's.

    Raises:
        SystemExit: the folder holds no finished run with k-NN scores.
    """
    lines = [line for line in read_metrics(run / "metrics.jsonl") if SCORE in line]
    if len(lines) < 2 or not read_summary(run):
        raise SystemExit(f"{run} holds no finished run with {SCORE}: name a run's folder")
    steps = [line["step"] for line in lines]
    found = []
    for name, prefix in (("teacher", ""), ("student", "student_")):
        # Before the first step they are one network.
        scores = [line.get(prefix + SCORE, line[SCORE]) for line in lines]
        label = f"{run.name}, {name}: {scores[-1]:.1f} after {steps[-1]:,} steps"
        found.append(Course(label, steps, scores))
    return found


def main() -> None:
    """Read the runs and write the picture."""
    parser = argparse.ArgumentParser(description="Draw k-NN accuracy over training.")
    parser.add_argument("runs", nargs="+", type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    given = parser.parse_args()
    drawn = [courses(run) for run in given.runs]
    summary = read_summary(given.runs[0])
    levels = {name: summary[prefix + SCORE] for name, prefix in LEVELS.items()}
    write_courses(given.out, drawn, levels=levels, score="20-NN top-1 (%)")
    longest = max(course.steps[-1] for course in itertools.chain.from_iterable(drawn))
    print(f"wrote {given.out}: {len(drawn)} runs, {longest} steps")


if __name__ == "__main__":
    main()
