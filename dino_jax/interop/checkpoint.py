"""Checkpoints through orbax: the only file that imports it.

A checkpoint is a folder `STEP/` with one tree: step, student, teacher, student_stats,
teacher_stats, target_state, opt_state; parameters under the original's dotted names. Its metadata
hold `format_version` and the resolved configuration. The data position is the step alone.
"""

import contextlib
import logging
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import jax
from orbax.checkpoint import v1 as ocp

from dino_jax.config import UserError
from dino_jax.types import Params, Stats

FORMAT_VERSION = 1
"""Raised when what a checkpoint holds changes; older ones stay readable."""
METADATA = "_CHECKPOINT_METADATA"
"""The file that orbax writes last into a checkpoint's folder."""


@runtime_checkable
class State(Protocol):
    """A named tuple of arrays and of trees of arrays, as `TrainState` is."""

    def _asdict(self) -> dict[str, Any]: ...


S = TypeVar("S", bound=State)


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

    def save(self, state: State, step: int) -> None:
        """Save in the background; an error of the save before surfaces here."""
        self.wait()
        if self.latest == step:
            return
        self._pending = self._manager.save_async(
            step, state._asdict(), force=True, custom_metadata=self._metadata
        )

    def restore(self, like: S) -> S:
        """Load the newest checkpoint into the structure, types and shardings of `like`.

        Raises:
            UserError: a newer format, a damaged folder, or tensors of other names or shapes than
                those of `like`, which are named.
        """
        step = self.latest
        if step is None:
            raise UserError(f"no checkpoint in {self._manager.directory}")
        folder = pathlib.Path(self._manager.directory) / str(step)
        with _damage_in_one_line(folder):
            # That of `latest` holds neither the tensors nor what was written beside them.
            metadata = self._manager.metadata(step)
            saved = _shapes(metadata.metadata)
        _check_format(metadata.custom_metadata, folder)
        wanted = _shapes(like._asdict())
        if not saved:  # only logged by orbax
            raise UserError(f"{_unreadable(folder)} (it names no tensors)")
        # The optimiser's last: its names follow from the parameters'.
        differing = sorted(
            {name for name, _ in wanted.items() ^ saved.items()},
            key=lambda name: (name.startswith("opt_state."), name),
        )
        if differing:
            raise UserError(
                f"the checkpoint {folder} holds other tensors than this configuration: "
                f"{', '.join(differing[:4])}{' …' if len(differing) > 4 else ''}"
            )
        with _damage_in_one_line(folder):
            loaded = self._manager.load(step, jax.tree.map(_abstract, like._asdict()))
        return cast(S, cast(Any, type(like))(**loaded))

    def wait(self) -> None:
        """Block until the save in flight is committed; its error is raised."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def close(self) -> None:
        """Commit what is in flight and release the folder."""
        self.wait()
        self._manager.close()


def read_tree(
    path: pathlib.Path, wanted: Sequence[str], optional: Sequence[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the entries `wanted`, and those of `optional` it has, of a checkpoint of ours.

    `path` is a working directory, its `checkpoints/` or one step's folder. Gives the entries and
    what was written beside them (`config`, the resolved configuration, among it); nothing else of
    the checkpoint is read.

    Raises:
        UserError: no checkpoint there, a damaged one, one of a newer format or without an entry.
    """
    folder = _step_folder(path)
    with _damage_in_one_line(folder):
        metadata = ocp.metadata(folder)
    _check_format(metadata.custom_metadata, folder)
    held = metadata.metadata
    missing = [name for name in wanted if name not in held]
    if missing:
        raise UserError(f"the checkpoint {folder} holds no {', '.join(missing)}")
    # Without arrays of a run at hand, everything goes to the first device.
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device),
        {name: held[name] for name in (*wanted, *optional) if name in held},
    )
    context = ocp.Context()
    context.pytree.loading.partial_load = True
    with context, _damage_in_one_line(folder):
        tree = ocp.load(folder, abstract)
    return tree, dict(metadata.custom_metadata or {})


def write_tree(folder: pathlib.Path, tree: dict[str, Any], *, step: int, **beside: Any) -> None:
    """Write one checkpoint, `folder/STEP`, that every reader here opens; `beside` is JSON."""
    # A save that fails leaves futures behind whose errors asyncio would log once more, some time.
    log = logging.getLogger("asyncio")
    before = log.level
    log.setLevel(logging.CRITICAL)
    ocp.save(
        (folder / str(step)).absolute(),
        tree,
        custom_metadata={"format_version": FORMAT_VERSION, **beside},
    )
    log.setLevel(before)


def load_network(path: pathlib.Path, network: str = "teacher") -> tuple[Params, Stats, dict]:
    """Read one network of a checkpoint of ours, with the resolved configuration it was made by.

    `path` is that of `read_tree`; `network` is "teacher" or "student".

    Raises:
        UserError: as `read_tree`.
    """
    if network not in ("teacher", "student"):
        raise UserError(f"a checkpoint holds no network {network!r}: expected teacher or student")
    tree, beside = read_tree(path, (network, f"{network}_stats"))
    return tree[network], tree[f"{network}_stats"], beside.get("config", {})


def newest_step(folder: pathlib.Path) -> int | None:
    """The step of the newest checkpoint in `folder`, None where there is none; reads names only."""
    names = [entry.name for entry in folder.glob("*")] if folder.is_dir() else []
    return max((int(name) for name in names if _is_step(name)), default=None)


def _is_step(name: str) -> bool:
    """Digits as a step is written: `²` is a digit too, and no number."""
    return name.isascii() and name.isdigit()


def _step_folder(path: pathlib.Path) -> pathlib.Path:
    for root in (path / "checkpoints", path):
        step = newest_step(root)
        if step is not None:
            return (root / str(step)).absolute()
    if path.is_dir() and _is_step(path.name):
        return path.absolute()
    raise UserError(
        f"no checkpoint at {path}; give a working directory of a run, its checkpoints/ folder, "
        "or one step's folder inside it"
    )


@contextlib.contextmanager
def _damage_in_one_line(folder: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of damaged files orbax and tensorstore raise nearly anything
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(f"{_unreadable(folder)} ({reason[:200]})") from error


def _unreadable(folder: pathlib.Path) -> str:
    return (
        f"the checkpoint {folder} cannot be read: if it is damaged, remove that folder, and the "
        "checkpoint before it is taken"
    )


def _check_format(metadata: Any, folder: pathlib.Path) -> None:
    version = dict(metadata or {}).get("format_version")
    if version is None:
        raise UserError(f"{_unreadable(folder)} (it says no format_version)")
    if int(version) > FORMAT_VERSION:
        raise UserError(
            f"the format {version} of {folder} is not known to this version of dino_jax (it reads "
            f"up to {FORMAT_VERSION}); install the version that wrote it, or a newer one"
        )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Shapes by names that do not depend on the container (a named tuple is saved as a dict)."""
    return {
        ".".join(str(_key(entry)) for entry in path): tuple(leaf.shape)
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }


def _key(entry: Any) -> Any:
    for field in ("key", "name", "idx"):
        if hasattr(entry, field):
            return getattr(entry, field)
    return entry


def _abstract(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
