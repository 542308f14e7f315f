"""Features of images of many sizes, batch by batch, so that never more than a few are held."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, UInt8

from dino_jax.data.crops import resize_image
from dino_jax.evals.features import Extractor, FeatureFunction
from dino_jax.interop.encoder import Encoder, finite

T = TypeVar("T")
MOST = 8
"""Images a batch, at most: a batch of one size is filled up, and many sizes have few images."""
_BYTES = 1 << 29  # of the attention of one block, where it is held at once
_THREADS, _AHEAD = 4, 16


class Dense(NamedTuple):
    """What a function gave of one image: a flat feature, the patch grid, and what came with it."""

    feature: Float[np.ndarray, "d"]
    rows: int
    columns: int
    rest: Any


def fitted(
    image: UInt8[np.ndarray, "h w c"], *, short: int, patch: int
) -> UInt8[np.ndarray, "height width c"]:
    """Resize (bicubic) to a short side of `short`, each side the nearest multiple of `patch`.

    The aspect changes by less than half a patch a side; nothing is cut off.
    """
    scale = short / min(image.shape[:2])
    sides = [max(1, round(scale * side / patch)) * patch for side in image.shape[:2]]
    return resize_image(image, *sides)


class DenseExtractor:
    """Runs a function of a network over images of any size, compiled once for every size."""

    def __init__(
        self, encoder: Encoder, function: FeatureFunction, *, mesh: Mesh, batch_size: int
    ) -> None:
        """Take what gives (B, D) of (params, normalised images), D any for a size of the image."""
        self._encoder, self._function = encoder, function
        self._mesh, self._most = mesh, min(batch_size, MOST)
        self._extractors: dict[int, Extractor] = {}

    def __call__(self, images: Iterable[tuple[UInt8[np.ndarray, "h w c"], Any]]) -> Iterator[Dense]:
        """The feature of every image, with what came beside it; those of one size stay in order.

        At most a batch of each size waits.

        Raises:
            UserError: features are not finite.
        """
        waiting: dict[tuple[int, ...], list[tuple[np.ndarray, Any]]] = collections.defaultdict(list)
        for image, rest in images:
            same = waiting[image.shape]
            same.append((image, rest))
            if len(same) >= self._batch_size(image.shape):
                yield from self._run(waiting.pop(image.shape))
        for same in waiting.values():
            yield from self._run(same)

    def _batch_size(self, shape: tuple[int, ...]) -> int:
        patch = self._encoder.patch_size
        tokens = (shape[0] // patch) * (shape[1] // patch) + 1
        held = 4 * max(self._encoder.heads, 1) * tokens**2
        return max(1, min(self._most, _BYTES // held))

    def _run(self, batch: list[tuple[np.ndarray, Any]]) -> Iterator[Dense]:
        images = np.stack([image for image, _ in batch])
        extractor = self._extractor(images.shape[1:])
        found = finite(extractor(self._encoder.params, [{"images": images}]), self._encoder)
        rows, columns = (side // self._encoder.patch_size for side in images.shape[1:3])
        for feature, (_, rest) in zip(found, batch, strict=True):
            yield Dense(feature, rows, columns, rest)

    def _extractor(self, shape: tuple[int, ...]) -> Extractor:
        size = self._batch_size(shape)
        if size not in self._extractors:
            self._extractors[size] = Extractor(
                self._function,
                lambda batch: self._encoder.prepared(batch["images"]),
                batch_size=size,
                mesh=self._mesh,
            )
        return self._extractors[size]


def read_ahead(load: Callable[[int], T], indices: Iterable[int]) -> Iterator[T]:
    """What `load` gives of every index, in order, by a few threads that run a little ahead."""
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: collections.deque[Future[T]] = collections.deque()
        rest = iter(indices)
        try:
            waiting.extend(pool.submit(load, each) for each in itertools.islice(rest, _AHEAD))
            while waiting:
                done = waiting.popleft().result()
                waiting.extend(pool.submit(load, each) for each in itertools.islice(rest, 1))
                yield done
        finally:
            for each in waiting:
                each.cancel()
