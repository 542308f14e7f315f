"""The initial value of every parameter, by its name (reference: `_init_weights`, `DINOHead`).

The modules declare shapes; the values come from one table, so that it can be read against the
reference in one place, and each value depends on nothing but the key and the parameter's name.
"""

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from dino_jax.types import Params

Kind = Literal["normal", "torch_uniform", "ones", "zeros"]
Rule = tuple[str, Kind]
"""A pattern for the end of a name, and the kind of value its parameter begins with."""

DECLARED = jax.nn.initializers.zeros
"""What a module declares its parameters with: only the shape is read."""

VIT_RULES: Sequence[Rule] = (
    (r"cls_token|pos_embed", "normal"),
    # `_init_weights` touches linear layers and norms alone, and this one is a convolution.
    (r"patch_embed\.proj\.(weight|bias)", "torch_uniform"),
    (r"(qkv|proj|fc1|fc2)\.weight", "normal"),
    (r"bias", "zeros"),
)

HEAD_RULES: Sequence[Rule] = (
    # The last layer is made after the others have been initialised, and keeps PyTorch's default.
    (r"last_layer\.weight_v", "torch_uniform"),
    (r"last_layer\.weight_g", "ones"),
    (r"mlp(\.\d+)?\.weight", "normal"),
    (r"bias", "zeros"),
)


def initial_value(
    kind: Kind, key: Key[Array, ""], shape: tuple[int, ...], fan_in: int
) -> Float[Array, "..."]:
    """One parameter, float32.

    `normal` is Normal(0, 0.02). The reference truncates it at an absolute 2, a hundred standard
    deviations, which no draw reaches; truncating at two deviations would leave one of 0.0176.
    `torch_uniform` is U(±1/sqrt(fan_in)), PyTorch's default for linear layers and convolutions.
    """
    if kind == "normal":
        return 0.02 * jax.random.normal(key, shape, jnp.float32)
    if kind == "torch_uniform":
        bound = fan_in**-0.5
        return jax.random.uniform(key, shape, jnp.float32, -bound, bound)
    return jnp.full(shape, kind == "ones", jnp.float32)


def draw(key: Key[Array, ""], declared: Mapping[str, Any], rules: Sequence[Rule]) -> Params:
    """Values for every declared parameter, by the first rule that matches the end of its name.

    `declared` maps names to anything with a shape. A one-dimensional weight belongs to a norm
    and is one whatever the rules. Raises ValueError for a name that no rule covers.
    """
    params = {}
    for name, leaf in declared.items():
        matches = (kind for pattern, kind in rules if re.search(rf"(^|\.)({pattern})$", name))
        norm = name.endswith("weight") and len(leaf.shape) == 1
        kind = "ones" if norm else next(matches, None)
        if kind is None:
            raise ValueError(f"no rule says how to initialise {name}")
        # PyTorch bounds a bias by the fan-in of the weight beside it.
        weight = declared.get(re.sub(r"bias$", "weight", name), leaf)
        own = jax.random.fold_in(key, zlib.crc32(name.encode()))
        params[name] = initial_value(kind, own, tuple(leaf.shape), math.prod(weight.shape[1:]))
    return params
