"""The tiny XCiT of the golden tensors, as ours; the formula of its weights and statistics."""

import json
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dino_jax.config import HeadConfig, ModelConfig
from dino_jax.models.backbone import Backbone, build_backbone
from dino_jax.models.build import Model, build
from dino_jax.types import Params, Stats
from tests import golden

FOLDER = pathlib.Path(__file__).parent / "backbones"
META = json.loads((FOLDER / "meta.json").read_text())
SIZES = [tuple(size) for size in META["sizes"]]
KEYS_OF_CLASS_BLOCKS = r"cls_attn_blocks\.\d\.attn\.qkv\.bias"
"""A softmax is blind to what is added to all its logits: the K third has a true gradient of 0."""


def arrays(name: str) -> dict[str, np.ndarray]:
    """Every array of one committed file."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file}


def model_config(patch_size: int = 8, *, blocks: str = "unrolled") -> ModelConfig:
    sizes = META["xcit"]
    return ModelConfig(
        arch="xcit_small_12",
        width=sizes["embed_dim"],
        depth=sizes["depth"],
        heads=sizes["num_heads"],
        patch_size=patch_size,
        blocks=blocks,
    )


def backbone(patch_size: int = 8, *, tokens_norm: bool = True, **options: Any) -> Backbone:
    made = build_backbone(
        model_config(patch_size, **options),
        image_size=META["global_size"],
        dtype=jnp.float32,
        drop_path=0.0,
    )
    return made._replace(module=made.module.clone(tokens_norm=tokens_norm))


def tokens(height: int, width: int, made: Backbone) -> int:
    """Every begun patch is one."""
    return -(-height // made.patch_size) * -(-width // made.patch_size)


def network(*, batch_norm: bool, norm_last_layer: bool, **options: Any) -> Model:
    head = HeadConfig(
        prototypes=META["prototypes"],
        hidden=META["head"]["hidden_dim"],
        bottleneck=META["head"]["bottleneck_dim"],
        batch_norm=batch_norm,
        norm_last_layer=norm_last_layer,
    )
    return build(model_config(**options), head, image_size=META["global_size"])


def used_statistic(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A buffer as of a trained network, which evaluation reads."""
    if name.endswith("num_batches_tracked"):
        return np.asarray(7, np.int32)
    u = golden.uniform(name, shape)
    return (0.2 * u if name.endswith("running_mean") else 1 + 0.5 * u).astype(np.float32)


def filled(made: Backbone | Model, prefix: str, **options: Any) -> tuple[Params, Stats]:
    """Parameters by the formula, and statistics as they begin."""
    params, stats = jax.eval_shape(made.init, jax.random.key(0))
    weights = {
        name: jnp.asarray(golden.weight(prefix + name, leaf.shape, **options))
        for name, leaf in params.items()
    }
    return weights, {
        name: jnp.asarray(golden.weight(prefix + name, leaf.shape).astype(leaf.dtype))
        for name, leaf in stats.items()
    }


def used(stats: Stats, prefix: str) -> Stats:
    return {
        name: jnp.asarray(used_statistic(prefix + name, leaf.shape)) for name, leaf in stats.items()
    }


def images(name: str, batch: int, height: int, width: int) -> jax.Array:
    """An input of the golden runs, NHWC."""
    x = golden.inputs(f"{META['input_tag']['xcit']}_{name}", (batch, 3, height, width))
    return jnp.asarray(np.moveaxis(x, 1, -1))


def crops(step: int) -> dict[str, jax.Array]:
    """The crops of one step, batch-major."""
    sizes = {
        "views": ("g", META["views"], META["global_size"]),
        "locals": ("l", META["locals"], META["local_size"]),
    }
    return {
        name: jnp.stack(
            [images(f"tr{step}_{mark}{i}", META["batch"], side, side) for i in range(count)],
            axis=1,
        )
        for name, (mark, count, side) in sizes.items()
    }


def without_blind_keys(name: str, value: Any) -> np.ndarray:
    """Drop the K third where a softmax over tokens makes its gradient nothing but rounding."""
    parts = np.asarray(value)
    if not re.search(KEYS_OF_CLASS_BLOCKS, name):
        return parts
    width = len(parts) // 3
    return np.concatenate([parts[:width], parts[2 * width :]])
