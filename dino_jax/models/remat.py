"""What the backward pass of a block computes again instead of keeping it (`model.remat`)."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

PRODUCT = "product"

POLICIES: dict[str, Callable[..., Any] | None] = {
    "dots": jax.checkpoint_policies.save_only_these_names(PRODUCT),
    "blocks": None,
}


def product(y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The same array, marked as the result of a product with weights: `dots` keeps it."""
    return checkpoint_name(y, PRODUCT)


def rematerialised(call: Callable[..., Any], remat: str) -> Callable[..., Any]:
    """`call(module, *arrays)`, of which the backward pass keeps what `remat` says.

    `none`: all it needs; `dots`: the arrays and the results of products with weights, so that
    attention, norms and GELU are computed again; `blocks`: the arrays alone. The numbers are the
    same. XLA:CPU sees through what is to keep the two computations apart and merges them: there
    memory is saved by the scanned blocks alone.
    """
    return call if remat == "none" else nn.remat(call, policy=POLICIES[remat])


def rematerialised_body(body: Callable[..., Any], remat: str) -> Callable[..., Any]:
    """The same for the body of a `lax.scan`, a function of arrays."""
    if remat == "none":
        return body
    # Between iterations nothing can be merged: the barrier against it would only cost time.
    return jax.checkpoint(body, policy=POLICIES[remat], prevent_cse=False)
