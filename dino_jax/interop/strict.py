"""Strictness both ways: a network is exactly the tensors of its configuration, or it is refused."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from dino_jax.config import HeadConfig, ModelConfig, UserError
from dino_jax.config.architectures import architecture_of
from dino_jax.interop.network import Network
from dino_jax.models.build import build
from dino_jax.models.naming import BACKBONE, HEAD

COUNTER = "num_batches_tracked"
LISTED = 4
"""Names of each kind that a message spells out; the others are counted."""
FIRST = f"{BACKBONE}blocks.0."
NO_HEAD = HeadConfig(prototypes=1, hidden=1, bottleneck=1, layers=1)
Called = Callable[[str], str]
"""From a name of ours to that of the file at hand, for messages."""


def check_network(network: Network, *, source: str) -> None:
    """Check that a network holds exactly the tensors of its configuration, as every export does.

    Raises:
        UserError: as `network_from`.
    """
    held = {**network.params, **network.stats}
    shapes = {name: np.shape(tensor) for name, tensor in held.items()}
    check_names(
        shapes,
        expected_shapes(network.model, network.size, network.head, source=source),
        source=source,
    )


def expected_shapes(
    model: ModelConfig, size: tuple[int, int], head: HeadConfig | None, *, source: str
) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter and statistic of such a network; nothing is computed.

    Raises:
        UserError: sizes that cannot be built.
    """
    depth = architecture_of(model).depth
    # Blocks are all alike: only the first is built, since a deep network takes minutes.
    alike = architecture_of(model).family != "resnet"
    first = dataclasses.replace(model, depth=1) if alike else model
    try:
        built = build(first, head or NO_HEAD, image_size=image_size(size))
    except UserError as error:
        raise UserError(f"{source} cannot be built here: {error}") from error
    params, stats = jax.eval_shape(built.init, jax.random.key(0))
    return {
        name: tuple(leaf.shape)
        for leaves in (params, stats)
        for name, leaf in sorted(_repeated(leaves, depth if alike else 1).items())
        if head is not None or not name.startswith(HEAD)
    }


def _repeated(leaves: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """The same with as many blocks as the first."""
    return {
        name if index == 0 else f"{BACKBONE}blocks.{index}.{name.removeprefix(FIRST)}": leaf
        for name, leaf in leaves.items()
        for index in range(depth if name.startswith(FIRST) else 1)
    }


def is_statistic(name: str) -> bool:
    """Whether a tensor is a batch statistic: counted or averaged, never trained."""
    return name.endswith((".running_mean", ".running_var", f".{COUNTER}"))


def listed(names: Iterable[str]) -> str:
    """The first names, and how many there are where that is more."""
    every = list(names)
    rest = f" … ({len(every)} in all)" if len(every) > LISTED else ""
    return ", ".join(every[:LISTED]) + rest


def mismatch(
    source: str, *, missing: Iterable[str], unexpected: Iterable[str], reshaped: Iterable[str]
) -> str | None:
    """One line that lists what does not match, None where everything does."""
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    found = [f"{kind}: {text}" for kind, names in kinds.items() if (text := listed(names))]
    return f"{source} holds other tensors than this network: {'; '.join(found)}" if found else None


def check_names(
    shapes: Mapping[str, tuple[int, ...]],
    wanted: Mapping[str, tuple[int, ...]],
    *,
    source: str,
    called: Called = str,
) -> None:
    """Compare names and shapes both ways.

    Raises:
        UserError: what is missing, unexpected or of another shape.
    """
    message = mismatch(
        source,
        missing=[called(name) for name in wanted if name not in shapes],
        unexpected=[called(name) for name in shapes if name not in wanted],
        reshaped=[
            f"{called(name)} is {shapes[name]}, expected {shape}"
            for name, shape in wanted.items()
            if name in shapes and shapes[name] != shape
        ],
    )
    if message:
        raise UserError(message)


def exact(name: str, tensor: Any, source: str, called: Called = str) -> np.ndarray:
    """The tensor in its one type, C-contiguous; 0-d stays 0-d."""
    array = np.asarray(tensor, order="C")
    if name.endswith(COUNTER):
        if array.dtype.kind not in "iu" or not 0 <= int(array) < 1 << 31:
            raise UserError(
                f"{source}: {called(name)} is {array}, expected a count from 0 to below 2^31"
            )
        return array.astype(np.int64)
    # bfloat16 is of kind V
    if array.dtype.name not in ("float32", "float16", "bfloat16"):
        raise UserError(
            f"{source}: {called(name)} is {array.dtype.name}, expected float32, float16 or bfloat16"
        )
    return array.astype(np.float32, copy=False)


def narrow(stats: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same with counters as int32: jax has no wider integers unless told to."""
    return {
        name: value.astype(np.int32) if value.dtype.kind == "i" else value
        for name, value in stats.items()
    }


def image_size(size: tuple[int, int]) -> Any:
    """An image's (height, width) as `build` takes it: one number where it is square."""
    return size[0] if size[0] == size[1] else size
