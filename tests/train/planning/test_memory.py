"""What a program holds at once: small programs by hand, the real step by its compiler."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from dino_jax.config import Config, Resolved, resolve
from dino_jax.train.method import build_method, init_state
from dino_jax.train.planning.graph import traced
from dino_jax.train.planning.memory import Rules, live, moved, written
from dino_jax.train.planning.prediction import predict_memory
from dino_jax.train.planning.stepping import batch_shapes
from dino_jax.train.step import make_train_step

N = 256
SQUARE = jax.ShapeDtypeStruct((N, N), jnp.float32)
BYTES = 4 * N * N
MERGING = Rules(sums_merge=True)


def peak(function: Any, *shapes: Any) -> float:
    """In arrays of the size of `SQUARE`."""
    graph = traced(function, *shapes, platform="cpu")
    return live(graph, rules=MERGING).peak / BYTES


def test_what_is_cheap_and_read_once_is_never_written() -> None:
    assert peak(lambda x: (x + 1) * 2 - x @ x, SQUARE) == 2  # the argument and the product


def test_products_live_until_they_are_read_last() -> None:
    def chain(x: jax.Array) -> jax.Array:
        a = x @ x
        b = a @ a
        c = b @ b
        return c @ c

    assert peak(chain, SQUARE) == 3

    def all_kept(x: jax.Array) -> jax.Array:
        a = x @ x
        b = a @ a
        c = b @ b
        return (c @ b) @ (a @ x)

    assert peak(all_kept, SQUARE) == 5


def test_what_is_dear_and_read_by_two_loops_is_written() -> None:
    def two(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        e = jnp.exp(x @ x)
        return (e + 1) @ x, (e * 2) @ x

    # x, the product, its exponential; then the exponential and one sum; results take no room
    assert peak(two, SQUARE) == 3


def test_a_loop_takes_what_its_body_takes_once() -> None:
    def loop(x: jax.Array, many: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda c, y: ((c @ y) @ y, None), x, many)[0]

    many = jax.ShapeDtypeStruct((10, N, N), jnp.float32)
    once = peak(loop, SQUARE, jax.ShapeDtypeStruct((1, N, N), jnp.float32))
    assert peak(loop, SQUARE, many) == once + 9


def test_bytes_and_operations_of_a_loop_count_in_every_round() -> None:
    def loop(x: jax.Array, rounds: int) -> jax.Array:
        return jax.lax.fori_loop(0, rounds, lambda _, c: c @ c, x)

    one, ten = (traced(lambda x, k=k: loop(x, k), SQUARE, platform="cpu") for k in (1, 10))
    assert sum(n.flops for n in ten.nodes) == 10 * 2 * N**3
    assert moved(ten, rules=MERGING) == pytest.approx(10 * moved(one, rules=MERGING), rel=1e-3)


def test_the_branch_of_the_platform_is_taken() -> None:
    def branching(x: jax.Array) -> jax.Array:
        return jax.lax.platform_dependent(x, cpu=lambda x: x @ x, default=lambda x: x + 1)

    for platform, products in (("cpu", 1), ("tpu", 0)):
        graph = traced(branching, SQUARE, platform=platform)
        assert sum(node.name == "dot_general" for node in graph.nodes) == products


def test_sums_that_read_from_memory_keep_what_they_multiply() -> None:
    def weighted(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        shifted = x @ x + 1
        return (shifted * x).sum(axis=0), shifted @ x

    graph = traced(weighted, SQUARE, platform="cpu")
    large = [
        {v for v in written(graph, rules=Rules(merge)).values if graph.values[v].size == BYTES}
        for merge in (True, False)
    ]
    assert large[0] <= large[1]


def narrow(**fields: Any) -> Config:
    """A real step at a size that compiles in seconds."""
    config = Config(batch_size=fields.pop("batch", 16))
    config.model.arch, config.model.patch_size = "vit_tiny", 8
    config.model.width, config.model.depth, config.model.heads = 96, 6, 3
    config.head.hidden, config.head.bottleneck, config.head.prototypes = 256, 64, 1024
    config.crops.global_size, config.crops.local_size = 64, 32
    config.crops.local_number = fields.pop("crops", 4)
    config.model.remat = fields.pop("remat", "none")
    assert not fields
    return config


def compiled_peak(resolved: Resolved) -> float:
    """Arguments, outputs that are no arguments, and temporaries, by the compiler."""
    method = build_method(resolved)
    state = jax.eval_shape(lambda: init_state(method, resolved))
    step = jax.jit(make_train_step(method), donate_argnums=0)
    batch = batch_shapes(resolved, resolved.config.batch_size)
    found = step.lower(state, batch).compile().memory_analysis()
    return (
        found.argument_size_in_bytes
        + found.output_size_in_bytes
        - found.alias_size_in_bytes
        + found.temp_size_in_bytes
    )


@pytest.mark.parametrize("fields", [{}, {"batch": 32, "crops": 2}, {"remat": "blocks"}], ids=str)
def test_the_prediction_is_within_a_tenth_of_the_compiler(fields: dict[str, Any]) -> None:
    jax.config.update("jax_disable_most_optimizations", False)  # what is predicted is optimised
    resolved = resolve(narrow(**fields), examples=10_000, platform="cpu", device_count=1)
    rows = resolved.config.batch_size
    memory, _ = predict_memory(resolved, rows=rows, platform="cpu")
    assert memory.peak == pytest.approx(compiled_peak(resolved), rel=0.1)
    assert sum(memory.parts.values()) == pytest.approx(memory.peak)
