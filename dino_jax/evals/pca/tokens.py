"""The patches of whole images: their features, and how much of CLS's attention each gets."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from dino_jax.config.architectures import ARCHITECTURES
from dino_jax.data.decode import UnreadableImageError
from dino_jax.data.source import Source
from dino_jax.evals.correspond.photograph import Photograph, photographed
from dino_jax.interop.encoder import Encoder, finite
from dino_jax.models.vit import Features
from dino_jax.types import Params


class Described(NamedTuple):
    """An image, a feature a patch row by row, and the attention: of the last block, heads averaged.

    The attention is None where the network has none.
    """

    photograph: Photograph
    features: Float[np.ndarray, "patches d"]
    attention: Float[np.ndarray, " patches"] | None


def described(
    encoder: Encoder, source: Source, indices: Int[np.ndarray, " n"], *, size: int
) -> Iterator[Described]:
    """The images that can be read, each at its own aspect; the others are named in the log.

    Raises:
        UserError: features that are not finite, or too few or too many patches.
    """
    asked: dict[str, Any] = {}
    if encoder.heads:
        # Of a ViT CLS alone is to answer: the map between all patches may take gigabytes.
        vit = ARCHITECTURES[encoder.arch].family == "vit"
        asked = {"projections": 1} if vit else {"attention": True}

    @jax.jit
    def describe(params: Params, images: Array) -> tuple[Array, Array | None]:
        found = encoder.features(params, encoder.prepared(images), **asked)
        return found.patches[0], _of_cls(found)

    for index in map(int, indices):
        try:
            pixels = source.load(index)
        except UnreadableImageError as error:
            source.name_unreadable(index, error)
            continue
        photograph = photographed(
            pixels, source.name(index), size=size, patch_size=encoder.patch_size
        )
        patches, attention = describe(encoder.params, photograph.pixels[None])
        known = None if attention is None else finite(np.asarray(attention, np.float32), encoder)
        yield Described(photograph, finite(np.asarray(patches, np.float32), encoder), known)


def _of_cls(found: Features) -> Float[Array, " patches"] | None:
    if found.projections:
        queries, keys = found.projections[-1][0]
        shares = jax.nn.softmax(jax.numpy.einsum("hc,htc->ht", queries[:, 0], keys), axis=-1)
        return shares[:, 1:].mean(axis=0)
    return None if found.attention is None else found.attention[0, :, 0, 1:].mean(axis=0)
