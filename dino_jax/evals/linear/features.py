"""What a linear classifier is fed with, by architecture (eval_linear.py; reference.md 1.10)."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from dino_jax.config import UserError
from dino_jax.config.architectures import ARCHITECTURES
from dino_jax.evals.features import FeatureFunction
from dino_jax.interop.encoder import NETWORK, Encoder
from dino_jax.types import Params


class Inputs(NamedTuple):
    """One kind of feature: its name in the store, what it is in words, and the function."""

    what: str
    said: str
    function: FeatureFunction


def linear_inputs(
    encoder: Encoder, *, n_last_blocks: int | None = None, avgpool: bool | None = None
) -> Inputs:
    """The reference's features of an architecture, or what the options ask for.

    Vision transformers give the class tokens of their last blocks, each through the final norm,
    joined: four of vit_tiny and vit_small, and of vit_base one, interleaved with the mean patch
    token of the last block (cls 0, mean 0, cls 1, mean 1, ...). All others give their feature.

    Raises:
        UserError: an option that this architecture or the reference has no features for.
    """
    transformer = encoder.kind == NETWORK and ARCHITECTURES[encoder.arch].family == "vit"
    if not transformer:
        if n_last_blocks is not None or avgpool:
            flag = "--avgpool" if n_last_blocks is None else "--n-last-blocks"
            raise UserError(
                f"{flag}: {encoder.arch} has one feature to an image; leave the option away"
            )
        return one_feature(encoder)
    base = encoder.arch == "vit_base"
    pooled = (base and n_last_blocks in (None, 1)) if avgpool is None else avgpool
    blocks = n_last_blocks or (1 if base or pooled else min(4, encoder.depth))
    if not 1 <= blocks <= encoder.depth or n_last_blocks == 0:
        raise UserError(
            f"--n-last-blocks={n_last_blocks}: expected 1 to {encoder.depth}, the network's blocks"
        )
    if pooled and blocks > 1:
        raise UserError(
            f"--n-last-blocks={blocks} with --avgpool: the reference has no such feature; "
            "leave one of them away"
        )
    if pooled:
        said = "class token and mean patch token of the last block, interleaved"
        return Inputs("cls+mean-interleaved", said, _interleaved(encoder))
    if blocks == 1:
        return one_feature(encoder)
    said = f"class tokens of the last {blocks} blocks"
    return Inputs(f"cls-last-{blocks}", said, _class_tokens(encoder, blocks))


def one_feature(encoder: Encoder) -> Inputs:
    """The feature of an image that k-NN takes too: the class token, or a ResNet's mean."""

    def function(params: Params, images: Array) -> Array:
        return encoder.features(params, images).cls

    return Inputs("cls", "the feature of the image (class token)", function)


def _class_tokens(encoder: Encoder, blocks: int) -> FeatureFunction:
    def function(params: Params, images: Array) -> Array:
        found = encoder.features(params, images, blocks=blocks)
        return jnp.concatenate([block[:, 0] for block in found.blocks], axis=-1)

    return function


def _interleaved(encoder: Encoder) -> FeatureFunction:
    def function(params: Params, images: Array) -> Array:
        found = encoder.features(params, images)
        pair = jnp.stack([found.cls, jnp.mean(found.patches, axis=1)], axis=-1)
        return pair.reshape(len(pair), -1)

    return function
