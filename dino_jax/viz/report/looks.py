"""What the teacher makes of a few fixed held-out images: its attention, and whom it finds near."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8

from dino_jax.config import Config
from dino_jax.data.decode import UnreadableImageError
from dino_jax.data.evaluation import eval_image
from dino_jax.data.source import Source
from dino_jax.models.build import Model
from dino_jax.ops.photometric import normalise
from dino_jax.types import Params

NUMBER, NEIGHBOURS = 6, 5
PATCHES = 16
"""Patches along a side of what attention is shown on: more than in training, for shapes."""
THUMB = 64
_BANK, _BANK_BYTES = 512, 32 << 20  # training images among which neighbours are sought
_BATCH = 64
_LOOKED_AT = 8  # images of a class of which the one with most contrast is taken


class Images(NamedTuple):
    """Some images of a source: what a network reads of them, and thumbnails."""

    indices: Int[np.ndarray, " n"]
    names: list[str]
    classes: list[str]
    pixels: UInt8[np.ndarray, "n size size c"]
    thumbs: UInt8[np.ndarray, "n thumb thumb c"]


def opened(source: Source, indices: Sequence[int], *, size: int, resize: int | None) -> Images:
    """Read the images that can be read."""

    def read(index: int) -> tuple[np.ndarray, np.ndarray] | None:
        try:
            image = source.load(index)
        except UnreadableImageError:  # named when an evaluation or the training comes upon it
            return None
        pixels = eval_image(image, size=size, resize=resize)
        return pixels, eval_image(image, size=THUMB, resize=THUMB)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = list(zip(indices, pool.map(read, indices), strict=True))
    kept = [(index, *pair) for index, pair in found if pair is not None]
    index = [int(each[0]) for each in kept]
    labels = [source.label(each) for each in index]
    names = source.class_names
    channels = source.channels
    return Images(
        np.array(index, np.int64),
        [source.name(each).rsplit("/", 1)[-1] for each in index],
        ["" if at is None or at >= len(names) else names[at] for at in labels],
        _stacked([each[1] for each in kept], (size, size, channels)),
        _stacked([each[2] for each in kept], (THUMB, THUMB, channels)),
    )


def _stacked(images: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    return np.stack(images) if images else np.zeros((0, *shape), np.uint8)


def chosen(source: Source, number: int) -> list[int]:
    """At most `number` images that may be shown: of classes evenly, in each that of most contrast.

    Without labels, of equal stretches of the source. A function of the images alone.
    """
    may = np.array([i for i in range(len(source)) if source.may_be_shown(i)], np.int64)
    if source.labels is None:
        groups = np.array_split(may, min(number, max(len(may), 1)))
    else:
        present = np.unique(source.labels[may])
        wanted = np.linspace(0, len(present) - 1, min(number, len(present))).round().astype(int)
        groups = [may[source.labels[may] == label] for label in present[wanted]]
    best = (_most_contrast(source, group) for group in groups)
    return [index for index in best if index is not None]


def _most_contrast(source: Source, group: Int[np.ndarray, " n"]) -> int | None:
    number = min(_LOOKED_AT, len(group))
    candidates = group[np.linspace(0, len(group) - 1, number).round().astype(int)]
    images = opened(source, [int(i) for i in candidates], size=32, resize=32)
    if not len(images.indices):
        return None
    return int(images.indices[np.argmax([float(np.std(image)) for image in images.pixels])])


class Looks:
    """The fixed images and the compiled functions that look at them."""

    def __init__(self, model: Model, config: Config, train: Source, held_out: Source) -> None:
        """Read the images; nothing is compiled yet."""
        size, resize = config.crops.global_size, config.eval.resize
        queries = chosen(held_out, NUMBER)
        self.heads = model.heads
        self.queries = opened(held_out, queries, size=size, resize=resize)
        self.large = self.queries
        if model.heads:
            side = PATCHES * model.patch_size
            self.large = opened(held_out, queries, size=side, resize=side)
        may = [i for i in range(len(train)) if train.may_be_shown(i)]
        most = max(1, min(_BANK, _BANK_BYTES // (size * size * train.channels)))
        taken = np.linspace(0, len(may) - 1, min(most, len(may))).round().astype(int)
        self.bank = opened(train, [may[i] for i in taken], size=size, resize=resize)

        def normal(images: jax.Array) -> jax.Array:
            return normalise(images, config.data.mean, config.data.std)

        @jax.jit
        def attention(params: Params, images: jax.Array) -> jax.Array:
            maps = model.features(params, normal(images), attention=True).attention
            return jnp.asarray(maps)[:, :, 0, 1:].mean(axis=1)  # of the CLS token, over the heads

        @jax.jit
        def features(params: Params, images: jax.Array) -> jax.Array:
            return model.features(params, normal(images)).cls

        self._attention, self._features = attention, features

    def attention(self, teacher: Params) -> Float[np.ndarray, "n rows columns"] | None:
        """The last block's attention of CLS, mean over the heads; None of what has no attention."""
        if not self.heads or not len(self.large.indices):
            return None
        flat = np.asarray(self._attention(teacher, self.large.pixels), np.float32)
        return flat.reshape(len(flat), PATCHES, PATCHES)

    def neighbours(self, teacher: Params) -> dict[str, np.ndarray]:
        """The `NEIGHBOURS` nearest training images of each query, by the cosine of the features."""
        bank, queries = (
            _unit(self._all(teacher, part.pixels)) for part in (self.bank, self.queries)
        )
        products = queries @ bank.T
        nearest = np.argsort(-products, axis=1, kind="stable")[:, :NEIGHBOURS]
        return {
            "similarity": np.take_along_axis(products, nearest, axis=1).astype(np.float32),
            "thumbs": self.bank.thumbs[nearest],
            "classes": np.array(self.bank.classes, str)[nearest],
            "bank": np.array(len(bank)),
        }

    def _all(self, params: Params, images: UInt8[np.ndarray, "n h w c"]) -> np.ndarray:
        rows = min(_BATCH, max(len(self.bank.indices), 1))
        parts = []
        for start in range(0, len(images), rows):
            part = images[start : start + rows]
            filled = np.concatenate([part, np.repeat(part[-1:], rows - len(part), axis=0)])
            parts.append(np.asarray(self._features(params, filled), np.float32)[: len(part)])
        return np.concatenate(parts)


def own(params: Params) -> Params:
    """A copy of the backbone's tensors as this process holds them, which the next step leaves be.

    On one device, whatever the mesh: other processes take no part in what is made of them.
    """
    here = jax.local_devices()[0]
    return {
        name: jax.device_put(np.array(value.addressable_data(0)), here)
        for name, value in params.items()
        if name.startswith("backbone.")
    }


def _unit(rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
