"""The patch tokens a probe is trained on, in a file rather than in memory."""

import hashlib
import json
import os
import pathlib
import tempfile
from typing import IO, NamedTuple

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, UInt8

from dino_jax.data.masked import MaskedImages
from dino_jax.evals.dense.stream import DenseExtractor, fitted, read_ahead
from dino_jax.evals.dense.waiting import with_bar
from dino_jax.evals.store import FeatureStore
from dino_jax.files import whole
from dino_jax.interop.encoder import Encoder
from dino_jax.ops.segmentation import patch_shares
from dino_jax.types import Params

VERSION = 2


class Tokens(NamedTuple):
    """Patches of all images: what the network says of each, and what shows in it.

    `shares` are the shares of a patch's pixels that each class has; void is missing from them.
    """

    features: Float[np.ndarray, "n width"]
    shares: Float[np.ndarray, "n classes"]


Pair = tuple[UInt8[np.ndarray, "h w c"], UInt8[np.ndarray, "height width"]]


def patch_features(encoder: Encoder, *, mesh: Mesh, batch_size: int) -> DenseExtractor:
    """What gives the patches after the final norm, row by row, of images of any size."""

    def function(params: Params, images: Array) -> Array:
        return encoder.features(params, images).patches.reshape(len(images), -1)

    return DenseExtractor(encoder, function, mesh=mesh, batch_size=batch_size)


def fitted_pair(source: MaskedImages, encoder: Encoder, size: int, index: int) -> Pair:
    """An image at the size it is encoded in, and its mask at its own size."""
    image, labels = source.pair(index)
    return fitted(image, short=size, patch=encoder.patch_size), labels


def training_tokens(
    encoder: Encoder,
    source: MaskedImages,
    *,
    size: int,
    store: FeatureStore,
    extractor: DenseExtractor,
) -> Tokens:
    """Encode every image of a source at a short side of `size` pixels, by `patch_features`.

    They are written as they come, to the store's folder under a key of weights, images, size and
    normalisation (and read from there the next time), or without one to a file that goes when it is
    closed.
    """
    classes = source.classes or 0
    key = {"version": VERSION, "what": "patches", "weights": encoder.identity, "size": size,
           "mean": list(encoder.mean), "std": list(encoder.std), "images": source.content_key(),
           "classes": classes}  # fmt: skip
    folder = store.folder
    told = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]
    if folder is not None and (kept := _read(folder, told)) is not None:
        return kept

    def load(index: int) -> Pair:
        return fitted_pair(source, encoder, size, index)

    shares, width = [], 0
    with _Spool(folder, f"{told}.tokens") as spool:
        ahead = read_ahead(load, range(len(source)))
        for each in extractor(with_bar(ahead, len(source), "patches of --train-set")):
            count = each.rows * each.columns
            width = len(each.feature) // count
            spool.write(each.feature)
            shares.append(patch_shares(each.rest, each.rows, each.columns, classes))
        features = spool.finish(width)
    tokens = Tokens(features, np.concatenate(shares))
    if folder is not None:
        _write(folder / f"{told}.shares.npy", tokens.shares)
    return tokens


class _Spool:
    """A file of float32 that grows, and is then an array of rows mapped into memory."""

    def __init__(self, folder: pathlib.Path | None, name: str) -> None:
        self._path = self._unfinished = None if folder is None else folder / name
        if self._path is None:
            self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        else:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._unfinished = self._path.with_name(f"{name}.{os.getpid()}")
            self._file = open(self._unfinished, "wb+")  # noqa: SIM115

    def __enter__(self) -> "_Spool":
        return self

    def write(self, values: Float[np.ndarray, "n"]) -> None:
        self._file.write(np.ascontiguousarray(values, np.float32).tobytes())

    def finish(self, width: int) -> Float[np.ndarray, "n width"]:
        self._file.flush()
        found = np.memmap(self._file, np.float32, "r").reshape(-1, width)
        if self._unfinished is not None and self._path is not None:
            self._unfinished.replace(self._path)
        return found

    def __exit__(self, kind: type | None, *_: object) -> None:
        self._file.close()
        if kind is not None and self._unfinished is not None:
            self._unfinished.unlink(missing_ok=True)


def _read(folder: pathlib.Path, told: str) -> Tokens | None:
    try:
        shares = np.load(folder / f"{told}.shares.npy")
        features = np.memmap(folder / f"{told}.tokens", np.float32, "r").reshape(len(shares), -1)
    except (OSError, ValueError, EOFError):
        return None  # not there, or cut short: computed again
    return Tokens(features, shares)


def _write(path: pathlib.Path, shares: np.ndarray) -> None:
    with whole(path) as unfinished:
        np.save(unfinished, shares)
