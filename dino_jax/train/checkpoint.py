"""Checkpoints through orbax: the only file that imports it.

A checkpoint is a folder `STEP/` with one tree: step, student, teacher, student_stats,
teacher_stats, target_state, opt_state; parameters under the original's dotted names. Its metadata
hold `format_version` and the resolved configuration. The data position is the step alone.
"""

import pathlib
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from dino_jax.config import UserError
from dino_jax.train.state import TrainState
from dino_jax.types import Params, Stats

FORMAT_VERSION = 1
"""Raised when what a checkpoint holds changes; older ones stay readable."""


class Checkpoints:
    """The checkpoints of one run: saved without blocking, the newest few kept."""

    def __init__(
        self, folder: pathlib.Path, *, keep: int = 2, config: dict[str, Any] | None = None
    ) -> None:
        """Open (or create) `folder`; `config` is written beside every checkpoint."""
        self._metadata = {"format_version": FORMAT_VERSION, "config": config or {}}
        self._pending: Any = None
        self._manager = ocp.training.Checkpointer(
            folder.absolute(),
            preservation_policy=ocp.training.preservation_policies.LatestN(keep),
            save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
            cleanup_tmp_directories=True,
        )

    @property
    def latest(self) -> int | None:
        """The step of the newest committed checkpoint, None where there is none."""
        newest = self._manager.latest
        return None if newest is None else int(newest.step)

    def save(self, state: TrainState, step: int) -> None:
        """Save in the background; an error of the save before surfaces here."""
        self.wait()
        if self.latest == step:
            return
        self._pending = self._manager.save_async(
            step, _as_dict(state), force=True, custom_metadata=self._metadata
        )

    def restore(self, like: TrainState) -> TrainState:
        """Load the newest checkpoint into the structure, types and shardings of `like`.

        Raises:
            UserError: a newer format, or other tensors than `like` has, which are named.
        """
        newest = self._manager.latest
        if newest is None:
            raise UserError(f"no checkpoint in {self._manager.directory}")
        _check_format(newest.custom_metadata)
        wanted = _as_dict(like)
        saved = _names(self._manager.metadata(newest.step).metadata)
        differing = sorted(_names(wanted) ^ saved)
        if differing:
            raise UserError(
                f"the checkpoint in {self._manager.directory} holds other tensors than this "
                f"configuration: {', '.join(differing[:4])}{' …' if len(differing) > 4 else ''}"
            )
        return TrainState(**self._manager.load(newest.step, jax.tree.map(_abstract, wanted)))

    def wait(self) -> None:
        """Block until the save in flight is committed; its error is raised."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def close(self) -> None:
        """Commit what is in flight and release the folder."""
        self.wait()
        self._manager.close()


def load_network(path: pathlib.Path, network: str = "teacher") -> tuple[Params, Stats, dict]:
    """Read one network of a checkpoint of ours, with the resolved configuration it was made by.

    `path` is a working directory, its `checkpoints/` or one step's folder; `network` is "teacher"
    or "student". Nothing else of the checkpoint is read.

    Raises:
        UserError: no checkpoint there, or one of a newer format.
    """
    folder = _step_folder(path)
    metadata = ocp.metadata(folder)
    _check_format(metadata.custom_metadata)
    # Without arrays of a run at hand, everything goes to the first device.
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    wanted = {name: metadata.metadata[name] for name in (network, f"{network}_stats")}
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device), wanted
    )
    partial = ocp.options.PyTreeOptions(
        loading=ocp.options.PyTreeOptions.Loading(partial_load=True)
    )
    with ocp.Context(pytree_options=partial):
        tree = ocp.load(folder, abstract)
    config = dict(metadata.custom_metadata or {}).get("config", {})
    return tree[network], tree[f"{network}_stats"], config


def _step_folder(path: pathlib.Path) -> pathlib.Path:
    for root in (path / "checkpoints", path):
        steps = [entry for entry in root.glob("*") if entry.name.isdigit()] if root.is_dir() else []
        if steps:
            return max(steps, key=lambda entry: int(entry.name)).absolute()
    if path.is_dir() and path.name.isdigit():
        return path.absolute()
    raise UserError(
        f"no checkpoint at {path}; give a working directory of a run, its checkpoints/ folder, "
        "or one step's folder inside it"
    )


def _check_format(metadata: Any) -> None:
    version = dict(metadata or {}).get("format_version")
    if version is None or int(version) > FORMAT_VERSION:
        raise UserError(
            f"checkpoint format {version} is not known to this version of dino_jax (it reads up "
            f"to {FORMAT_VERSION}); install the version that wrote it, or a newer one"
        )


def _as_dict(state: TrainState) -> dict[str, Any]:
    return state._asdict()


def _names(tree: Any) -> set[str]:
    """Leaf names that do not depend on the container (a named tuple is saved as a dictionary)."""
    return {
        ".".join(str(_key(entry)) for entry in path)
        for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]
    }


def _key(entry: Any) -> Any:
    for field in ("key", "name", "idx"):
        if hasattr(entry, field):
            return getattr(entry, field)
    return entry


def _abstract(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
