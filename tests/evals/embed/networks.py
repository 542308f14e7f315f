"""Encoders small enough to run in a moment."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from dino_jax.config import HeadConfig, ModelConfig
from dino_jax.interop.encoder import NETWORK, Encoder
from dino_jax.models.build import build

SIZE, PATCH, WIDTH, DEPTH = 16, 8, 16, 2
VIT = ModelConfig(arch="vit_tiny", patch_size=PATCH, width=WIDTH, depth=DEPTH, heads=2)
SHALLOW = ModelConfig(arch="vit_tiny", patch_size=PATCH, width=8, depth=1, heads=2)
HEAD = HeadConfig(prototypes=8, hidden=8, bottleneck=4)


def encoder(config: ModelConfig = VIT, *, seed: int = 0, size: int = SIZE) -> Encoder:
    """An untrained network; `identity` is told by the seed. All is 0 if seed < 0."""
    told = config.arch, config.patch_size, config.width, config.depth, config.heads
    return _encoder(told, seed, size)


@functools.cache
def _encoder(told: tuple, seed: int, size: int) -> Encoder:
    arch, patch, width, depth, heads = told
    config = ModelConfig(arch=arch, patch_size=patch, width=width, depth=depth, heads=heads)
    model = build(config, HEAD, image_size=size)
    if seed < 0:
        shapes = jax.eval_shape(model.init, jax.random.key(0))
        params, stats = jax.tree.map(lambda leaf: jnp.asarray(np.zeros(leaf.shape)), shapes)
    else:
        params, stats = jax.jit(model.init)(jax.random.key(seed))
    return Encoder(
        spec="small", name="small", kind=NETWORK, identity=f"small {seed}",
        params={k: v for k, v in {**params, **stats}.items() if k.startswith("backbone.")},
        size=size, resize=None, mean=(0.5,) * 3, std=(0.25,) * 3, channels=3,
        patch_size=model.patch_size, width=model.width, depth=model.depth, heads=model.heads,
        arch=config.arch, precision="float32", features=model.features, model=model,
    )  # fmt: skip
