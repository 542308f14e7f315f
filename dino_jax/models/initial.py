"""The initial value of every parameter, by its name (reference: `_init_weights`, `DINOHead`).

The modules declare shapes; the values come from one table, so that it can be read against the
reference in one place, and each value depends on nothing but the key, the parameter's name and
its shape.
"""

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from dino_jax.types import Params, Stats

Kind = Literal["normal", "kaiming_normal", "torch_uniform"] | float
"""What a parameter is drawn from, or the one number that it begins as."""
Rule = tuple[str, Kind]
"""A pattern for the end of a name, and the kind of value its parameter begins with."""

DECLARED = jax.nn.initializers.zeros
"""What a module declares its parameters with: only the shape is read."""

VIT_RULES: Sequence[Rule] = (
    (r"cls_token|pos_embed", "normal"),
    # `_init_weights` touches linear layers and norms alone, and this one is a convolution.
    (r"patch_embed\.proj\.(weight|bias)", "torch_uniform"),
    (r"(qkv|proj|fc1|fc2)\.weight", "normal"),
    (r"bias", 0.0),
)

RESNET_RULES: Sequence[Rule] = (
    # torchvision, resnet.py:208-213: every convolution, and no block begins as the identity.
    (r"conv\d\.weight|downsample\.0\.weight", "kaiming_normal"),
    (r"bias", 0.0),
)


def xcit_rules(layer_scale: float) -> Sequence[Rule]:
    """Those of XCiT, whose gammas begin as `layer_scale` (xcit.py:361-371)."""
    return (
        # `_init_weights` touches linear layers and norms alone, and these are convolutions.
        (
            r"(patch_embed\.proj\.\d\.0|local_mp\.conv\d|token_projection)\.(weight|bias)",
            "torch_uniform",
        ),
        (r"gamma\d", layer_scale),
        (r"temperature", 1.0),
        (r"cls_token|(qkv|proj|fc1|fc2)\.weight", "normal"),
        (r"bias", 0.0),
    )


HEAD_RULES: Sequence[Rule] = (
    # The last layer is made after the others have been initialised, and keeps PyTorch's default.
    (r"last_layer\.weight_v", "torch_uniform"),
    (r"last_layer\.weight_g", 1.0),
    (r"mlp(\.\d+)?\.weight", "normal"),
    (r"bias", 0.0),
)


STD = 0.02
"""Of `normal`."""
CHUNK = 4096
"""Numbers drawn from one key. Everything is drawn by one kernel over chunks: a kernel for each
shape would take XLA six times as long to compile."""


class _Declared(NamedTuple):
    """One parameter: what to draw for it. Hashable, since it decides the compiled program."""

    name: str
    shape: tuple[int, ...]
    kind: Kind
    scale: float
    """Times what is drawn."""

    @property
    def chunks(self) -> int:
        drawn = isinstance(self.kind, str)
        return -(-math.prod(self.shape) // CHUNK) if drawn else 0


def _uniform(key: Key[Array, ""], leaves: Sequence[_Declared]) -> Float[Array, "chunks _"]:
    """U(−1, 1) for every chunk of every leaf; a chunk depends on key, name and its number."""
    marks = [zlib.crc32(leaf.name.encode()) for leaf in leaves for _ in range(leaf.chunks)]
    numbers = [number for leaf in leaves for number in range(leaf.chunks)]

    def chunk(mark: Array, number: Array) -> Array:
        own = jax.random.fold_in(jax.random.fold_in(key, mark), number)
        # Open at −1, where the inverse error function is infinite.
        return jax.random.uniform(own, (CHUNK,), minval=np.nextafter(np.float32(-1), 0), maxval=1)

    return jax.vmap(chunk)(jnp.asarray(marks, jnp.uint32), jnp.asarray(numbers, jnp.uint32))


@partial(jax.jit, static_argnums=1)
def _values(key: Key[Array, ""], leaves: tuple[_Declared, ...]) -> Params:
    """Every parameter, float32.

    `normal` is Normal(0, 0.02). The reference truncates it at an absolute 2, a hundred standard
    deviations, which no draw reaches; truncating at two deviations would leave one of 0.0176.
    (Its float32 draws hit −infinity, clamped to −2, once in 2²⁴: an accident not repeated here.)
    `kaiming_normal` is Normal(0, sqrt(2 / fan_out)), not truncated either. `torch_uniform` is
    U(±1/sqrt(fan_in)), PyTorch's default for linear layers and convolutions.
    """
    # The barriers keep XLA from drawing everything again inside the kernel of each parameter.
    uniform = jax.lax.optimization_barrier(_uniform(key, leaves))
    normal = jax.lax.optimization_barrier(STD * math.sqrt(2) * jax.lax.erf_inv(uniform))
    params, start = {}, 0
    for leaf in leaves:
        if not isinstance(leaf.kind, str):
            params[leaf.name] = jnp.full(leaf.shape, leaf.kind, jnp.float32)
            continue
        source = uniform if leaf.kind == "torch_uniform" else normal
        flat = leaf.scale * source[start : start + leaf.chunks].reshape(-1)
        params[leaf.name] = flat[: math.prod(leaf.shape)].reshape(leaf.shape)
        start += leaf.chunks
    return params


def draw(key: Key[Array, ""], declared: Mapping[str, Any], rules: Sequence[Rule]) -> Params:
    """Values for every declared parameter, by the first rule that matches the end of its name.

    `declared` maps names to anything with a shape. A one-dimensional weight belongs to a norm
    and is one whatever the rules. Raises ValueError for a name that no rule covers.
    """
    leaves = []
    for name, leaf in declared.items():
        matches = (kind for pattern, kind in rules if re.search(rf"(^|\.)({pattern})$", name))
        norm = name.endswith("weight") and len(leaf.shape) == 1
        kind: Kind | None = 1.0 if norm else next(matches, None)
        if kind is None:
            raise ValueError(f"no rule says how to initialise {name}")
        # PyTorch bounds a bias by the fan-in of the weight beside it.
        weight = declared.get(re.sub(r"bias$", "weight", name), leaf)
        leaves.append(_Declared(name, tuple(leaf.shape), kind, _scale(kind, weight.shape)))
    return _values(key, tuple(leaves))


def _scale(kind: Kind, shape: tuple[int, ...]) -> float:
    """Of a parameter beside a weight of this shape: (out, in, …) in PyTorch's layout."""
    if kind == "torch_uniform":
        return math.prod(shape[1:]) ** -0.5
    if kind == "kaiming_normal":
        return math.sqrt(2 / (shape[0] * math.prod(shape[2:]))) / STD
    return 1.0


def fresh_stats(declared: Mapping[str, Any]) -> Stats:
    """Batch statistics before the first pass: variances are one, means and counters zero."""
    return {
        name: jnp.full(leaf.shape, name.endswith("running_var"), leaf.dtype)
        for name, leaf in declared.items()
    }
