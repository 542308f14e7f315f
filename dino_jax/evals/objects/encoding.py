"""What a network says of where things are: its last attention, and patches to compare."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from dino_jax.config import UserError
from dino_jax.evals.dense.stream import Dense, DenseExtractor
from dino_jax.evals.encoder import NETWORK, Encoder
from dino_jax.ops.attention_mask import centred_map
from dino_jax.types import Params

KEYS, PATCHES = "keys", "patches"
_SMALLEST = 1e-4  # of the final norm's weight, below which it cannot be undone


class Encoded(NamedTuple):
    """One image: attention of the class token to each patch, by head, and a feature a patch."""

    attention: Float[np.ndarray, "heads rows columns"]
    features: Float[np.ndarray, "rows columns width"]


class Reading(NamedTuple):
    """How images are read: what runs over them, and what its numbers are."""

    extractor: DenseExtractor
    heads: int
    """0 of what has no network: a map that knows no image stands for the attention."""
    features: str
    """`keys` or `patches`."""

    def encoded(self, found: Dense) -> Encoded:
        """The parts of one image's flat feature."""
        rows, columns = found.rows, found.columns
        held = self.heads * rows * columns
        features = found.feature[held:].reshape(rows, columns, -1)
        if not self.heads:
            return Encoded(centred_map(rows, columns)[None], features)
        return Encoded(found.feature[:held].reshape(self.heads, rows, columns), features)


def open_reading(encoder: Encoder, *, features: str, mesh: Mesh, batch_size: int) -> Reading:
    """Attention of the last block, and its keys or the patches after the final norm.

    `keys` are only of a vision transformer of two blocks or more; other networks give patches, and
    what is no network gives patches, and no attention.

    Raises:
        UserError: a network without attention.
    """
    network = encoder.kind == NETWORK
    if network and not encoder.heads:
        raise UserError(
            f"{encoder.name} is a {encoder.arch}, which has no attention: give a ViT or an XCiT"
        )
    keys = _keys(encoder) if features == KEYS else None

    def function(params: Params, images: Array) -> Array:
        options = {"attention": True, "blocks": 2 if keys else 0} if network else {}
        found = encoder.features(params, images, **options)
        parts = [found.patches if keys is None else keys(params, found.blocks[0])]
        if found.attention is not None:
            parts.insert(0, found.attention[:, :, 0, 1:])
        return jnp.concatenate([each.reshape(len(images), -1) for each in parts], axis=1)

    extractor = DenseExtractor(encoder, function, mesh=mesh, batch_size=batch_size)
    return Reading(extractor, encoder.heads, PATCHES if keys is None else KEYS)


def _keys(encoder: Encoder) -> Callable[[Params, Array], Array] | None:
    """What gives the last block's keys (batch, patches, width) of what enters it, final-normed.

    The final norm and the block's own first norm differ only in their weights and biases, so that
    the one is undone and the other applied. None where there is no such block.
    """
    names = {
        "qkv": f"backbone.blocks.{encoder.depth - 1}.attn.qkv",
        "own": f"backbone.blocks.{encoder.depth - 1}.norm1",
        "final": "backbone.norm",
    }
    known = encoder.params
    if encoder.arch.startswith("xcit") or encoder.depth < 2 or f"{names['own']}.bias" not in known:
        return None
    if float(jnp.abs(known[f"{names['final']}.weight"]).min()) < _SMALLEST:
        return None

    def keys(params: Params, tokens: Array) -> Array:
        scale, shift = (params[f"{names['final']}.{part}"] for part in ("weight", "bias"))
        plain = (tokens[:, 1:] - shift[None, None]) / scale[None, None]
        scale, shift = (params[f"{names['own']}.{part}"] for part in ("weight", "bias"))
        entering = plain * scale[None, None] + shift[None, None]
        # Rows of the fused projection: queries, keys, values.
        weight = jnp.split(params[f"{names['qkv']}.weight"], 3)[1]
        found = jnp.matmul(entering, weight.T, precision=jax.lax.Precision.HIGHEST)
        bias = params.get(f"{names['qkv']}.bias")
        return found if bias is None else found + jnp.split(bias, 3)[1][None, None]

    return keys
