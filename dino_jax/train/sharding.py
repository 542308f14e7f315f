"""The mesh and what lies where: the one table of what of the state is split, and over what.

Every batch is split over both axes of the mesh, `data` and `fsdp`. The devices along `fsdp` share
one copy of the state (parameters, moments, teacher), each holding its part; along `data` the copies
are alike. With `fsdp` 1 everything of the state is on every device. What the step makes of it is in
`compiled`; model files know nothing of it.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dino_jax.tree import matching

DATA, FSDP = "data", "fsdp"

SPLIT: tuple[tuple[str, bool], ...] = (
    (r"\.bias$", False),
    (r"weight_g$", False),  # one number a prototype, most often never trained
    (r"cls_token$|\.temperature$|\.gamma\d?$", False),
    (r"", True),
)
"""Which parameters are split, along the largest axis that `fsdp` divides, if they are large."""
SMALL = 1 << 13
"""Numbers of a tensor up to which it stays whole: it costs less to hold than to gather."""

Tree = TypeVar("Tree")


def make_mesh(
    devices: int | None = None, fsdp: int = 1, *, among: list[jax.Device] | None = None
) -> Mesh:
    """A mesh `data` x `fsdp` over the first `devices` devices (None: all) of `among` (all there).

    `fsdp` must divide their number; neighbours in a row share one copy of the state.
    """
    chosen = (jax.devices() if among is None else among)[:devices]
    shape = (len(chosen) // fsdp, fsdp)
    return jax.make_mesh(shape, (DATA, FSDP), axis_types=(AxisType.Auto,) * 2, devices=chosen)


def parts_of(mesh: Mesh) -> int:
    """Into how many parts the state is split: the devices along `fsdp`."""
    return mesh.shape.get(FSDP, 1)


def replicated(mesh: Mesh) -> NamedSharding:
    """The same value on every device: metrics, centre, whatever is not split."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharded(mesh: Mesh) -> NamedSharding:
    """The leading axis split over all the devices: everything of a batch."""
    return NamedSharding(mesh, PartitionSpec(mesh.axis_names))


def split_axes(shapes: Mapping[str, Any], parts: int) -> dict[str, int | None]:
    """The axis of every parameter that is cut into `parts`; None where it stays whole."""
    wanted = matching(SPLIT, shapes)
    return {
        name: _axis(tuple(leaf.shape), parts) if wanted[name] else None
        for name, leaf in shapes.items()
    }


def _axis(shape: tuple[int, ...], parts: int) -> int | None:
    if parts == 1 or np.prod(shape) <= SMALL:
        return None
    axes = [axis for axis, size in enumerate(shape) if size % parts == 0]
    return max(axes, key=lambda axis: shape[axis], default=None)


def param_shardings(params: Mapping[str, Any], mesh: Mesh) -> dict[str, NamedSharding]:
    """Where each of the parameters lies, by the table; `params` may be shapes."""
    axes = split_axes(params, parts_of(mesh))
    return {
        name: NamedSharding(mesh, PartitionSpec(*([] if axis is None else [None] * axis + [FSDP])))
        for name, axis in axes.items()
    }


def state_shardings(state: Tree, mesh: Mesh) -> Tree:
    """Where everything of a `TrainState` (or of its shapes) lies, as a tree of its form.

    A tensor kept under a parameter's name and of its shape lies as it does: teacher and moments.
    """
    student: Mapping[str, Any] = state.student  # type: ignore[attr-defined]
    placed, everywhere = param_shardings(student, mesh), replicated(mesh)

    def place(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        for entry in path:
            name = getattr(entry, "key", None)
            if isinstance(name, str) and name in student and student[name].shape == leaf.shape:
                return placed[name]
        return everywhere

    return jax.tree_util.tree_map_with_path(place, state)


def laid_out(state: Tree, mesh: Mesh) -> Tree:
    """A state that is there, moved to where it lies over the mesh."""
    return jax.device_put(state, state_shardings(state, mesh))


def spread(make: Callable[[], Tree], mesh: Mesh) -> Tree:
    """The state that `make()` returns, where it lies over the mesh.

    Where it is split, `make` is compiled and every device computes its part only: no device ever
    holds the whole.
    """
    if parts_of(mesh) == 1:
        return laid_out(make(), mesh)
    return jax.jit(make, out_shardings=state_shardings(jax.eval_shape(make), mesh))()


def whole(tree: Tree, mesh: Mesh) -> Tree:
    """The tree with every array on every device, for what reads parameters outside the step."""
    if parts_of(mesh) == 1:
        return tree
    return jax.jit(lambda same: same, out_shardings=replicated(mesh))(tree)


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


def placed(shapes: Any, shardings: Any) -> Any:
    """The shapes of a tree with where each leaf is to lie: what a step is lowered from."""
    return jax.tree.map(
        lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
        shapes,
        shardings,
    )
