"""The real step compiled for devices that are not here, and what its compiler says of it."""

import dataclasses
import time
from typing import Any

import jax
from jax.sharding import Mesh

from dino_jax.config import Resolved
from dino_jax.train.compiled import compiled_step
from dino_jax.train.method import build_method, init_state
from dino_jax.train.planning.hlo import exchanges
from dino_jax.train.planning.stepping import batch_shapes
from dino_jax.train.planning.topology import topology
from dino_jax.train.sharding import batch_sharded, make_mesh, placed, state_shardings


@dataclasses.dataclass(frozen=True)
class Exchanged:
    """The collectives of one kind among so many devices, of one step."""

    kind: str
    """all-reduce, all-gather, reduce-scatter, all-to-all or collective-permute."""
    among: int
    """Devices of a group that exchange with each other."""
    count: int
    bytes: float
    """Of the wholes that are summed or put together, all of them: not what crosses a link."""


@dataclasses.dataclass(frozen=True)
class CompiledReport:
    """What the compiler says of the step on one device; bytes, as it counts them."""

    device: str
    devices: int
    fsdp: int
    batch_size: int
    argument: int
    """State and batch."""
    output: int
    alias: int
    """Outputs that lie where arguments lay: the state is donated."""
    temp: int
    peak: int
    """The most at any time, arguments and program included."""
    collectives: tuple[Exchanged, ...]
    flops: float | None
    """As the compiler counts them, bodies of loops once; None where it does not."""
    trace_seconds: float
    compile_seconds: float


def compile_for(resolved: Resolved, device: str) -> CompiledReport:
    """Compile the step of a run for a TPU grid, `v5e:16x16`; nothing of it is run.

    `resolved.config.devices` is the number of chips. It takes minutes and most of a core.

    Raises:
        UserError: no such grid, or its compiler is not installed.
    """
    config = resolved.config
    mesh = make_mesh(config.devices, config.fsdp or 1, among=topology(device))
    program, seconds = compiled_program(resolved, mesh)
    memory, text = program.memory_analysis(), program.as_text()
    costs = program.cost_analysis() or {}
    return CompiledReport(
        device=device,
        devices=mesh.size,
        fsdp=config.fsdp or 1,
        batch_size=config.batch_size,
        argument=memory.argument_size_in_bytes,
        output=memory.output_size_in_bytes,
        alias=memory.alias_size_in_bytes,
        temp=memory.temp_size_in_bytes,
        peak=memory.peak_memory_in_bytes,
        collectives=_collectives(text, mesh.size),
        flops=costs.get("flops"),
        trace_seconds=round(seconds[0], 1),
        compile_seconds=round(seconds[1], 1),
    )


def compiled_program(resolved: Resolved, mesh: Mesh) -> tuple[Any, tuple[float, float]]:
    """The step compiled over a mesh, with the seconds to trace and to compile it."""
    method = build_method(resolved)
    began = time.perf_counter()
    state = jax.eval_shape(lambda: init_state(method, resolved))
    batch = batch_shapes(resolved, resolved.config.batch_size)
    split = {name: batch_sharded(mesh) for name in batch}
    step: Any = compiled_step(method, mesh)
    lowered = step.lower(placed(state, state_shardings(state, mesh)), placed(batch, split))
    traced = time.perf_counter()
    return lowered.compile(), (traced - began, time.perf_counter() - traced)


def _collectives(text: str, devices: int) -> tuple[Exchanged, ...]:
    counts: dict[tuple[str, int], tuple[int, float]] = {}
    for exchange, times in exchanges(text).items():
        place = exchange.kind, exchange.group or devices
        count, total = counts.get(place, (0, 0.0))
        counts[place] = count + times, total + times * exchange.payload
    return tuple(Exchanged(*place, *counts[place]) for place in sorted(counts))
