"""Train: `python -m dino_jax.main --config=configs/NAME.py --workdir=DIR [--config.FIELD=VALUE]`.

Exit codes: 0 done, 2 the user's mistake, 75 interrupted and resumable, 1 ours.
"""

import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dino_jax import flags
from dino_jax.config import UserError, validate
from dino_jax.memory import keep_freed_memory

if TYPE_CHECKING:
    from dino_jax.train.run import Outcome, Run

DONE, MISTAKE, INTERRUPTED = 0, 2, 75


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("dino_jax").setLevel(logging.INFO)
    try:
        parsed = flags.parse(sys.argv if argv is None else argv)
        validate(parsed.config)
        return _train(parsed)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return MISTAKE
    except KeyboardInterrupt:  # where the loop does not listen, or a second time
        sys.stderr.write("\ninterrupted at once; run the same command to go on\n")
        return INTERRUPTED


def _train(parsed: flags.Parsed) -> int:
    keep_freed_memory()
    # Late, so that a mistake in the command line is answered before jax has been loaded.
    from dino_jax.evals.suite import progress_suite
    from dino_jax.train.run import prepare, train

    run = prepare(parsed.config, parsed.workdir, force_schedule=parsed.flags.force_schedule)
    config = run.resolved.config
    evaluator = progress_suite(run.model, config, run.train, run.held_out, mesh=run.mesh)
    outcome = train(run, evaluator)
    if not outcome.finished:
        sys.stderr.write(f"interrupted; saved {outcome.saved}; run the same command to go on\n")
        return INTERRUPTED
    if config.eval.baselines:
        _compare(run, outcome)
    curves = f"pip install tensorboard, tensorboard --logdir {run.workdir}/tensorboard"
    figures = f"figures: {run.workdir}/summary.json; curves: {curves}"
    sys.stdout.write(f"done: {outcome.saved}\n{figures}\n")
    if config.data.train.startswith("embedded:"):
        sys.stdout.write("next, your own images: --config=configs/auto.py (README)\n")
    return DONE


def _compare(run: "Run", outcome: "Outcome") -> None:
    """End with the table over the baselines, and a picture of attention on held-out images."""
    from dino_jax.evals.suite import final_table
    from dino_jax.train.records import write_comparison
    from dino_jax.train.run import networks
    from dino_jax.viz.held_out import write_held_out_attention

    config, compared = run.resolved.config, networks(run, outcome)
    table = final_table(run.model, config, run.train, run.held_out, compared, mesh=run.mesh)
    sys.stdout.write(f"\n{table.text()}\n\n")
    write_comparison(run.workdir, outcome.summary, table.markdown(), table.values())
    picture = run.workdir / "attention.png"
    before, teacher = compared.get("untrained", compared.get("start")), compared["teacher"]
    if write_held_out_attention(
        picture, run.model, teacher, run.held_out, data=config.data, before=before
    ):
        sys.stdout.write(f"attention of the teacher on held-out images: {picture}\n")


if __name__ == "__main__":
    sys.exit(main())
