"""Pictures of attention: exit codes 0 done, 2 the user's mistake, 75 interrupted, 1 ours."""

import logging
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from dino_jax.config import UserError
from dino_jax.config.looking import INTEGERS, REALS, SWITCHES, USAGE, WORDS, Looking, point_of
from dino_jax.flags import parse_alone
from dino_jax.interrupt import interruptible

DONE, MISTAKE, INTERRUPTED = 0, 2, 75
REQUIRED = ("weights", "image", "out")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("dino_jax").setLevel(logging.INFO)
    try:
        flag = parse_alone(sys.argv if argv is None else argv, _define, USAGE, required=REQUIRED)
        files, said = _attend(_looking(flag))
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return MISTAKE
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; run the same command again\n")
        return INTERRUPTED
    sys.stdout.write(said + "".join(f"wrote {path}\n" for path in files))
    return DONE


def _attend(asked: Looking) -> tuple[list[pathlib.Path], str]:
    # Late, so that a mistake in the command line is answered before jax has been loaded.
    from dino_jax.interop.encoder import open_encoder
    from dino_jax.train.cache import keep_compiled
    from dino_jax.viz.attend.write import write_film, write_pictures

    keep_compiled()
    reading: Any = {"offline": asked.offline, "precision": asked.precision}
    encoders = [open_encoder(spec, **reading) for spec in asked.weights]
    if not asked.filmed:
        return write_pictures(asked, encoders)
    with interruptible() as stop:
        files = write_film(asked, encoders[0], stop=stop)
        if stop():
            raise KeyboardInterrupt
    return files, ""


def _looking(flag: flags.FlagValues) -> Looking:
    named = (*INTEGERS, *REALS, *WORDS, *SWITCHES)
    given: dict[str, Any] = {name: flag[name].value for name in named}
    weights, points = (flag.weights, *flag.compare), tuple(map(point_of, flag.point))
    return Looking(weights, flag.image, pathlib.Path(flag.out).expanduser(), points=points, **given)


def _define(values: flags.FlagValues) -> None:
    for name in REQUIRED:
        flags.DEFINE_string(name, None, "See --help.", flag_values=values)
    for name in ("compare", "point"):
        flags.DEFINE_multi_string(name, [], "See --help.", flag_values=values)
    for name, default in INTEGERS.items():
        flags.DEFINE_integer(name, default, "See --help.", flag_values=values)
    for name in REALS:
        flags.DEFINE_float(name, getattr(Looking, name), "See --help.", flag_values=values)
    for name, words in WORDS.items():
        flags.DEFINE_enum(name, words[0], words, "See --help.", flag_values=values)
    for name in SWITCHES:
        flags.DEFINE_bool(name, False, "See --help.", flag_values=values)


if __name__ == "__main__":
    sys.exit(main())
