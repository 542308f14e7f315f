"""What the processor of this machine does a second, measured in a second or two."""

import os
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from dino_jax.train.planning.roofline import Rates

SIZE = 1024
"""Of the square matrices whose product is timed."""
ENTRIES = 1 << 24
"""Of the array that is read, added to and written."""


def probed(devices: int) -> tuple[Rates, float]:
    """Rates of one of `devices` virtual devices of this machine, and its share of the memory."""
    highest = jax.lax.Precision.HIGHEST
    square = jnp.ones((SIZE, SIZE), jnp.float32)
    heads = jnp.ones((48, 197, 64), jnp.float32)
    line = jnp.ones((ENTRIES,), jnp.float32)

    def product(a: jax.Array) -> jax.Array:
        return jnp.dot(a, a, precision=highest)

    def attending(a: jax.Array) -> jax.Array:
        return jnp.einsum("bnd,bmd->bnm", a, a, precision=highest)

    large = 2.0 * SIZE**3 / _least(product, square)
    small = 2.0 * 48 * 197 * 197 * 64 / _least(attending, heads)
    bandwidth = 8.0 * ENTRIES / _least(lambda a: a + 1.0, line)
    functions = ENTRIES / 4 / _least(jax.lax.erf, line[: ENTRIES // 4])
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    rates = Rates(
        bfloat16=large / 2 / devices,
        float32=large / devices,
        small=min(1.0, small / large),
        bandwidth=bandwidth / devices,
        functions=functions / devices,
        links=bandwidth / devices,
    )
    return rates, memory / devices


def _least(function: Callable[[jax.Array], jax.Array], argument: jax.Array) -> float:
    compiled = jax.jit(function)
    compiled(argument).block_until_ready()
    times = []
    for _ in range(7):
        began = time.perf_counter()
        compiled(argument).block_until_ready()
        times.append(time.perf_counter() - began)
    return min(times)
