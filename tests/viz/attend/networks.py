"""Networks small enough to run in a moment, of every kind."""

import dataclasses
import functools
from collections.abc import Callable

import jax.numpy as jnp

from dino_jax.config import ModelConfig
from dino_jax.interop.encoder import Encoder, open_encoder
from tests.evals.embed.networks import encoder

PATCH, DEPTH, HEADS = 8, 2, 2


@functools.cache
def vit(seed: int = 0) -> Encoder:
    """Two blocks of two heads, patches of 8."""
    return encoder(seed=seed)


@functools.cache
def fine() -> Encoder:
    """One block of two heads, patches of 4."""
    return encoder(ModelConfig(arch="vit_tiny", patch_size=4, width=8, depth=1, heads=2))


@functools.cache
def xcit() -> Encoder:
    """Two class blocks of two heads, patches of 8."""
    return encoder(ModelConfig(arch="xcit_small_12", patch_size=8, width=16, depth=1, heads=2))


def resnet() -> Encoder:
    """No attention."""
    return dataclasses.replace(vit(), name="resnet", arch="resnet50", heads=0)


def pixels() -> Encoder:
    """No network."""
    return open_encoder("pixels")


def diverged(of: Callable[[], Encoder] = vit) -> Encoder:
    """The same, as a run leaves it that diverged: every weight of its blocks is NaN."""
    whole = of()
    params = {
        name: jnp.full_like(value, jnp.nan) if ".blocks." in name or "cls" in name else value
        for name, value in whole.params.items()
    }
    return dataclasses.replace(whole, params=params)
