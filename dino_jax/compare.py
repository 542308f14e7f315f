"""Runs compared on one page: exit codes 0 done, 2 the user's mistake, 75 interrupted, 1 ours."""

import logging
import pathlib
import sys
from collections.abc import Sequence

from absl.flags import DEFINE_enum, DEFINE_multi_string, DEFINE_string, FlagValues

from dino_jax.config import UserError
from dino_jax.flags import parse_words
from dino_jax.viz.compare.runs import AXES, open_runs

DONE, MISTAKE, INTERRUPTED = 0, 2, 75

USAGE = f"""\
usage: python -m dino_jax.compare RUN_A RUN_B ... [--out=compare.html] [OPTION ...]
  runs/first runs/second --out=first_second.html
RUN               a folder given to main as --workdir; of one alone its report.html is written anew
--out=compare.html      the page, one file; or the folder that compare.html is to lie in
--x={"|".join(AXES)}  what curves are laid over each other by
--scores=FILE     differences on the same images: a PROTOCOL.json of evaluate --out, or what its
                  --json printed; may be given again and again (docs/compare.md)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        words, flag = parse_words(sys.argv if argv is None else argv, _define, USAGE)
        if not words:
            raise UserError("no run is named: give folders of runs, as runs/first runs/second")
        folders = [pathlib.Path(word).expanduser() for word in words]
        sys.stdout.write(_one(folders[0], flag) if len(folders) == 1 else _many(folders, flag))
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return MISTAKE
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; run the same command again\n")
        return INTERRUPTED
    return DONE


def _one(folder: pathlib.Path, flag: FlagValues) -> str:
    from dino_jax.viz.report.write import write_report

    if flag.out is not None or flag.scores:
        raise UserError("one run has nothing to be compared with: name another, or no --out")
    open_runs([folder])
    return f"wrote {write_report(folder)}\n"


def _many(folders: Sequence[pathlib.Path], flag: FlagValues) -> str:
    from dino_jax.viz.compare.paired import read_measured
    from dino_jax.viz.compare.write import checked_out, summary, write_comparison

    out, runs = checked_out(flag.out or "compare.html"), open_runs(folders)
    measured = [read_measured(pathlib.Path(file).expanduser()) for file in flag.scores]
    path = write_comparison(out, runs, axis=flag.x, measured=measured)
    return f"{summary(runs, flag.x, measured)}\nwrote {path}\n"


def _define(values: FlagValues) -> None:
    DEFINE_string("out", None, "See --help.", flag_values=values)
    DEFINE_enum("x", "step", [*AXES], "See --help.", flag_values=values)
    DEFINE_multi_string("scores", [], "See --help.", flag_values=values)


if __name__ == "__main__":
    sys.exit(main())
