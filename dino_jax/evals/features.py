"""Features of many images with one compiled function: batched, padded, normalised on the device."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, UInt8

from dino_jax.ops import photometric
from dino_jax.types import Params

FeatureFunction = Callable[[Params, Array], Array]
"""(params | stats, normalised images (B, H, W, C)) -> one feature a image (B, D)."""

Batch = Mapping[str, np.ndarray]
Prepare = Callable[[dict[str, Array]], Array]
"""A batch of the host, on the device -> normalised images (B, ..., H, W, C)."""

IN_FLIGHT = 4
"""Batches sent ahead of the features fetched: enough to keep the device busy."""


def normaliser(mean: Sequence[float], std: Sequence[float]) -> Prepare:
    """Turn `images`, uint8, into floats: divided by 255, less `mean`, over `std` per channel."""

    def prepare(batch: dict[str, Array]) -> Array:
        return photometric.normalise(batch["images"], mean, std)

    return prepare


class NoImagesError(ValueError):
    """There are no images to take features of."""


class Extractor:
    """Runs a network over batches and returns every feature as one float32 array on the host.

    Compiled once: each batch is filled up to `batch_size` rows (raised to a multiple of the
    devices) with copies of its last row, whose features are dropped. With a mesh the rows are
    split over all its devices; every process must then bring the same batches.
    """

    def __init__(
        self,
        features: FeatureFunction,
        prepare: Prepare,
        *,
        batch_size: int = 256,
        mesh: Mesh | None = None,
    ) -> None:
        """Take the network's feature function and what makes its input of a host batch."""
        devices = 1 if mesh is None else mesh.size
        self.batch_size = -(-batch_size // devices) * devices
        self._rows = self._all = None
        if mesh is not None:
            self._rows = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
            self._all = NamedSharding(mesh, PartitionSpec())

        def embed(params: Params, batch: dict[str, Array]) -> Float[Array, "..."]:
            images = prepare(batch)
            found = features(params, images.reshape(-1, *images.shape[-3:]))
            return found.astype(jnp.float32).reshape(*images.shape[:-3], found.shape[-1])

        self._embed = jax.jit(embed, out_shardings=self._all)

    def __call__(self, params: Params, batches: Iterable[Batch]) -> Float[np.ndarray, "n ..."]:
        """Features (n, ..., D) of all rows of `batches` in order; raises `NoImagesError` without.

        `params` holds the batch statistics too, and may hold more than the network reads: only
        what lies under `backbone.` is passed.
        """
        params = {name: value for name, value in params.items() if name.startswith("backbone.")}
        waiting: collections.deque[tuple[Array, int]] = collections.deque()
        done: list[np.ndarray] = []
        for batch in itertools.chain.from_iterable(map(self._pieces, batches)):
            rows = len(next(iter(batch.values())))
            waiting.append((self._embed(params, self._placed(batch, rows)), rows))
            if len(waiting) > IN_FLIGHT:
                done.append(_fetched(*waiting.popleft()))
        done += [_fetched(*each) for each in waiting]
        if not done:
            raise NoImagesError("there are no images to take features of")
        return np.concatenate(done)

    def _pieces(self, batch: Batch) -> Iterator[Batch]:
        """Cut a batch into pieces of at most the compiled size."""
        rows = len(next(iter(batch.values())))
        for start in range(0, rows, self.batch_size):
            yield {name: value[start : start + self.batch_size] for name, value in batch.items()}

    def _placed(self, batch: Batch, rows: int) -> dict[str, Array]:
        return {name: self._put(_filled(value, self.batch_size)) for name, value in batch.items()}

    def _put(self, value: np.ndarray) -> Array:
        if self._rows is None:
            return jnp.asarray(value)
        # By callback, since a process may own only some of the mesh's devices.
        return jax.make_array_from_callback(value.shape, self._rows, lambda index: value[index])


def _filled(value: np.ndarray, rows: int) -> np.ndarray:
    missing = rows - len(value)
    return np.concatenate([value, np.repeat(value[-1:], missing, axis=0)]) if missing else value


def _fetched(features: Array, rows: int) -> np.ndarray:
    return np.asarray(features)[:rows]


def image_batches(
    images: UInt8[np.ndarray, "n h w c"], batch_size: int = 256
) -> Iterator[dict[str, np.ndarray]]:
    """Batches `{"images": ...}` of an array of images that fits into memory."""
    for start in range(0, len(images), batch_size):
        yield {"images": images[start : start + batch_size]}
