"""Train: `python -m dino_jax.main --config=FILE.py --workdir=DIR [--config.FIELD=VALUE]`."""

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dino_jax import flags
from dino_jax.config import UserError, validate
from dino_jax.memory import keep_freed_memory

if TYPE_CHECKING:
    from dino_jax.train.run import Outcome, Run
    from dino_jax.types import Params

DONE, MISTAKE, INTERRUPTED = 0, 2, 75  # exit codes: the user's mistake, resumable; 1 is ours


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
    from dino_jax.train.cache import keep_compiled
    from dino_jax.train.run import networks, prepare, train
    from dino_jax.viz.report.reporter import page_reporter

    keep_compiled()
    run = prepare(parsed.config, parsed.workdir, force_schedule=parsed.flags.force_schedule)
    config = run.resolved.config
    evaluator = progress_suite(run.model, config, run.train, run.held_out, mesh=run.mesh)
    parts = run.train, run.held_out, run.model, run.method.crops
    reporter = page_reporter(run.workdir, config, *parts, command=parsed.flags.arguments)
    outcome = train(run, evaluator, reporter)
    if not outcome.finished:
        sys.stderr.write(f"interrupted; saved {outcome.saved}; run the same command to go on\n")
        return INTERRUPTED
    if config.eval.baselines:
        _compare(run, outcome, networks(run, outcome))
    reporter.end()
    at, page = run.workdir, "report.html" if config.report else "tensorboard"
    sys.stdout.write(f"done: {outcome.saved}\nfigures: {at}/summary.json; curves: {at}/{page}\n")
    if config.data.train.startswith("embedded:"):
        sys.stdout.write("next, your own images: --config=configs/auto.py (README)\n")
    return DONE


def _compare(run: "Run", outcome: "Outcome", compared: Mapping[str, "Params"]) -> None:
    """End with the table over the baselines, and a picture of attention on held-out images."""
    from dino_jax.evals.suite import final_table
    from dino_jax.train.records import write_comparison
    from dino_jax.viz.held_out import write_held_out_attention

    data, path = run.resolved.config.data, run.workdir / "attention.png"
    parts = run.model, run.resolved.config, run.train, run.held_out
    table = final_table(*parts, compared, mesh=run.mesh)
    sys.stdout.write(f"\n{table.text()}\n\n")
    write_comparison(run.workdir, outcome.summary, table.markdown(), table.values())
    before, teacher = compared.get("untrained", compared.get("start")), compared["teacher"]
    if write_held_out_attention(path, run.model, teacher, run.held_out, data=data, before=before):
        sys.stdout.write(f"attention of the teacher on held-out images: {path}\n")


if __name__ == "__main__":
    sys.exit(main())
