"""Convert weights: exit codes 0 done, 2 the user's mistake, 75 interrupted, 1 ours."""

import logging
import re
import sys
from collections.abc import Sequence

from absl.flags import DEFINE_bool, DEFINE_enum, DEFINE_string, FlagValues

from dino_jax.config import UserError
from dino_jax.flags import parse_alone
from dino_jax.interop.convert import FORMATS, PARTS, convert

DONE, MISTAKE, INTERRUPTED = 0, 2, 75
REQUIRED = ("from", "to", "out")

USAGE = f"""\
usage: python -m dino_jax.convert --from=SPEC --to=FORMAT --out=PATH [OPTION ...]

  --from=dino_vits16 --to=timm --out=exports/dino_vits16
  --from=runs/first --to=transformers --out=exports/first --size=480
  --from=runs/first --to=dino-pth --part=full --out=checkpoint.pth
  --from=checkpoint.pth --to=onnx --out=vit.onnx --size=480x640

SPEC    a run or checkpoint of ours, a file or folder of DINO, DeiT, timm, transformers or
        torchvision, or a published name (dino_vits16, dino_vits16:full, deit_small_16, …);
        :student or :teacher after it chooses the network
FORMAT  {", ".join(FORMATS)}
PATH    a folder, or a file ending as the format's does (.pth, .safetensors, .onnx)

--network=student|teacher   that network alone (all there is; of one, the teacher)
--part=backbone|full        of dino-pth: one bare backbone, or student, teacher, head and centre
--size=480 or 480x640       images of this height x width (the weights' own)
--offline                   download nothing: say what to put where
--overwrite                 replace an export that is there (more: docs/weights.md)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("dino_jax").setLevel(logging.INFO)
    try:
        flag = parse_alone(sys.argv if argv is None else argv, _define, USAGE, required=REQUIRED)
        spec, to, out = (str(flag[name].value) for name in REQUIRED)
        size = None if flag.size is None else _size(flag.size)
        written = convert(
            spec, to, out, network=flag.network, part=flag.part, size=size,
            offline=flag.offline, overwrite=flag.overwrite,
        )  # fmt: skip
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return MISTAKE
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted: what is written is all there, or nothing of it\n")
        return INTERRUPTED
    sys.stdout.write(f"wrote {written.path}: {written.what}\nopen it by {written.opened}\n")
    return DONE


def _define(values: FlagValues) -> None:
    for name in (*REQUIRED, "size"):
        DEFINE_string(name, None, "See --help.", flag_values=values)
    for name, known in (("network", ("student", "teacher")), ("part", PARTS)):
        DEFINE_enum(name, None, known, "See --help.", flag_values=values)
    for name in ("offline", "overwrite"):
        DEFINE_bool(name, False, "See --help.", flag_values=values)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text)
    if match:
        return int(match[1]), int(match[2] or match[1])
    raise UserError(f"--size={text}: expected pixels, as 480 or 480x640 (height x width)")


if __name__ == "__main__":
    sys.exit(main())
