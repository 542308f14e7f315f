"""Small folders laid out as the benchmarks, and requests as the command makes them."""

import dataclasses
import json
import pathlib

import jax
import numpy as np
from PIL import Image

from dino_jax.config import HeadConfig, ModelConfig
from dino_jax.config.protocol_options import CopyDetectionOptions, RetrievalOptions
from dino_jax.evals.protocol import Request
from dino_jax.interop.encoder import NETWORK, Encoder, open_encoder
from dino_jax.models.build import build
from tests.evals import requests

SCENES = 4
COPIES = 3


def network() -> Encoder:
    """A vision transformer of one block, patches of 8 pixels, not trained."""
    shape = ModelConfig(width=32, depth=1, heads=2, patch_size=8)
    model = build(shape, HeadConfig(prototypes=8, hidden=8, bottleneck=4), image_size=32)
    return dataclasses.replace(
        open_encoder("pixels"),
        spec="tiny", name="tiny", kind=NETWORK, identity="tiny", features=model.features,
        params=model.init(jax.random.key(0))[0], mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4),
    )  # fmt: skip


def request(data, options, encoder=None, *, cache=None, devices=1, batch=4) -> Request:
    return requests.request(
        open_encoder("colour") if encoder is None else encoder, options, data,
        cache=cache, devices=devices, batch=batch,
    )  # fmt: skip


def retrieval(data, encoder: Encoder | None = None, *, cache=None, devices=1, **options):
    own = RetrievalOptions(**{"longest": 32, **options})
    return request(data, own, encoder, cache=cache, devices=devices)


def copies(data, encoder: Encoder | None = None, *, cache=None, devices=1, **options):
    own = CopyDetectionOptions(**{"side": 32, "top": 3, **options})
    return request(data, own, encoder, cache=cache, devices=devices)


def scene(number: int, *, noise: int = 0, sides: tuple[int, int] = (40, 60)) -> np.ndarray:
    """A picture in the few colours of its scene, in another order with every `noise`."""
    colours = np.random.default_rng(number).integers(0, 256, (6, 3))
    places = np.random.default_rng([number, noise]).integers(0, 6, (sides[0] // 4, sides[1] // 4))
    return np.kron(colours[places], np.ones((4, 4, 1))).astype(np.uint8)


def landmarks(folder: pathlib.Path) -> dict:
    """`jpg/` with three views of each of four scenes, of two sizes; a query of each scene.

    Of a scene the first view is easy, the second hard, the third junk. Returns the ground truth.
    """
    (folder / "jpg").mkdir(parents=True)
    told = {"imlist": [], "qimlist": [], "gnd": []}
    for number in range(SCENES):
        for copy in range(COPIES):
            sides = (40, 60) if copy else (60, 40)
            told["imlist"].append(f"scene{number}_{copy}")
            save(
                folder / "jpg" / f"scene{number}_{copy}.jpg", scene(number, noise=copy, sides=sides)
            )
        first = COPIES * number
        told["qimlist"].append(f"query{number}")
        save(folder / "jpg" / f"query{number}.jpg", scene(number, noise=9))
        entry = {"easy": [first], "hard": [first + 1], "junk": [first + 2]}
        told["gnd"].append(entry | {"bbx": [4.0, 4.0, 40.0, 36.0]})
    write(folder, told)
    return told


def write(folder: pathlib.Path, told) -> None:
    (folder / "gnd_scenes.json").write_text(json.dumps(told))


def copydays(folder: pathlib.Path) -> None:
    """Four originals with a strong attack each (the first has two), a jpeg and a crop."""
    for number in range(SCENES):
        name = f"{2000 + number}00.jpg"
        image = scene(number)
        save(folder / "original" / name, image)
        for copy in range(2 if number == 0 else 1):
            strong = scene(number, noise=1 + copy)
            save(folder / "strong" / f"{2000 + number}0{copy + 1}.jpg", strong)
        save(folder / "jpegqual" / "5" / name, image, quality=5)
        save(folder / "jpegqual" / "20" / name, image, quality=20)
        save(folder / "crops" / "50" / name, image[8:, 8:])


def pictures(folder: pathlib.Path, count: int, first: int = 100) -> pathlib.Path:
    for number in range(first, first + count):
        save(folder / f"{number}.jpg", scene(number))
    return folder


def save(path: pathlib.Path, image: np.ndarray, quality: int = 95) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, quality=quality)
