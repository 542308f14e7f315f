"""The plan of a run from its configuration: memory, batch, operations, time, traffic."""

import copy
import dataclasses
import math
from typing import NamedTuple

from dino_jax.config import Config, Resolved, UserError, needs_short_side, resolve
from dino_jax.train.planning import flops, roofline
from dino_jax.train.planning.compiled import CompiledReport, compile_for
from dino_jax.train.planning.devices import Fleet
from dino_jax.train.planning.prediction import COMPILERS, Memory, memory_of
from dino_jax.train.planning.roofline import Rates, Work, work_of
from dino_jax.train.planning.stepping import Traced, trace_step
from dino_jax.train.planning.traffic import Collective, collectives

HOST_IMAGES = {"exact": 180.0, "fast": 290.0}
"""Images a second of one core by `data.decode`, photographs to 2 x 224 + 8 x 96 pixels, measured on
an AMD EPYC that other processes used too: benchmarks/results/host.json."""
HOST_PIXELS = 2 * 224**2 + 8 * 96**2
"""Pixels of the crops of such an image."""


TRIES = 3
"""Traces beyond the first two by which the largest batch is looked for."""
MOST_ROWS = 1 << 16
"""Images of one device beyond which nobody goes."""


class Plan(NamedTuple):
    """What is foreseen of a run."""

    resolved: Resolved
    fleet: Fleet
    examples_from: str
    memory: Memory
    capacity: float
    largest_batch: int | None
    """The largest `batch_size` that fits; None where none does."""
    rows: int
    """Images of one device and one pass."""
    model_flops: float | None
    """FLOPs of one image by the count that MFU is taken by; None but for vision transformers."""
    step_flops: float
    """FLOPs of one image that the step as written does."""
    work: Work
    exchanges: list[Collective]
    exchange_seconds: float
    host_rate: float
    """Images a second of one core of the host."""
    compiled: CompiledReport | None = None
    """What the compiler says, where it was asked."""

    @property
    def seconds(self) -> float:
        """Of a step."""
        return self.work.seconds + self.exchange_seconds

    @property
    def images_per_second(self) -> float:
        """Of all devices together."""
        return self.resolved.config.batch_size / self.seconds

    @property
    def hours(self) -> float:
        """Of the run, without evaluations and checkpoints."""
        return self.seconds * self.resolved.steps / 3600

    @property
    def host_cores(self) -> float:
        """Cores that feed all the devices at this pace."""
        return self.images_per_second / self.host_rate


def make_plan(
    config: Config, fleet: Fleet, rates: Rates, capacity: float, *, examples: int, said: str
) -> Plan:
    """Foresee a run of `config` over `examples` images on a fleet.

    `rates` are what one device does a second and `capacity` the bytes it has.

    Raises:
        UserError: whatever in the request cannot work.
    """
    if needs_short_side(config):
        raise UserError(
            "crops.global_size is to be picked from the images' size: give --config.crops."
            "global_size=224, and --config.crops.local_size=96"
        )
    platform = fleet.device.platform
    resolved = resolve(config, examples=examples, platform=platform, device_count=fleet.number)
    devices, shards = resolved.config.devices or 1, resolved.config.fsdp or 1
    rows = resolved.config.batch_size // devices
    step = trace_step(resolved, rows=rows, platform=platform)
    memory = memory_of(step, platform=platform, shards=shards)
    work = work_of(step.graph, rates, rules=COMPILERS[platform].rules)
    exchanges = _exchanges(step, devices=devices, shards=shards)
    return Plan(
        resolved=resolved,
        fleet=fleet,
        examples_from=said,
        memory=memory,
        capacity=capacity,
        largest_batch=_largest(resolved, rows, memory, capacity, platform),
        rows=rows // resolved.config.accumulate,
        model_flops=flops.per_image(resolved.config),
        step_flops=work.flops / rows,
        work=work,
        exchanges=exchanges,
        exchange_seconds=sum(each.sent for each in exchanges) / rates.links,
        host_rate=_host_rate(resolved.config),
    )


def compiled(plan: Plan) -> CompiledReport:
    """Compile the step for the grid of the plan: minutes.

    Raises:
        UserError: the compiler is not installed or does not know the grid.
    """
    fleet, devices = plan.fleet, plan.resolved.config.devices
    if devices != fleet.number:
        raise UserError(
            f"--compile takes all {fleet.number} devices of {fleet.text}: leave "
            f"devices={devices} out, or name a smaller grid"
        )
    return compile_for(plan.resolved, f"{fleet.name}:{fleet.topology}")


def _host_rate(config: Config) -> float:
    crops = config.crops
    pixels = 2 * crops.global_size**2 + crops.local_number * crops.local_size**2
    return HOST_IMAGES[config.data.decode] * min(4.0, HOST_PIXELS / pixels)


def _exchanges(step: Traced, *, devices: int, shards: int) -> list[Collective]:
    parameters = 4.0 * sum(math.prod(shape) for shape in step.parameters)
    split = parameters if shards > 1 else 0.0
    centre = 4.0 * step.prototypes
    return collectives(
        parameters=parameters, split=split, centre=centre, devices=devices, shards=shards
    )


def _largest(
    resolved: Resolved, rows: int, memory: Memory, capacity: float, platform: str
) -> int | None:
    """The largest batch that fits: by the line through two traced ones, and that one is traced."""
    devices, shards = resolved.config.devices or 1, resolved.config.fsdp or 1
    unit = resolved.config.accumulate
    known = {rows: memory.peak}

    def fits(count: int) -> bool:
        if count not in known:
            step = trace_step(_with_rows(resolved, count), rows=count, platform=platform)
            known[count] = memory_of(step, platform=platform, shards=shards).peak
        return known[count] <= capacity

    lower = max(unit, rows // 2 // unit * unit)
    other = 2 * rows if lower == rows or fits(rows) else lower
    fits(other)
    for _ in range(TRIES):
        (a, at_a), (b, at_b) = sorted(known.items())[-2:]
        guess = _beneath(capacity, a, at_a, (at_b - at_a) / (b - a), unit)
        if guess in known:
            break
        fits(guess)
        known = dict(sorted(known.items(), key=lambda each: abs(each[1] - capacity))[:2])
    most = max((count for count, size in known.items() if size <= capacity), default=0)
    return most * devices or None


def _beneath(capacity: float, at: int, size: float, slope: float, unit: int) -> int:
    """Where a line through (`at`, `size`) reaches the capacity, in whole units below."""
    found = at + (capacity - size) / max(slope, 1.0)
    return max(unit, min(MOST_ROWS, int(found)) // unit * unit)


def _with_rows(resolved: Resolved, rows: int) -> Resolved:
    config = copy.deepcopy(resolved.config)
    config.batch_size = rows * (config.devices or 1)
    return dataclasses.replace(resolved, config=config)


def rates_of(fleet: Fleet) -> tuple[Rates, float]:
    """What one device of a fleet does a second, and its bytes; a CPU is asked (`probe`)."""
    if fleet.device.platform != "cpu":
        return roofline.modelled(fleet.device), fleet.device.memory
    from dino_jax.train.planning.probe import probed

    return probed(fleet.number)
