"""Foresee a run: `python -m dino_jax.plan --config=FILE.py --devices=h100:8 [--config.FIELD=…]`."""

import json
import logging
import sys
from collections.abc import Sequence

from absl import flags as absl_flags

from dino_jax import flags
from dino_jax.config import UserError, validate
from dino_jax.memory import keep_freed_memory

DONE, MISTAKE, INTERRUPTED = 0, 2, 75  # exit codes: the user's mistake, stopped; 1 is ours
USAGE = """\
usage: python -m dino_jax.plan --config=FILE.py --devices=DEVICES [--config.FIELD=VALUE ...]

--devices=NAME[:COUNT|:GRID]  h100:8, a100, v5e:16x16, v4:4x4x4, cpu, ...
--examples=N                  images to train on, where they are not here to be counted
--compile                     compile the step for the TPU grid and report the compiler's memory
--json                        one JSON object instead of the table

docs/plan.md says how to read it
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    arguments = list(sys.argv if argv is None else argv)
    if any(each in ("--help", "-h", "-help", "--helpfull") for each in arguments[1:]):
        sys.stdout.write(USAGE)
        return DONE
    keep_freed_memory()  # before jax: the processor is timed as a training run has it
    try:
        sys.stdout.write(_planned(arguments))
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return MISTAKE
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return INTERRUPTED
    return DONE


def _planned(arguments: Sequence[str]) -> str:
    # Late, so that a mistake in the command line is answered before jax has been loaded.
    from dino_jax.train.planning.devices import parse

    # The folder is a run's; a plan has none.
    parsed = flags.parse([*arguments, "--workdir=."], _define)
    given = parsed.flags.values
    if not given.devices:
        raise UserError("--devices is missing: name them, as --devices=h100:8 or --devices=cpu")
    fleet = parse(given.devices)
    validate(parsed.config)
    if given.compile and fleet.topology is None:
        raise UserError(f"--compile is for TPUs, as --devices=v5e:16x16: not {fleet.name}")
    from dino_jax.train.planning.examples import examples_of
    from dino_jax.train.planning.plan import compiled, make_plan, rates_of
    from dino_jax.train.planning.report import record, text

    examples, said = examples_of(parsed.config, given.examples)
    rates, capacity = rates_of(fleet)
    plan = make_plan(parsed.config, fleet, rates, capacity, examples=examples, said=said)
    if given.compile:
        plan = plan._replace(compiled=compiled(plan))
    return json.dumps(record(plan)) + "\n" if given.json else text(plan)


def _define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_string("devices", None, "See --help.", flag_values=values)
    absl_flags.DEFINE_integer("examples", None, "See --help.", flag_values=values)
    for name in ("compile", "json"):
        absl_flags.DEFINE_bool(name, False, "See --help.", flag_values=values)


if __name__ == "__main__":
    sys.exit(main())
