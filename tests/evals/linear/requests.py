"""Requests of the linear and logistic protocols on coloured images, and a network for them."""

import numpy as np
from PIL import Image

from dino_jax.evals.protocol import Request
from dino_jax.evals.store import FeatureStore
from dino_jax.train.sharding import make_mesh
from tests.evals.embed.networks import encoder

CLASSES = ("n01440764", "n02979186", "n03888257")
COLOURS = np.array([[200, 60, 60], [60, 180, 60], [60, 60, 200]])


def folder(path, count, *, classes=CLASSES, seed=0, noise=45):
    """`count` noisy images of about one colour to each class, in folders."""
    random = np.random.default_rng(seed)
    for number, name in enumerate(classes):
        (path / name).mkdir(parents=True, exist_ok=True)
        for each in range(count):
            shape = (24, 20, 3) if each % 2 else (20, 28, 3)
            pixels = COLOURS[number % 3] + random.normal(0, noise, 3) + random.normal(0, 20, shape)
            image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            image.save(path / name / f"{name}_{seed}{each:02d}.png")
    return path


def request(data, val, options, *, network=None, out=None, cache=None, devices=1, seed=0):
    return Request(
        encoder=encoder() if network is None else network,
        data=str(data),
        val=None if val is None else str(val),
        out=out,
        store=FeatureStore(cache),
        mesh=make_mesh(devices),
        batch_size=8,
        seed=seed,
        options=options,
    )
