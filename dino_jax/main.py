"""Train: `python -m dino_jax.main --config=configs/NAME.py --workdir=DIR [--config.FIELD=VALUE]`.

Exit codes: 0 done, 2 the user's mistake, 75 interrupted and resumable, 1 ours.
"""

import logging
import sys
from collections.abc import Sequence

from dino_jax import flags
from dino_jax.config import UserError

DONE, OURS, MISTAKE, INTERRUPTED = 0, 1, 2, 75


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("dino_jax").setLevel(logging.INFO)
    try:
        parsed = flags.parse(sys.argv if argv is None else argv)
        return _train(parsed)
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
    checkpoint = parsed.workdir / "checkpoints" / str(int(outcome.state.step))
    if not outcome.finished:
        sys.stderr.write(f"interrupted; saved {checkpoint}; the same command goes on from there\n")
        return INTERRUPTED
    return DONE


if __name__ == "__main__":
    sys.exit(main())
