"""Features of whole sources, extracted once and kept on disk by what they depend on."""

import hashlib
import json
import pathlib
import zipfile
from typing import Any

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from dino_jax.config import UserError
from dino_jax.data.evaluation import eval_batches
from dino_jax.data.source import Source
from dino_jax.evals.features import Extractor, FeatureFunction, NoImagesError
from dino_jax.evals.images import HeldOut
from dino_jax.files import made, whole
from dino_jax.interop.cached import cache_folder
from dino_jax.interop.encoder import Encoder, finite

VERSION = 1
"""Raised when the same key would stand for other features."""

Found = tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"]]


class FeatureStore:
    """A folder of features, one pair of `.npy` files to a key; without a folder nothing is kept."""

    def __init__(self, folder: pathlib.Path | None) -> None:
        """Take the folder, which is made when something is first written."""
        self.folder = folder

    def features(
        self,
        encoder: Encoder,
        source: Source,
        indices: Int[np.ndarray, " wanted"] | None = None,
        *,
        what: str,
        function: FeatureFunction,
        mesh: Mesh | None = None,
        batch_size: int = 256,
    ) -> Found:
        """Features (rows, D) float32 of the readable images, and which example each row is.

        Images are resized and cut as the encoder says. `what` names the feature that `function`
        (params, normalised images) gives: two functions must not share a name. Rows are memory-
        mapped where they come from disk.

        Raises:
            UserError: no image can be read, or features are not finite; nothing is kept.
        """
        wanted = np.arange(len(source)) if indices is None else np.asarray(indices)
        key = _key(encoder, source, wanted, what)
        if (kept := self._read(key)) is not None:
            return kept
        images = HeldOut(
            lambda: eval_batches(
                source, wanted, size=encoder.size, resize=encoder.resize, batch_size=batch_size
            ),
            kept_bytes=0,
        )
        extractor = Extractor(
            function, lambda batch: encoder.prepared(batch["images"]),
            batch_size=min(batch_size, max(len(wanted), 1)), mesh=mesh,
        )  # fmt: skip
        try:
            rows = finite(extractor(encoder.params, images), encoder)
        except NoImagesError:
            raise UserError(f"no image of {source.spec} can be read: nothing to measure") from None
        self._write(key, (rows, images.index))
        return rows, images.index

    def _read(self, key: dict[str, Any]) -> Found | None:
        if self.folder is None:
            return None
        try:
            rows = np.load(_path(self.folder, key, "features"), mmap_mode="r")
            return rows, np.load(_path(self.folder, key, "index"))
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            return None  # not there, or cut short: computed again

    def _write(self, key: dict[str, Any], found: Found) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for part, value in zip(("features", "index"), found, strict=True):
            with whole(_path(self.folder, key, part)) as unfinished:
                np.save(unfinished, value)
        _path(self.folder, key, "key").with_suffix(".json").write_text(json.dumps(key, indent=1))


def _path(folder: pathlib.Path, key: dict[str, Any], part: str) -> pathlib.Path:
    told = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]
    return folder / f"{told}.{part}.npy"


def open_store(folder: str | None) -> FeatureStore:
    """The store of a folder; of None that in the user's cache, of `none` one that keeps nothing.

    Raises:
        UserError: the folder cannot be written into.
    """
    if folder == "none":
        return FeatureStore(None)
    chosen = pathlib.Path(folder).expanduser() if folder else cache_folder() / "features"
    return FeatureStore(made(chosen, flag="--cache", instead="another, or `none`"))


def _key(encoder: Encoder, source: Source, wanted: np.ndarray, what: str) -> dict[str, Any]:
    return {
        "version": VERSION,
        "weights": encoder.identity,
        "what": what,
        "size": encoder.size,
        "resize": encoder.resize,
        "mean": list(encoder.mean),
        "std": list(encoder.std),
        "images": source.content_key(),
        "examples": hashlib.sha256(wanted.astype(np.int64).tobytes()).hexdigest(),
    }
