"""What a network says of where things are: its last attention, and patches to compare."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from dino_jax.config import UserError
from dino_jax.evals.dense.stream import Dense, DenseExtractor
from dino_jax.interop.encoder import NETWORK, Encoder
from dino_jax.models.vit import Features
from dino_jax.ops.attention_mask import centred_map
from dino_jax.types import Params

KEYS, PATCHES = "keys", "patches"


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

    `keys` are only of a vision transformer; other networks give patches, and what is no network
    gives patches, and no attention.

    Raises:
        UserError: a network without attention.
    """
    network = encoder.kind == NETWORK
    if network and not encoder.heads:
        raise UserError(
            f"{encoder.name} is a {encoder.arch}, which has no attention: give a ViT or an XCiT"
        )
    keys = features == KEYS and network and not encoder.arch.startswith("xcit")

    def function(params: Params, images: Array) -> Array:
        options = {"attention": True, "projections": int(keys)} if network else {}
        found = encoder.features(params, images, **options)
        parts = [_keys(found) if keys else found.patches]
        if found.attention is not None:
            parts.insert(0, found.attention[:, :, 0, 1:])
        return jnp.concatenate([each.reshape(len(images), -1) for each in parts], axis=1)

    extractor = DenseExtractor(encoder, function, mesh=mesh, batch_size=batch_size)
    return Reading(extractor, encoder.heads, KEYS if keys else PATCHES)


def _keys(found: Features) -> Float[Array, "batch patches width"]:
    """The last block's keys of the patches, heads side by side as its projection has them."""
    keys = found.projections[-1][:, 1, :, 1:].swapaxes(1, 2)
    return keys.reshape(*keys.shape[:2], -1)
