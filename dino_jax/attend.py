"""Pictures of attention: exit codes 0 done, 2 the user's mistake, 75 interrupted, 1 ours."""

import logging
import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from dino_jax.config import UserError
from dino_jax.config.looking import USAGE, Looking, point_of
from dino_jax.files import made
from dino_jax.flags import parse_alone

DONE, MISTAKE, INTERRUPTED = 0, 2, 75
REQUIRED = ("weights", "image", "out")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("dino_jax").setLevel(logging.INFO)
    try:
        flag = parse_alone(sys.argv if argv is None else argv, _define, USAGE, required=REQUIRED)
        written = _attend(_looking(flag))
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return MISTAKE
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; run the same command again\n")
        return INTERRUPTED
    sys.stdout.write("".join(f"wrote {path}\n" for path in written))
    return DONE


def _attend(asked: Looking) -> list[pathlib.Path]:
    # Late, so that a mistake in the command line is answered before jax has been loaded.
    from dino_jax.interop.encoder import open_encoder
    from dino_jax.viz.attend.write import write_pictures

    out = made(asked.out)
    options = {"offline": asked.offline, "precision": asked.precision}
    encoders = [open_encoder(spec, **options) for spec in asked.weights]
    if asked.filmed:
        from dino_jax.viz.clips.write import write_clip

        return write_clip(
            pathlib.Path(asked.image), out, encoders[0], size=asked.size, head=asked.head,
            block=-1 if asked.block is None else asked.block, mass=asked.mass or None,
            fps=asked.fps, frames=asked.frames, blend=asked.blend,
        )  # fmt: skip
    return write_pictures(asked, encoders, out)


def _looking(flag: flags.FlagValues) -> Looking:
    given = {name: flag[name].value for name in flag if name in Looking.__dataclass_fields__}
    given["weights"] = (flag.weights, *flag.compare)
    given["points"] = tuple(point_of(text) for text in flag.point)
    given["out"] = pathlib.Path(flag.out).expanduser()
    return Looking(**given)


def _define(values: flags.FlagValues) -> None:
    at = {"flag_values": values}
    for name in REQUIRED:
        flags.DEFINE_string(name, None, "See --help.", **at)
    for name in ("compare", "point"):
        flags.DEFINE_multi_string(name, [], "See --help.", **at)
    for name, number in (("size", 480), ("block", None), ("head", None)):
        lowest = None if name == "block" else int(name == "size")
        flags.DEFINE_integer(name, number, "See --help.", lower_bound=lowest, **at)
    for name, share in (("mass", None), ("fps", None), ("blend", Looking.blend)):
        flags.DEFINE_float(name, share, "See --help.", **at)
    flags.DEFINE_enum("upsampling", "nearest", ["nearest", "smooth"], "See --help.", **at)
    flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "See --help.", **at)
    for name in ("square", "heads", "stats", "html", "video", "frames", "offline"):
        flags.DEFINE_bool(name, False, "See --help.", **at)


if __name__ == "__main__":
    sys.exit(main())
