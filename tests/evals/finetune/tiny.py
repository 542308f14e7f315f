"""A network that trains in a second, images that colour tells apart, and a request about them."""

import pathlib
from typing import Any

import numpy as np
from PIL import Image

from dino_jax.config import ModelConfig
from dino_jax.config.protocol_options import FinetuneOptions
from dino_jax.evals.protocol import Request
from dino_jax.evals.store import FeatureStore
from dino_jax.interop.encoder import Encoder, open_encoder
from dino_jax.interop.formats import safetensors
from dino_jax.train.sharding import make_mesh
from tests.interop import networks

SIZE = 16
MODEL = ModelConfig(arch="vit_tiny", patch_size=8, width=16, depth=1, heads=2)
COLOURS = {"blue": (40, 60, 190), "green": (50, 180, 60), "red": (200, 50, 40)}
OPTIONS: dict[str, Any] = {
    "recipe": "imagenet", "epochs": 4.0, "warmup_epochs": 1.0, "batch_size": 16, "mix_group": 8,
    "learning_rate": 0.003, "rate_of": 16, "repeats": 2, "ema": 0.9, "head_scale": 1.0,
    "log_every": 3, "threads": 2,
}  # fmt: skip


def encoder(folder: pathlib.Path, model: ModelConfig = MODEL, size: int = SIZE) -> Encoder:
    """Weights as a used network has them, opened from a file."""
    folder.mkdir(exist_ok=True)
    network = networks.network(model, (size, size) if model is MODEL else (224, 224))
    safetensors.save(networks.weights(network), folder)
    return open_encoder(str(folder), size=size)


def images(folder: pathlib.Path, count: int, *names: str) -> str:
    """A folder of `count` pictures to each class, each about the colour of its class."""
    random = np.random.default_rng(count)
    for name in names or tuple(COLOURS):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            noise = random.normal(0, 25, (20, 24, 3)) + np.array(COLOURS.get(name, (128,) * 3))
            picture = np.clip(noise, 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(folder / name / f"{number}.png")
    return f"folder:{folder}"


def request(
    network: Encoder, data: str, val: str, out: pathlib.Path, *, devices: int = 1, **options: Any
) -> Request:
    """What the command would hand to the protocol."""
    return Request(
        network, data, val, out, FeatureStore(None), make_mesh(devices),
        batch_size=8, seed=3, options=FinetuneOptions(**{**OPTIONS, **options}),
    )  # fmt: skip
