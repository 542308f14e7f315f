"""The worker of `benchmarks.step`: one contender in a process of its own, on the cores it is given.

`ours` is our step as the command runs it. `plain` is the same step with automatic gradients, with
`jax.nn`'s GELU and attention, with the whole last block, and with the C library's own ways with
memory. `eager`, `fused` and `compiled` are those of `benchmarks.torch_dino`; with `-heap` they
have our way with memory, and PyTorch's own switch for huge pages. `original` is that of
`benchmarks.original_step`, from the checkout that the environment variable DINO_CHECKOUT names.
"""

import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.worker import serve
from benchmarks.workload import Workload, synthetic_batch
from dino_jax.memory import keep_freed_memory

Step = Callable[[], float]


def contender(
    name: str, cores: list[int], work: Mapping[str, Any], blocks: str = "auto"
) -> tuple[Step, float]:
    """Build one on the given cores; its step returns the loss. Also the seconds of compilation."""
    os.sched_setaffinity(0, cores)
    make = _jax if name in ("ours", "plain") else _torch
    return make(name, Workload(**work), len(cores), blocks)


def _jax(name: str, work: Workload, _cores: int, blocks: str) -> tuple[Step, float]:
    if name == "ours":
        keep_freed_memory()
    import jax

    from benchmarks.ours import config_of, device_batch, trainer

    if name == "plain":
        make_plain()
    config = config_of(work, photometric=False)
    config.model.blocks = blocks
    built = trainer(config, examples=10 * work.batch)
    state, batch = built.start(), device_batch(synthetic_batch(work))
    lowered = built.step.lower(state, batch)
    started = time.perf_counter()
    compiled = lowered.compile()
    seconds = time.perf_counter() - started
    kept = {"state": jax.block_until_ready(state)}

    def step() -> float:
        kept["state"], metrics = compiled(kept["state"], batch)
        return float(metrics["loss"])

    return step, seconds


def make_plain() -> None:
    """Replace what is written out in `dino_jax.models.gradients` by what jax offers for it."""
    import jax
    import jax.numpy as jnp

    from dino_jax.models import backbone, block, head, layers

    def affine(x: Any, weight: Any, bias: Any) -> Any:
        y = jnp.einsum("...i,oi->...o", x, weight, precision=jax.lax.Precision.HIGHEST)
        return y + jnp.broadcast_to(bias, y.shape)

    def layer_norm(x: Any, weight: Any, bias: Any, epsilon: float) -> Any:
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = jnp.square(centred).mean(axis=-1, keepdims=True)
        normal = centred * jax.lax.rsqrt(variance + epsilon)
        return normal * jnp.broadcast_to(weight, x.shape) + jnp.broadcast_to(bias, x.shape)

    def attend(_implementation: str, query: Any, key: Any, value: Any) -> Any:
        parts = (part.swapaxes(1, 2) for part in (query, key, value))
        with jax.default_matmul_precision("highest"):
            return jax.nn.dot_product_attention(*parts, scale=1.0).swapaxes(1, 2)

    def encode(*arguments: Any, cls_only: bool = False, **options: Any) -> Any:
        return whole(*arguments, **options)

    def gelu(x: Any) -> Any:
        return jax.nn.gelu(x, approximate=False)

    whole = backbone.Backbone.__call__
    replaced: tuple[tuple[Any, str, Any], ...] = (
        (block, "gelu", gelu),
        (block, "attend_by", attend),
        (block, "residual", lambda x: x),
        (head, "gelu", gelu),
        (layers, "affine", affine),
        (layers, "layer_norm", layer_norm),
        (backbone.Backbone, "__call__", encode),
    )
    for module, name, function in replaced:
        if not hasattr(module, name):
            raise AttributeError(f"{module.__name__} has no {name} any more")
        setattr(module, name, function)


def _torch(name: str, work: Workload, cores: int, _blocks: str) -> tuple[Step, float]:
    manner, _, heap = name.partition("-")
    if heap:
        keep_freed_memory()
        os.environ["THP_MEM_ALLOC_ENABLE"] = "1"
    import torch

    torch.set_num_threads(cores)
    started, arrays = time.perf_counter(), synthetic_batch(work)
    if name == "original":
        from benchmarks.original_step import OriginalStep

        original = OriginalStep(work, pathlib.Path(os.environ["DINO_CHECKOUT"]))
        return lambda: original.step(arrays), 0.0
    from benchmarks.torch_dino import Contender

    built = Contender(work, manner=manner, device="cpu", precision=None)
    batch = {key: torch.from_numpy(value) for key, value in arrays.items()}

    def step() -> float:
        return float(built.step(batch))

    step()  # `torch.compile` waits for the first step
    return step, time.perf_counter() - started


@dataclasses.dataclass
class Turns:
    """Answers `build` and then `steps`."""

    step: Step | None = None

    def build(self, **arguments: Any) -> dict[str, float]:
        """Make the contender and run it once."""
        self.step, seconds = contender(**arguments)
        return {"loss": self.step(), "compile_s": round(seconds, 1)}

    def steps(self, count: int) -> dict[str, list[float]]:
        """Seconds of each step, by the clock and of processor time."""
        if self.step is None:
            raise RuntimeError("steps before build")
        wall, processor = [], []
        for _ in range(count):
            before, at = time.process_time(), time.perf_counter()
            self.step()
            wall.append(time.perf_counter() - at)
            processor.append(time.process_time() - before)
        return {"wall": wall, "processor": processor}


if __name__ == "__main__":
    turns = Turns()
    serve({"build": turns.build, "steps": turns.steps})
