"""Held-out images as the evaluations see them: resized, cut at the centre, not augmented."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Int, UInt8

from dino_jax.config import CropsConfig
from dino_jax.data.crops import GLOBAL_VIEWS, cut_crops, resize_image
from dino_jax.data.decode import UnreadableImageError
from dino_jax.data.source import Source

_THREADS = 8

Indices = Sequence[int] | Int[np.ndarray, "n"]


@dataclasses.dataclass(frozen=True)
class EvalBatch:
    """Images and their indices in the source; a row of index -1 is empty (zeros).

    Empty rows fill up the last batch, or stand where an image could not be read.
    """

    images: UInt8[np.ndarray, "batch *shape"]
    index: Int[np.ndarray, "batch"]


def eval_image(
    image: UInt8[np.ndarray, "h w c"], *, size: int, resize: int | None = None
) -> UInt8[np.ndarray, "size size c"]:
    """Resize the short side to `resize` pixels (bicubic, antialiased) and cut the centre out.

    The default is 256/224 of `size`. The long side is rounded down, the corner to even (reference:
    `Resize(256, interpolation=3)`, `CenterCrop(224)`). Raises ValueError where `resize` < `size`.
    """
    short = default_resize(size) if resize is None else resize
    if short < size:
        raise ValueError(f"resize {short} is less than the size of the crop, {size}")
    height, width = image.shape[:2]
    least = min(height, width)
    resized = resize_image(image, short * height // least, short * width // least)
    top, left = (round((side - size) / 2) for side in resized.shape[:2])
    return resized[top : top + size, left : left + size]


def default_resize(size: int) -> int:
    """The short side before the centre crop of `size`: the reference's 256 for 224."""
    return round(size * 256 / 224)


def eval_batches(
    source: Source,
    indices: Indices,
    *,
    size: int,
    resize: int | None = None,
    batch_size: int,
    threads: int = _THREADS,
) -> Iterator[EvalBatch]:
    """Images (B, size, size, C) in the order of `indices`, each batch of exactly `batch_size`.

    Unreadable images are named in the log and leave an empty row.
    """

    def load(index: int) -> np.ndarray:
        return eval_image(source.load(index), size=size, resize=resize)

    shape = (size, size, source.channels)
    return _batches(source, indices, load, shape, batch_size, threads=threads)


def view_batches(
    source: Source,
    indices: Indices,
    crops: CropsConfig,
    *,
    seed: int,
    batch_size: int,
    threads: int = _THREADS,
) -> Iterator[EvalBatch]:
    """The two views (B, 2, H, W, C) of held-out images, cut as in training, before photometrics.

    They depend on the seed and the index alone, never on the epoch.
    """
    pair = dataclasses.replace(crops, local_number=0)

    def load(index: int) -> np.ndarray:
        return cut_crops(source.load(index), pair, seed=seed, epoch=0, example=index).views

    shape = (GLOBAL_VIEWS, crops.global_size, crops.global_size, source.channels)
    return _batches(source, indices, load, shape, batch_size, threads=threads)


def _batches(
    source: Source,
    indices: Indices,
    load: Callable[[int], np.ndarray],
    shape: tuple[int, ...],
    batch_size: int,
    *,
    threads: int,
) -> Iterator[EvalBatch]:
    def attempt(index: int) -> np.ndarray | None:
        try:
            return load(index)
        except UnreadableImageError as error:
            source.name_unreadable(index, error)
            return None

    wanted = [int(index) for index in indices]
    parts = [wanted[k : k + batch_size] for k in range(0, len(wanted), batch_size)]
    with ThreadPoolExecutor(threads) as pool:
        ahead = [pool.map(attempt, part) for part in parts[:1]]
        for number, part in enumerate(parts):
            ahead.extend(pool.map(attempt, later) for later in parts[number + 1 : number + 2])
            batch = EvalBatch(
                np.zeros((batch_size, *shape), np.uint8), np.full(batch_size, -1, np.int64)
            )
            for row, (index, image) in enumerate(zip(part, ahead.pop(0), strict=True)):
                if image is not None:
                    batch.images[row], batch.index[row] = image, index
            yield batch
