"""Temporary memory of head and loss in three forms, and of the whole step with `model.remat`.

    python -m benchmarks.memory [--batch=64] [--prototypes=65536] [--locals=8]
        [--steps=S/16:8] [--remat=none,dots,blocks] [--out=FILE]

Nothing is run: the figures are the compiler's own (`memory_analysis`), so that any machine will do.
The head's line counts the bottleneck's output to the gradients of embeddings, `weight_v` and
`weight_g`: `written_out` (the normalised weights and the logits as arrays, a log-softmax, the sum
over pairs), `previous` (ours until the logits were streamed) and `streamed`; `ratio` is the first
over the last. `with_teacher` counts in the teacher's logits, targets, centre and diagnostics too. A
step's lines count everything of a training step beside its state and its batch; `ratio` is the
first one's over this one's.
"""

import argparse
import dataclasses
import functools
import json
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import commit, describe
from benchmarks.ours import config_of, trainer
from benchmarks.workload import Workload, workload
from dino_jax.models.head import prototype_logits
from dino_jax.ops.losses import dino_loss, loss_terms, summarise
from dino_jax.ops.streaming import chunk_of, streamed_loss
from dino_jax.ops.targets import batch_mean, centring
from dino_jax.types import Prototypes

TEMPERATURE = 0.1
Loss = Callable[[jax.Array, Prototypes, jax.Array], jax.Array]


def normalised(prototypes: Prototypes) -> jax.Array:
    """The last layer's weights as an array of their own."""
    length = jnp.linalg.norm(prototypes.direction, axis=1, keepdims=True)
    return prototypes.direction * (prototypes.scale / length)


def written_out(embeddings: jax.Array, prototypes: Prototypes, targets: jax.Array) -> jax.Array:
    """The loss as the paper says it, every array of it written down."""
    logits = jnp.einsum("bcd,kd->bck", embeddings, normalised(prototypes), precision="highest")
    log_p = jax.nn.log_softmax(logits / TEMPERATURE)
    pairs = [
        -(targets[:, view] * log_p[:, crop]).sum(axis=-1).mean()
        for view in range(targets.shape[1])
        for crop in range(embeddings.shape[1])
        if view != crop
    ]
    return jnp.stack(pairs).mean()


def previous(embeddings: jax.Array, prototypes: Prototypes, targets: jax.Array) -> jax.Array:
    """The loss from whole logits, without their log-softmax."""
    logits = jnp.einsum("bcd,kd->bck", embeddings, normalised(prototypes), precision="highest")
    return dino_loss(logits, targets, temperature=TEMPERATURE)


FORMS: dict[str, Loss] = {
    "written_out": written_out,
    "previous": previous,
    "streamed": functools.partial(streamed_loss, temperature=TEMPERATURE),
}


def with_teacher(form: str) -> Callable[..., Any]:
    """The loss from both networks' embeddings, with its gradient, the centre's mean and figures."""
    rule = centring()

    def run(student: jax.Array, own: Prototypes, teacher: jax.Array, theirs: Prototypes) -> Any:
        if form == "streamed":
            logits = prototype_logits(teacher, theirs)
        else:
            logits = jnp.einsum("bcd,kd->bck", teacher, normalised(theirs), precision="highest")
        targets = rule.assign(logits, rule.init(logits.shape[-1]), 0.04)
        loss, gradient = jax.value_and_grad(FORMS[form], argnums=(0, 1))(student, own, targets)
        return gradient, summarise(loss_terms(loss, targets)), batch_mean(logits)

    return run


def temporaries(function: Callable[..., Any], *shapes: Any) -> float:
    """Megabytes that the compiled function holds beside its arguments and results."""
    found: Any = jax.jit(function).lower(*shapes).compile().memory_analysis()
    return round(found.temp_size_in_bytes / 1e6, 1)


def head(batch: int, crops: int, prototypes: int, width: int = 256) -> dict[str, Any]:
    """The line of head and loss."""
    shape: Any = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    own = Prototypes(shape((prototypes, width)), shape((prototypes, 1)))
    student, teacher = shape((batch, crops, width)), shape((batch, 2, width))
    targets = shape((batch, 2, prototypes))
    alone = {
        name: temporaries(jax.value_and_grad(form, argnums=(0, 1)), student, own, targets)
        for name, form in FORMS.items()
    }
    both = {name: temporaries(with_teacher(name), student, own, teacher, own) for name in FORMS}
    return {
        "case": "head and loss",
        "batch": batch,
        "crops": crops,
        "prototypes": prototypes,
        "chunk": chunk_of(prototypes, None),
        "ratio": round(alone["written_out"] / alone["streamed"], 2),
        "ratio_previous": round(alone["previous"] / alone["streamed"], 2),
        "temporaries_mb": alone,
        "ratio_with_teacher": round(both["written_out"] / both["streamed"], 2),
        "with_teacher_mb": both,
    }


def step(work: Workload, remats: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A line for each `model.remat`: a whole training step in float32."""
    most = None
    for remat in remats:
        config = config_of(work)
        config.model.remat, config.precision = remat, "float32"
        built = trainer(config, examples=10 * work.batch)
        batch = {
            "views": jax.ShapeDtypeStruct((work.batch, 2, work.image, work.image, 3), np.uint8),
            "locals": jax.ShapeDtypeStruct(
                (work.batch, work.locals_, work.local, work.local, 3), np.uint8
            ),
            "index": jax.ShapeDtypeStruct((work.batch,), np.int32),
            "epoch": jax.ShapeDtypeStruct((work.batch,), np.int32),
        }
        started = time.perf_counter()
        compiled = built.step.lower(jax.eval_shape(built.start), batch).compile()
        seconds = time.perf_counter() - started
        found: Any = compiled.memory_analysis()
        most = found.temp_size_in_bytes if most is None else most
        yield {
            "case": f"step {work.name}",
            "batch": work.batch,
            "remat": remat,
            "ratio": round(most / found.temp_size_in_bytes, 2),
            "temporaries_mb": round(found.temp_size_in_bytes / 1e6, 1),
            "state_and_batch_mb": round(found.argument_size_in_bytes / 1e6, 1),
            "reused_mb": round(found.alias_size_in_bytes / 1e6, 1),
            "compile_s": round(seconds, 1),
        }


def lines(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What is asked for, head first."""
    yield head(options.batch, 2 + options.locals, options.prototypes)
    for name, batch in (case.split(":") for case in options.steps.split(",") if case):
        work = workload(name, int(batch), locals_=options.locals, toy=options.toy)
        yield from step(dataclasses.replace(work, batch=int(batch)), options.remat.split(","))


def main(arguments: list[str] | None = None) -> int:
    """Compile, print a JSON line a case, write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--prototypes", type=int, default=65536)
    parser.add_argument("--locals", type=int, default=8)
    parser.add_argument("--steps", default="S/16:8", help="NAME:BATCH,… or nothing")
    parser.add_argument("--remat", default="none,dots,blocks")
    parser.add_argument("--toy", action="store_true", help="steps of a model for a CPU")
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args(arguments)
    about = {
        "command": "python -m benchmarks.memory " + " ".join(arguments or sys.argv[1:]),
        "commit": commit(),
        "device": jax.devices()[0].device_kind,
        "machine": describe(),
        "versions": {name: metadata.version(name) for name in ("jax", "jaxlib")},
    }
    found = []
    for line in lines(options):
        found.append({"benchmark": "memory", **line, **about})
        sys.stdout.write(json.dumps(found[-1]) + "\n")
        sys.stdout.flush()
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("".join(json.dumps(line) + "\n" for line in found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
