"""Features of every image in a file: exit codes 0 done, 2 the user's, 75 interrupted, 1 ours."""

import logging
import sys
from collections.abc import Sequence

from absl.flags import DEFINE_bool, DEFINE_enum, DEFINE_integer, DEFINE_string, FlagValues

from dino_jax.config import UserError
from dino_jax.data.sources import open_source
from dino_jax.evals.embed.embedding import Embedded, Embedding, check_out, embed
from dino_jax.flags import parse_alone
from dino_jax.interop.encoder import DTYPES, open_encoder
from dino_jax.interrupt import Interrupted, interruptible
from dino_jax.train.cache import keep_compiled
from dino_jax.train.sharding import make_mesh

DONE, MISTAKE, INTERRUPTED = 0, 2, 75
REQUIRED = ("weights", "data", "out")

USAGE = f"""\
usage: python -m dino_jax.embed --weights=SPEC --data=SPEC --out=FILE [OPTION ...]
  --weights=dino_vits16 --data=tar:photos.tar --out=photos.parquet --feature=patch-mean
--weights=SPEC    a run, a file, a published name, or random, pixels, colour (docs/evaluation.md)
--data=SPEC       images: folder:PATH, tar:PATH, tfds:NAME[:SPLIT], arrayrecord:PATTERN
--out=FILE        its suffix is the format: .npz .parquet .csv .arrayrecord
--feature=cls     or patch-mean, cls+patch-mean, patches, tokens; block:N or block:N:PART for block
                  N, counted from 0, or from the end if negative
--size=, --resize=             pixels of the centre crop, and of the short side before it
--batch-size=64                images at once
--precision={"|".join(DTYPES)}  of the products inside the network; features are float32
--offline                      download nothing: say what to put where
--overwrite                    replace FILE (docs/evaluation/embed.md)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("dino_jax").setLevel(logging.INFO)
    try:
        flag = parse_alone(sys.argv if argv is None else argv, _define, USAGE, required=REQUIRED)
        done = _embed(flag)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return MISTAKE
    except (Interrupted, KeyboardInterrupt) as error:
        sys.stderr.write(f"\n{str(error) or 'interrupted; run the same command to go on'}\n")
        return INTERRUPTED
    sys.stdout.write(f"wrote {done.path}: {done.what}\n")
    return DONE


def _embed(flag: FlagValues) -> Embedded:
    keep_compiled()
    out = check_out(flag.out, flag.feature, overwrite=flag.overwrite)
    source = open_source(flag.data)
    how: dict = {name: flag[name].value for name in ("size", "resize", "offline", "precision")}
    encoder = open_encoder(flag.weights, **how)
    if encoder.channels != source.channels:
        source = open_source(flag.data, channels=encoder.channels)
    at_once = int(flag["batch-size"].value or 0)
    job = Embedding(encoder, source, out, flag.feature, at_once, flag.precision)
    with interruptible() as stop:
        return embed(job, mesh=make_mesh(), overwrite=flag.overwrite, stop=stop)


def _define(values: FlagValues) -> None:
    for name in REQUIRED:
        DEFINE_string(name, None, "See --help.", flag_values=values)
    DEFINE_string("feature", "cls", "See --help.", flag_values=values)
    for name, default in (("size", None), ("resize", None), ("batch-size", 64)):
        DEFINE_integer(name, default, "See --help.", lower_bound=1, flag_values=values)
    DEFINE_enum("precision", "float32", [*DTYPES], "See --help.", flag_values=values)
    for name in ("offline", "overwrite"):
        DEFINE_bool(name, False, "See --help.", flag_values=values)


if __name__ == "__main__":
    sys.exit(main())
