"""Train: `python -m dino_jax.main --config=configs/NAME.py --workdir=DIR [--config.FIELD=VALUE]`.

Exit codes: 0 done, 2 the user's mistake, 75 interrupted and resumable, 1 ours.
"""

import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dino_jax import flags
from dino_jax.config import UserError

if TYPE_CHECKING:
    from dino_jax.train.run import Outcome, Run

DONE, MISTAKE, INTERRUPTED = 0, 2, 75


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("dino_jax").setLevel(logging.INFO)
    try:
        return _train(flags.parse(sys.argv if argv is None else argv))
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return MISTAKE


def _train(parsed: flags.Parsed) -> int:
    # Late, so that a mistake in the command line is answered before jax has been loaded.
    from dino_jax.evals.suite import progress_suite
    from dino_jax.train.run import prepare, train

    run = prepare(parsed.config, parsed.workdir, force_schedule=parsed.flags.force_schedule)
    evaluator = progress_suite(
        run.model, run.resolved.config, run.train, run.held_out, mesh=run.mesh
    )
    outcome = train(run, evaluator)
    checkpoint = run.workdir / "checkpoints" / str(int(outcome.state.step))
    if not outcome.finished:
        sys.stderr.write(f"interrupted; saved {checkpoint}; run the same command to go on\n")
        return INTERRUPTED
    if run.resolved.config.eval.baselines:
        _compare(run, outcome)
    sys.stdout.write(
        f"done: {checkpoint}; curves: tensorboard --logdir {run.workdir}/tensorboard; "
        f"figures: {run.workdir}/summary.json; train on your own images: "
        "--config=configs/auto.py --config.data.train=folder:PATH\n"
    )
    return DONE


def _compare(run: "Run", outcome: "Outcome") -> None:
    """End with the table over the baselines, and a picture of attention on held-out images."""
    from dino_jax.evals.comparison import baselines
    from dino_jax.evals.suite import cls_features, held_out_attention
    from dino_jax.train.records import write_summary
    from dino_jax.train.run import initial_state
    from dino_jax.viz.attention import write_attention_picture

    networks = {
        "untrained": initial_state(run).student,
        "student": outcome.state.student,
        "teacher": outcome.state.teacher,
    }
    config = run.resolved.config
    table = baselines(
        cls_features(run.model), config, run.train, run.held_out, networks, mesh=run.mesh
    )
    sys.stdout.write(f"\n{table.text()}\n\n")
    (run.workdir / "table.md").write_text(table.markdown() + "\n")
    write_summary(run.workdir, {**outcome.summary, **table.values()})
    picture = run.workdir / "attention.png"
    images, maps, names = held_out_attention(run.model, outcome.state.teacher, config, run.held_out)
    write_attention_picture(picture, images, maps, names=names)
    sys.stdout.write(f"attention of the teacher on held-out images: {picture}\n")


if __name__ == "__main__":
    sys.exit(main())
