"""A plan as a person reads it, as a program reads it, and what is to be said against it."""

import dataclasses
from typing import Any

from dino_jax.train.planning.plan import Plan

GIB, MIB = 1 << 30, 1 << 20
FEW = 4
"""Images of one pass of a device below which its matrix products are thin: a warning."""


def text(plan: Plan) -> str:
    """The plan in lines for a terminal."""
    lines = [*_run(plan), "", *_memory(plan), "", *_work(plan), "", *_exchanges(plan)]
    lines += _compiled(plan)
    found = [f"warning: {each}" for each in warnings(plan)]
    return "\n".join([*lines, *([""] if found else []), *found]) + "\n"


def _run(plan: Plan) -> list[str]:
    config, resolved = plan.resolved.config, plan.resolved
    what = f"{config.model.arch}/{config.model.patch_size}, {config.precision}"
    images = f"{resolved.examples:,} images ({plan.examples_from})"
    each = f"{plan.rows * config.accumulate} images each"
    each += f" in {config.accumulate} passes" if config.accumulate > 1 else ""
    shared = f"; {config.fsdp} share one copy of the state" if (config.fsdp or 1) > 1 else ""
    return [
        f"{what}; {images}; {resolved.steps:,} steps of {config.batch_size} images",
        f"on {config.devices} x {plan.fleet.name}, {each}{shared}",
    ]


def _memory(plan: Plan) -> list[str]:
    lines = [f"{'memory of a device':<34}{'GiB':>8}"]
    lines += [f"  {name:<32}{size / GIB:8.2f}" for name, size in plan.memory.parts.items()]
    peak, share = plan.memory.peak / GIB, plan.memory.peak / plan.capacity
    room = f"of {plan.capacity / GIB:.2f} ({share:.0%})"
    return [
        *lines,
        f"  {'peak':<32}{peak:8.2f}   {room}",
        f"{'largest batch that fits':<34}{plan.largest_batch or 'none':>8}",
    ]


def _work(plan: Plan) -> list[str]:
    work, devices = plan.work, plan.resolved.config.devices or 1
    bounds = {
        "products": work.products,
        "memory": work.memory,
        "functions": work.functions,
        "links": plan.exchange_seconds,
    }
    made_of = " + ".join(f"{name} {1000 * s:.1f}" for name, s in bounds.items())
    rows = [
        ("FLOPs an image as executed, G", plan.step_flops / 1e9, ""),
        ("time of a step, ms", 1000 * plan.seconds, f"{made_of}"),
        ("images a second", plan.images_per_second, ""),
        ("hours of the run", plan.hours, f"{plan.hours * devices:,.1f} device-hours"),
        ("host cores to feed it", plan.host_cores, f"at {plan.host_rate:.0f} images/s a core"),
    ]
    if plan.model_flops is not None:
        rows.insert(0, ("FLOPs an image, G", plan.model_flops / 1e9, "for MFU"))
    return [f"{name:<34}{value:8,.1f}   {said}".rstrip() for name, value, said in rows]


def _exchanges(plan: Plan) -> list[str]:
    if not plan.exchanges:
        return ["between devices: nothing"]
    return [f"{'between devices, MiB a step':<44}{'whole':>9}{'sent':>9}"] + [
        f"  {each.name + ', ' + each.what:<42}{each.payload / MIB:9.1f}{each.sent / MIB:9.1f}"
        for each in plan.exchanges
    ]


def _compiled(plan: Plan) -> list[str]:
    if (found := plan.compiled) is None:
        return []
    share = plan.memory.peak / found.peak
    rows = [
        ("compiler's peak, GiB", f"{found.peak / GIB:8.2f}   predicted / compiled {share:.3f}"),
        ("  arguments", f"{found.argument / GIB:8.2f}"),
        ("  temporaries", f"{found.temp / GIB:8.2f}"),
        ("seconds to compile", f"{found.compile_seconds:8.1f}"),
    ]
    lines = [f"{name:<34}{said}" for name, said in rows]
    for each in found.collectives:
        what = f"  {each.count} x {each.kind} among {each.among}"
        lines.append(f"{what:<34}{each.bytes / MIB:8.1f} MiB")
    return ["", *lines]


def warnings(plan: Plan) -> list[str]:
    """What will overflow or starve, each with what to change."""
    config, found = plan.resolved.config, []
    if plan.memory.peak > plan.capacity:
        fits = f"batch_size {plan.largest_batch}" if plan.largest_batch else "a smaller network"
        others = ["accumulate"]
        others += ["model.remat=blocks"] if config.model.remat != "blocks" else []
        others += (
            [f"fsdp={min(16, config.devices or 1)}"]
            if (config.fsdp or 1) == 1 < (config.devices or 1)
            else []
        )
        found.append(
            f"does not fit: {plan.memory.peak / GIB:.1f} GiB of {plan.capacity / GIB:.1f}; set "
            f"{fits}, or {', or '.join(others)}"
        )
    available = plan.fleet.device.cores * (config.devices or 1)
    if plan.fleet.device.platform != "cpu" and plan.host_cores > available:
        found.append(
            f"the devices will wait for images: {plan.host_cores:.0f} host cores needed, "
            f"{available:.0f} come with {config.devices} x {plan.fleet.name}"
            + ("; data.decode=fast needs fewer" if config.data.decode == "exact" else "")
        )
    if plan.fleet.device.platform != "cpu" and plan.rows < FEW:
        found.append(
            f"{plan.rows} images a pass of a device leave it idle: raise batch_size, use fewer "
            "devices, or lower accumulate"
        )
    return found


def record(plan: Plan) -> dict[str, Any]:
    """The plan as one JSON object; bytes, seconds, FLOPs."""
    config = plan.resolved.config
    return {
        "devices": plan.fleet.text,
        "device_count": config.devices,
        "examples": plan.resolved.examples,
        "steps": plan.resolved.steps,
        "batch_size": config.batch_size,
        "fsdp": config.fsdp,
        "memory": {**plan.memory.parts, "peak": plan.memory.peak, "capacity": plan.capacity},
        "largest_batch": plan.largest_batch,
        "flops_per_image": plan.model_flops,
        "executed_flops_per_image": plan.step_flops,
        "step_seconds": plan.seconds,
        "images_per_second": plan.images_per_second,
        "hours": plan.hours,
        "device_hours": plan.hours * (config.devices or 1),
        "host_cores": plan.host_cores,
        "collectives": [each._asdict() for each in plan.exchanges],
        "warnings": warnings(plan),
        "compiled": None if plan.compiled is None else dataclasses.asdict(plan.compiled),
    }
