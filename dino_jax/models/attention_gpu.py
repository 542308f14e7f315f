"""Which implementation mixes the values on a GPU: XLA's products, or cuDNN's fused attention.

The fused one never writes the map of attention: at 785 tokens that map, in float32, is twelve
times as large as what it is made of, and is kept for the backward pass. Its products are of
bfloat16 with float32 sums, as XLA's are, in another order. The choice is made where the step is
lowered and not where it is traced, so that a step compiled for a GPU that is not here makes it too.
"""

import importlib.util

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dino_jax.config import UserError
from dino_jax.models.attention import attend

SHORTEST_FUSED = 32
"""Tokens from which `auto` takes cuDNN. Below, the map is small beside the values it mixes."""
DEEPEST_FUSED = 128
"""Channels a head that cuDNN takes on every GPU that has it; they come in eights."""


def attend_by(
    implementation: str,
    query: Float[Array, "batch heads queries size"],
    key: Float[Array, "batch heads tokens size"],
    value: Float[Array, "batch heads tokens size"],
) -> Float[Array, "batch heads queries size"]:
    """`attend` by `auto`, `xla` or `cudnn` (`model.attention`); the query comes scaled.

    `auto` is cuDNN on an NVIDIA GPU for bfloat16 from `SHORTEST_FUSED` tokens on, where every
    token asks, and XLA everywhere else. `cudnn` is cuDNN wherever it can be.

    Raises:
        UserError: `cudnn` where no NVIDIA GPU is, or in float32.
    """
    if implementation == "cudnn":
        _check_asked(query)
    if implementation == "xla" or not _fits(query, key) or not installed():
        return attend(query, key, value)
    if implementation == "auto" and key.shape[2] < SHORTEST_FUSED:
        return attend(query, key, value)
    return jax.lax.platform_dependent(query, key, value, cuda=fused, default=attend)


def fused(
    query: Float[Array, "batch heads tokens size"],
    key: Float[Array, "batch heads tokens size"],
    value: Float[Array, "batch heads tokens size"],
) -> Float[Array, "batch heads tokens size"]:
    """cuDNN's attention, its gradient too; for NVIDIA GPUs, float16 and bfloat16 alone."""
    batch, _, tokens, _ = query.shape
    # JAX refuses to differentiate an odd length, with a bias or without (as of 0.10 to 0.12), and
    # every length of DINO is odd. One more token that nobody reads costs nothing: the pad becomes
    # part of the copies that the split of queries, keys and values needs anyway.
    odd = tokens % 2
    lengths = jnp.full((batch,), tokens, jnp.int32) if odd else None
    query, key, value = (
        jnp.pad(each.swapaxes(1, 2), ((0, 0), (0, odd), (0, 0), (0, 0)))
        for each in (query, key, value)
    )
    mixed = jax.nn.dot_product_attention(
        query,
        key,
        value,
        scale=1.0,
        query_seq_lengths=lengths,
        key_value_seq_lengths=lengths,
        implementation="cudnn",
    )
    return mixed[:, :tokens].swapaxes(1, 2)


def installed() -> bool:
    """Whether JAX's CUDA libraries are here, with a GPU or without: else `fused` is not traced."""
    names = ("jax_cuda13_plugin", "jax_cuda12_plugin")
    return any(importlib.util.find_spec(name) is not None for name in names)


def _fits(query: Array, key: Array) -> bool:
    """Every token asks, in a type and by heads of a size that cuDNN takes."""
    size = query.shape[3]
    half = query.dtype in (jnp.bfloat16, jnp.float16)
    return query.shape == key.shape and half and size % 8 == 0 and size <= DEEPEST_FUSED


def _check_asked(query: Array) -> None:
    if not installed():
        raise UserError(
            "model.attention is 'cudnn', but JAX's CUDA libraries are not installed: install "
            "jax[cuda13] on a machine with an NVIDIA GPU, or set model.attention=auto"
        )
    if query.dtype == jnp.float32:
        raise UserError(
            "model.attention is 'cudnn', which computes in half precision, but precision is "
            "float32: set precision=bfloat16, or model.attention=auto"
        )
