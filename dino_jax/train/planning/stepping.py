"""The real training step of one device, traced: its operations and what its arguments are."""

import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dino_jax.config import Resolved
from dino_jax.train.method import build_method, init_state
from dino_jax.train.planning.graph import Graph, Value, traced
from dino_jax.train.step import make_train_step

GROUPS = ("parameters", "teacher", "optimiser", "batch")
"""What the arguments of the step are; the centre and batch statistics go with the teacher."""


class Traced(NamedTuple):
    """The step, and for every argument which of `GROUPS` it belongs to."""

    graph: Graph
    groups: dict[Value, str]
    parameters: tuple[tuple[int, ...], ...]
    """Shapes of the student's tensors."""
    prototypes: int


def trace_step(resolved: Resolved, *, rows: int, platform: str) -> Traced:
    """The step on `rows` images, as jax gives it to the compiler of a platform.

    `platform` is jax's ("cpu", "gpu", "tpu"). Nothing is computed and no array is made.
    """
    method = build_method(resolved)
    state = jax.eval_shape(lambda: init_state(method, resolved))
    batch = batch_shapes(resolved, rows)
    name = "cuda" if platform == "gpu" else platform
    graph = traced(make_train_step(method), state, batch, platform=name)
    paths = [
        jax.tree_util.keystr(path)
        for path, _ in jax.tree_util.tree_flatten_with_path((state, batch))[0]
    ]
    ours = graph.arguments[len(graph.arguments) - len(paths) :]  # before them: constants
    groups = {value: _group(path) for value, path in zip(ours, paths, strict=True)}
    shapes = tuple(tuple(leaf.shape) for leaf in state.student.values())
    return Traced(graph, groups, shapes, resolved.config.head.prototypes)


def batch_shapes(resolved: Resolved, rows: int) -> dict[str, Any]:
    """The forms of a batch of `rows` images."""
    config = resolved.config
    crops, channels = config.crops, config.model.channels

    def images(count: int, size: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((rows, count, size, size, channels), jnp.uint8)

    number = jax.ShapeDtypeStruct((rows,), jnp.int32)
    batch = {"views": images(2, crops.global_size), "index": number, "epoch": number}
    if crops.local_number:
        batch["locals"] = images(crops.local_number, crops.local_size)
    return batch


def _group(path: str) -> str:
    """By the field of the state, or the batch."""
    if path.startswith("[1]"):
        return "batch"
    field = re.sub(r"^\[0\]\.(\w+).*", r"\1", path)
    return {"student": "parameters", "student_stats": "parameters", "opt_state": "optimiser"}.get(
        field, "teacher"
    )
