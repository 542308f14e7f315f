"""Our step compiled for an H100 that is not here, and what its kernels would cost by a roofline.

    python -m benchmarks.gpu_model [--model=S/16] [--batch=128] [--attention=auto] [--host]

Needs `jax[cuda13]` and no GPU. Prints one JSON line: memory as the compiler counts it, the number
of kernels, gigabytes moved, TFLOPs multiplied, and modelled milliseconds, in all and by part, the
greatest first. MODELLED, not measured (see `gpu_hlo`): with it two versions of the code can be
compared, not a card foretold. Products are left to cuBLAS: without a GPU to try them on, XLA's own
kernels are not chosen as they would be.
"""

import argparse
import collections
import json
import pathlib
import re
import sys
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies

from benchmarks.gpu import BATCHES
from benchmarks.gpu_hlo import Card, Kernel, kernels
from benchmarks.machine import commit
from benchmarks.ours import config_of
from benchmarks.workload import Workload, synthetic_batch, workload
from dino_jax.config import resolve
from dino_jax.train.method import build_method, init_state
from dino_jax.train.step import make_train_step

TARGET = pathlib.Path(__file__).parent / "h100.txtpb"
"""The card's figures as XLA's public repository gives them, for compiling without one."""
CUBLAS = {"xla_gpu_enable_triton_gemm": False}
PARTS = (
    (r"last_layer|while/body/.*(bcd|bck|kd)|_Head|jvp\(\)", "head and loss"),
    (r"VisionTransformer.*norm", "norms"),
    (r"VisionTransformer.*blocks/\d+/attn", "attention"),
    (r"VisionTransformer.*blocks/\d+/mlp", "mlp"),
    (r"VisionTransformer", "embedding and residual"),
    (r"vmap", "photometric"),
    (r".", "optimiser, teacher and the rest"),
    (r"", "unnamed"),
)


def main(arguments: list[str] | None = None) -> int:
    """Compile, count, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="S/16", choices=tuple(BATCHES))
    parser.add_argument("--batch", type=int)
    parser.add_argument("--attention", default="auto")
    parser.add_argument("--host", action="store_true", help="crops are only normalised")
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--keep", type=pathlib.Path, help="write the optimised program here")
    options = parser.parse_args(arguments)
    work = workload(options.model, options.batch or BATCHES[options.model], toy=options.toy)
    step = compiled(work, attention=options.attention, photometric=not options.host)
    text = step.as_text()
    if options.keep is not None:
        options.keep.write_text(text)
    row = {
        "benchmark": "gpu_model",
        "modelled": True,
        "model": work.name,
        "batch": work.batch,
        "attention": options.attention,
        "photometric": not options.host,
        "jax": jax.__version__,
        "commit": commit(),
        **memory(step),
        **costs(kernels(text)),
    }
    print(json.dumps(row))
    return 0


def compiled(work: Workload, *, attention: str, photometric: bool) -> Any:
    """The benchmark's step, compiled for one described H100."""
    config = config_of(work, photometric=photometric)
    config.precision, config.model.attention = "bfloat16", attention
    resolved = resolve(config, examples=1_281_167, platform="cuda", device_count=1)
    method = build_method(resolved)
    described = topologies.get_topology_desc(
        platform="cuda", topology_name="h100", target_config=TARGET.read_text(), topology="1x1x1"
    )
    mesh = jax.sharding.Mesh(np.array(described.devices), ("device",))
    here = jax.sharding.NamedSharding(mesh, jax.P())
    step = jax.jit(
        make_train_step(method),
        donate_argnums=0,
        in_shardings=here,
        out_shardings=here,
        compiler_options=CUBLAS,
    )
    state = jax.eval_shape(lambda: init_state(method, resolved))
    batch = {
        name: jax.ShapeDtypeStruct(
            value.shape, value.dtype if value.dtype == np.uint8 else np.int32
        )
        for name, value in synthetic_batch(work).items()
        if name != "replaced"
    }
    return step.lower(state, batch).compile()


def memory(step: Any) -> dict[str, float]:
    """GiB of the state and the batch, and of what lives within a step besides."""
    found = step.memory_analysis()
    given = found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    return {
        "state_gib": round(given / 2**30, 2),
        "peak_gib": round((given + found.temp_size_in_bytes) / 2**30, 2),
    }


def costs(found: list[Kernel], card: Card | None = None) -> dict[str, Any]:
    """Kernels, gigabytes, TFLOPs and modelled milliseconds, these also by part."""
    card = card or Card()
    parts: dict[str, float] = collections.defaultdict(float)
    for kernel in found:
        parts[part_of(kernel.op_name)] += 1000 * kernel.seconds(card)
    dearest = sorted(parts, key=lambda name: -parts[name])
    return {
        "kernels": sum(kernel.times for kernel in found),
        "gigabytes": round(sum(k.bytes * k.times for k in found) / 1e9, 1),
        "tflops": round(sum(sum(k.flops.values()) * k.times for k in found) / 1e12, 2),
        "ms": round(1000 * sum(kernel.seconds(card) for kernel in found), 2),
        "parts_ms": {name: round(parts[name], 2) for name in dearest},
    }


def part_of(op_name: str) -> str:
    """The part of the step that an instruction's name tells of."""
    return next(part for pattern, part in PARTS if re.search(pattern, op_name))


if __name__ == "__main__":
    sys.exit(main())
