"""Devices that are not here, as their compiler describes them."""

import importlib.util
import os
from typing import Any

from jax.experimental import topologies

from dino_jax.config import UserError

MOST = 256
"""Chips of the largest grid tried. Of a larger one (v5e:32x32) the compiler ends the process."""
ALONE = {"ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "TPU_SKIP_MDS_QUERY": "1"}
"""For libtpu on a host without a TPU: nobody to share it with, nobody to ask about the machine."""
MEGACORE = {"v4": {"chip_config_name": "megacore"}}
"""As these chips are used: as one device. Their compiler would take each core for one."""


def topology(name: str) -> list[Any]:
    """The devices of a TPU grid, `v5e:16x16` or `v4:4x4x4`, for `sharding.make_mesh(among=…)`.

    A program can be compiled for them and not run.

    Raises:
        UserError: libtpu is not installed, or it knows no such grid, or the grid is too large.
    """
    kind, _, grid = name.partition(":")
    sides = grid.split("x")
    if not (kind and all(side.isascii() and side.isdigit() for side in sides)):
        raise UserError(f"{name!r} is no TPU grid: expected one as v5e:16x16 or v4:4x4x4")
    chips = 1
    for side in sides:
        chips *= int(side)
    if not 1 <= chips <= MOST:
        raise UserError(
            f"{name} has {chips} chips: its compiler is known to take up to {MOST}; plan without "
            "--compile, or compile for 16x16"
        )
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            "compiling for a TPU needs its compiler, which runs on any Linux host: install the "
            "tpu extra, pip install 'dino_jax[tpu]'"
        )
    for variable, value in ALONE.items():
        os.environ.setdefault(variable, value)
    try:
        found = topologies.get_topology_desc(
            platform="tpu", topology_name=name, **MEGACORE.get(kind, {})
        )
        return list(found.devices)
    except Exception as error:  # of a name it does not know it raises what it likes
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(f"libtpu knows no grid {name}: {reason[:200]}") from error
