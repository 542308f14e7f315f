"""A folder of JPEG files of ImageNet's sizes, for a benchmark that reads real images.

Cut from the photographs that the wheels carry, at random places and scales, so that no two files
are alike; with some grain, which makes them about 100 kB each, as ImageNet's nearly are: the time
to decode a file grows with its bytes.
"""

import concurrent.futures
import pathlib

import numpy as np
from PIL import Image

from dino_jax.data.source import Source
from dino_jax.data.sources import open_source

LONG, SHORT = 500, 375
"""ImageNet's commonest size, in pixels."""
GRAIN = 12.0
"""Standard deviation of the grain, in grey levels."""


def write_photos(folder: pathlib.Path, count: int, *, seed: int = 0) -> int:
    """Write `count` files under `folder` and return how many bytes they are."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = open_source("embedded:photos")

    def write(index: int) -> int:
        path = folder / f"{index:05d}.jpg"
        _piece(photos, np.random.default_rng((seed, index))).save(path, quality=95)
        return path.stat().st_size

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return sum(pool.map(write, range(count)))


def _piece(photos: Source, random: np.random.Generator) -> Image.Image:
    """A random window of a random photograph, lying or standing."""
    photo = Image.fromarray(photos.load(int(random.integers(len(photos)))))
    width, height = (LONG, SHORT) if random.random() < 0.75 else (SHORT, LONG)
    room = min(photo.width / width, photo.height / height)
    scale = random.uniform(0.6, 1.0) * room
    left = random.uniform(0, photo.width - scale * width)
    top = random.uniform(0, photo.height - scale * height)
    box = (left, top, left + scale * width, top + scale * height)
    levels = np.asarray(photo.resize((width, height), Image.Resampling.BICUBIC, box=box))
    grain = random.normal(0, GRAIN, levels.shape[:2])[:, :, None]
    return Image.fromarray(np.clip(levels + grain, 0, 255).astype(np.uint8))
