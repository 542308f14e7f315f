"""The mesh and what lies where: batches are split over `data`, the state is on every device."""

from collections.abc import Mapping

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def make_mesh(devices: int | None = None) -> Mesh:
    """A one-axis mesh `data` over the first `devices` devices (None: all of them)."""
    chosen = jax.devices()[:devices]
    return jax.make_mesh((len(chosen),), ("data",), axis_types=(AxisType.Auto,), devices=chosen)


def replicated(mesh: Mesh) -> NamedSharding:
    """The same value on every device: parameters, optimiser, teacher, centre, metrics."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharded(mesh: Mesh) -> NamedSharding:
    """The leading axis split over the devices: everything of a batch."""
    return NamedSharding(mesh, PartitionSpec("data"))


def put_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Lay one process's rows of a global batch out over the mesh, without waiting.

    int64 becomes int32: fewer than 2**31 examples and epochs are assumed.
    """
    sharding = batch_sharded(mesh)
    return {
        name: jax.make_array_from_process_local_data(
            sharding, value.astype(np.int32) if value.dtype == np.int64 else value
        )
        for name, value in batch.items()
    }
