"""Measure what features know: exit codes 0 done, 2 the user's mistake, 75 interrupted, 1 ours."""

import importlib
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dino_jax.config import UserError
from dino_jax.interrupt import Interrupted
from dino_jax.protocol_flags import Asked, parse_protocol

if TYPE_CHECKING:
    from dino_jax.evals.protocol import Request

DONE, MISTAKE, INTERRUPTED = 0, 2, 75


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("dino_jax").setLevel(logging.INFO)
    try:
        _evaluate(parse_protocol(sys.argv if argv is None else argv))
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return MISTAKE
    except Interrupted as stopped:
        sys.stderr.write(f"{stopped}\n")
        return INTERRUPTED
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; run the same command to start again\n")
        return INTERRUPTED
    return DONE


def _evaluate(asked: Asked) -> None:
    # Late, so that a mistake in the command line is answered before jax has been loaded.
    from dino_jax.evals.run import evaluate, line, write
    from dino_jax.train.cache import keep_compiled
    from dino_jax.viz.drawings import draw

    keep_compiled()
    run = importlib.import_module(
        f"dino_jax.evals.protocols.{asked.protocol.replace('-', '_')}"
    ).run
    result = evaluate(asked.protocol, run, _requests(asked), settings=asked._asdict())
    sys.stdout.write(f"{result.table.text()}\n")
    files = [file for report in result.reports for file in report.files]
    if asked.out is not None:
        files += write(result, asked.protocol, asked.out)
        files += draw(asked.protocol, [report.drawing for report in result.reports], asked.out)
    for file in files:
        sys.stdout.write(f"wrote {file}\n")
    if asked.json:
        sys.stdout.write(f"{line(result)}\n")


def _requests(asked: Asked) -> "list[Request]":
    """One request to each of the weights; those of `--against` write below the first one's."""
    from dino_jax.evals.protocol import Request
    from dino_jax.evals.store import open_store
    from dino_jax.files import made
    from dino_jax.interop.encoder import open_encoder
    from dino_jax.train.sharding import make_mesh

    store, mesh, within = open_store(asked.cache), make_mesh(), asked.out and made(asked.out)
    reading = {key: getattr(asked, key) for key in ("size", "resize", "offline", "precision")}
    requests = []
    for number, spec in enumerate(asked.weights or ("",)):
        encoder = open_encoder(spec, **reading) if spec else None
        out = within / f"against-{number}" if within and number else within
        images = asked.data, asked.val, out, store, mesh
        requests.append(Request(encoder, *images, asked.batch_size, asked.seed, asked.options))
    return requests


if __name__ == "__main__":
    sys.exit(main())
