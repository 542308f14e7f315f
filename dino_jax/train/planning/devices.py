"""The devices a run may be planned for: one table, from their makers' data sheets.

Sources: NVIDIA's data sheets of each (dense, SXM where there is one); Google Cloud's pages of each
TPU and of the machine types that carry them (`cores` are virtual processors of a host to a device).
What a peak is worth in practice is said in `roofline`.
"""

import difflib
import math
from typing import NamedTuple

from dino_jax.config import UserError

GIB = 1 << 30
TERA = 1e12


class Device(NamedTuple):
    """One device: bytes, operations a second and bytes a second, all as the maker says."""

    platform: str
    """jax's name of the backend."""
    memory: float
    """Bytes that a program may use."""
    bfloat16: float
    """Multiplications and additions a second of matrix products, dense."""
    float32: float
    """The same at full float32 precision (a TPU: six bfloat16 products to one)."""
    bandwidth: float
    """Bytes a second to and from its memory."""
    link: float
    """Bytes a second to the other devices, all links together, one way."""
    cores: float
    """Virtual processors of its usual host, to a device."""
    sides: int = 1
    """Numbers in a topology: 2 or 3 of a TPU's grid, 1: just how many."""


DEVICES = {
    "h100": Device("gpu", 80e9, 989.4e12, 66.9e12, 3.35e12, 450e9, 26),
    "h200": Device("gpu", 141e9, 989.4e12, 66.9e12, 4.8e12, 450e9, 28),
    "a100": Device("gpu", 40e9, 312e12, 19.5e12, 1.555e12, 300e9, 12),
    "a100-80": Device("gpu", 80e9, 312e12, 19.5e12, 2.039e12, 300e9, 12),
    "v100": Device("gpu", 16e9, 125e12, 15.7e12, 0.9e12, 150e9, 12),
    "l4": Device("gpu", 24e9, 121e12, 30.3e12, 0.3e12, 32e9, 12),
    "t4": Device("gpu", 16e9, 65e12, 8.1e12, 0.32e12, 16e9, 12),
    "v4": Device("tpu", 31.75 * GIB, 275e12, 275e12 / 6, 1.2e12, 300e9, 60, 3),
    "v5e": Device("tpu", 15.75 * GIB, 197e12, 197e12 / 6, 0.819e12, 200e9, 28, 2),
    "v5p": Device("tpu", 94.75 * GIB, 459e12, 459e12 / 6, 2.765e12, 600e9, 52, 3),
    "v6e": Device("tpu", 31.25 * GIB, 918e12, 918e12 / 6, 1.638e12, 448e9, 45, 2),
    "cpu": Device("cpu", 0.0, 0.0, 0.0, 0.0, 10e9, 1),
}
"""A V100 and a T4 have no bfloat16: their figure is that of float16, which they would need."""

FLAT = tuple("1x1 2x2 2x4 4x4 4x8 8x8 8x16 16x16".split())
SOLID = tuple("2x2x1 2x2x2 2x2x4 2x4x4 4x4x4 4x4x8 4x8x8 8x8x8 8x8x16 8x16x16 16x16x16".split())
"""The TPU's grids that can be had."""


class Fleet(NamedTuple):
    """What `--devices` names."""

    text: str
    name: str
    device: Device
    number: int
    topology: str | None
    """Of a TPU: the grid."""


def parse(text: str) -> Fleet:
    """Read `h100:8`, `v5e:16x16`, `v4:4x4x4`, `h100`, `cpu` or `cpu:4`.

    Raises:
        UserError: there is no such device or grid; the line lists those that are.
    """
    name, colon, size = text.strip().lower().partition(":")
    if name not in DEVICES:
        near = difflib.get_close_matches(name, DEVICES, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(f"--devices={text}: no device {name!r}: {hint}known are {known()}")
    device = DEVICES[name]
    if colon and not size:
        raise UserError(f"--devices={text}: nothing after the colon: known are {known()}")
    if device.sides == 1:
        return Fleet(text, name, device, _count(text, size or "1"), None)
    grids = FLAT if device.sides == 2 else SOLID
    topology = size or grids[0]
    if topology not in grids:
        raise UserError(f"--devices={text}: no grid {topology!r}: {name} has {', '.join(grids)}")
    return Fleet(text, name, device, math.prod(map(int, topology.split("x"))), topology)


def known() -> str:
    """Every name with the form of what follows it."""
    forms = {1: "", 2: ":16x16", 3: ":4x4x4"}
    named = [f"{name}{forms[device.sides]}" for name, device in DEVICES.items()]
    return ", ".join(named) + " (others with :COUNT, as h100:8)"


def _count(text: str, size: str) -> int:
    if not (size.isascii() and size.isdigit() and 0 < int(size) <= 65536):
        raise UserError(
            f"--devices={text}: expected a number of devices from 1 to 65536, as h100:8"
        )
    return int(size)
