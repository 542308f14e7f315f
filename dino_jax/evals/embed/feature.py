"""Which of a network's features a text such as `cls` or `block:-2:patches` names."""

import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dino_jax.config import UserError
from dino_jax.evals.features import FeatureFunction
from dino_jax.interop.encoder import NETWORK, Encoder
from dino_jax.models.xcit import CLASS_BLOCKS
from dino_jax.types import Params

PARTS = ("cls", "patch-mean", "cls+patch-mean", "patches", "tokens")
FORMS = f"{', '.join(PARTS)}, or one of them of a block: block:N, block:N:PART"
_FORM = re.compile(r"(?:block:(?P<block>-?\d{1,4})(?::(?=.)|$))?(?P<part>.*)")


class Feature(NamedTuple):
    """A part of the tokens of one block, through the final norm.

    `block` counts from 0, or from the end if negative; None is the output of the network, which
    every architecture has.
    """

    part: str = "cls"
    block: int | None = None


def parse_feature(text: str) -> Feature:
    """Read `PART`, `block:N` (its CLS token) or `block:N:PART`. Raises `UserError` for others."""
    match = _FORM.fullmatch(text)
    if match is not None and match["block"] and not match["part"]:
        return Feature(block=int(match["block"]))
    if match is None or match["part"] not in PARTS:
        raise UserError(f"--feature={text}: expected {FORMS}")
    return Feature(match["part"], None if match["block"] is None else int(match["block"]))


def feature_function(encoder: Encoder, feature: Feature) -> FeatureFunction:
    """From normalised images to one row (D,) an image: what `feature` names, flattened.

    Raises:
        UserError: a block that the network has not, or cannot give.
    """
    shaped = _shaped(encoder, feature)

    def function(params: Params, images: Array) -> Float[Array, "batch row"]:
        return shaped(params, images).reshape(len(images), -1)

    return function


def feature_shape(encoder: Encoder, feature: Feature) -> tuple[int, ...]:
    """The shape of one image's feature at the encoder's size: (D,), or (tokens, D).

    Raises:
        UserError: as `feature_function`.
    """
    size, channels = encoder.size, encoder.channels
    images = jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)
    found = jax.eval_shape(_shaped(encoder, feature), encoder.params, images)
    return tuple(found.shape[1:])


def _shaped(encoder: Encoder, feature: Feature) -> Callable[..., Array]:
    back = _from_the_end(encoder, feature)

    def function(params: Params, images: Array) -> Array:
        found = encoder.features(params, images, blocks=back)
        tokens = found.blocks[0] if back else None
        cls = found.cls if tokens is None else tokens[:, 0]
        patches = found.patches if tokens is None else tokens[:, 1:]
        return _part(feature.part, cls, patches)

    return function


def _from_the_end(encoder: Encoder, feature: Feature) -> int:
    """How many of the last blocks have to be kept for the one asked for to be the first of them."""
    block = feature.block
    if encoder.kind != NETWORK and (block is not None or feature.part == "tokens"):
        raise UserError(f"{encoder.name} has no blocks and no tokens: ask for cls or patches")
    if block is None:
        return 0
    if not encoder.heads:
        raise UserError(f"--feature=block:{block}: {encoder.arch} has no blocks of tokens")
    xcit = encoder.arch.startswith("xcit")
    count = CLASS_BLOCKS if xcit else encoder.depth
    if not -count <= block < count:
        raise UserError(
            f"--feature=block:{block}: {encoder.arch} has {count} blocks"
            f"{' with a class token' if xcit else ''}, 0 to {count - 1} or -1 to -{count}"
        )
    return count - block % count


def _part(
    part: str, cls: Float[Array, "batch _"], patches: Float[Array, "batch patches _"]
) -> Float[Array, "batch ..."]:
    if part == "cls":
        return cls
    if part == "patches":
        return patches
    if part == "tokens":
        return jnp.concatenate([cls[:, None], patches], axis=1)
    mean = patches.mean(axis=1)
    return mean if part == "patch-mean" else jnp.concatenate([cls, mean], axis=1)
