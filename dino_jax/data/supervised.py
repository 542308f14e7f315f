"""Labelled training batches: one cut and augmented image a row, in an order told by the step.

With repeated augmentation (Hoffer et al. 2020; DeiT's `RASampler`) every example of a batch comes
several times, differently augmented, and an epoch has as many rows as there are examples, so that
it sees only a part of them.
"""

import dataclasses
import itertools
import os
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from dino_jax.config import UserError
from dino_jax.data import photometric
from dino_jax.data.crops import cut, draw_box
from dino_jax.data.order import Order
from dino_jax.data.randaugment import Policy, apply, draw
from dino_jax.data.randomness import Purpose, generator, permutation
from dino_jax.data.reading import Reader
from dino_jax.data.source import Source

Batch = dict[str, np.ndarray]

_ROWS_PER_TASK = 8
_BATCHES_AHEAD = 2


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What happens to an image on the host, in this order."""

    size: int  # pixels of a side
    scale: tuple[float, float] = (0.08, 1.0)  # of the area
    ratio: tuple[float, float] = (3 / 4, 4 / 3)  # width over height
    flip_probability: float = 0.5
    policy: Policy | None = None
    jitter: float = 0.0  # of brightness, contrast and saturation
    resampling: Image.Resampling = Image.Resampling.BICUBIC

    def __call__(
        self, image: UInt8[np.ndarray, "h w c"], seed: int, epoch: int, example: int, copy: int
    ) -> UInt8[np.ndarray, "size size c"]:
        """Augment one decoded image by draws of (seed, epoch, example, copy) alone."""
        where = generator(seed, epoch, example, copy, Purpose.GEOMETRY)
        box = draw_box(
            where, *image.shape[:2],
            scale=self.scale, ratio=self.ratio, flip_probability=self.flip_probability,
        )  # fmt: skip
        crop = cut(image, [box], self.size, self.resampling)[0]
        random = generator(seed, epoch, example, copy, Purpose.PHOTOMETRIC)
        if self.policy is not None:
            crop = apply(crop, draw(random, self.policy), self.policy)
        return jittered(crop, random, self.jitter) if self.jitter else crop


def jittered(
    crop: UInt8[np.ndarray, "h w c"], random: np.random.Generator, strength: float
) -> UInt8[np.ndarray, "h w c"]:
    """Change brightness, contrast and saturation, in a random order, each by 1 ± `strength`."""
    u = [float(value) for value in random.random(4)]
    operations = (photometric.brightness, photometric.contrast, photometric.saturation)
    low = max(0.0, 1.0 - strength)
    for number in _ORDERS[int(u[3] * len(_ORDERS))]:
        crop = operations[number](crop, low + (1.0 + strength - low) * u[number])
    return crop


_ORDERS = tuple(itertools.permutations(range(3)))


class Repeated:
    """Which examples, and which copies of them, a step takes.

    The order of an epoch is a permutation with each example repeated; a batch is the next piece of
    it. Its rows lie in `groups` of consecutive ones, and the copies of an example in different
    groups (DeiT: on different GPUs).
    """

    def __init__(
        self, length: int, batch_size: int, *, seed: int, repeats: int = 1, groups: int = 1
    ) -> None:
        """Raise `UserError` if there are fewer examples than one batch takes."""
        if repeats < 1:
            raise UserError(f"--repeats={repeats}: expected 1 (no repeated augmentation) or more")
        if batch_size % groups:
            raise ValueError(f"{groups} groups do not divide a batch of {batch_size}")
        self.steps_per_epoch = Order(length, batch_size, seed).steps_per_epoch
        self._length, self._batch, self._seed = length, batch_size, seed
        self._repeats, self._groups = repeats, groups

    def rows(self, step: int) -> tuple[int, Int[np.ndarray, "batch"], Int[np.ndarray, "batch"]]:
        """The epoch of a step, the examples of its rows, and the number of each copy."""
        epoch, place = divmod(step, self.steps_per_epoch)
        row = np.arange(self._batch).reshape(-1, self._groups).T.reshape(-1)
        position = place * self._batch + row
        order = permutation(self._seed, epoch, self._length)
        return epoch, order[position // self._repeats], position % self._repeats


def supervised_batches(
    source: Source,
    labels: Int[np.ndarray, " n"],
    augmentation: Augmentation,
    order: Repeated,
    *,
    seed: int,
    start_step: int,
    stop_step: int,
    process: tuple[int, int] = (0, 1),
    threads: int | None = None,
) -> Generator[Batch, None, None]:
    """Batches of the steps [start_step, stop_step): this process's rows of each global batch.

    A batch holds `images` (B, size, size, C) uint8 and `label`, `index`, `epoch`, `copy` and
    `replaced` (B,) int64; they depend on seed and step alone. An unreadable example is stood in
    for by the next, with its label, and told in `replaced` (-1: none). `process` is (which, of how
    many). Close the generator to stop its threads.
    """
    reader = Reader(source)
    if augmentation.policy is not None and source.channels != 3:
        raise UserError(
            f"RandAugment is of pictures in colour, and these have {source.channels} channels: "
            "--randaugment=none"
        )

    def rows(epoch: int, examples: np.ndarray, copies: np.ndarray) -> list[Batch]:
        return [_row(reader, augmentation, seed, epoch, int(e), int(c)) for e, c in zip(
            examples, copies, strict=True
        )]  # fmt: skip

    def submit(step: int) -> list[Future]:
        epoch, examples, copies = order.rows(step)
        mine = np.array_split(np.arange(len(examples)), process[1])[process[0]]
        starts = range(0, len(mine), _ROWS_PER_TASK)
        tasks = [mine[start : start + _ROWS_PER_TASK] for start in starts]
        return [pool.submit(rows, epoch, examples[task], copies[task]) for task in tasks]

    pool = ThreadPoolExecutor(threads or min(16, os.cpu_count() or 1))
    try:
        ahead: list[list[Future]] = []
        for step in range(start_step, stop_step):
            last = min(step + _BATCHES_AHEAD, stop_step - 1)
            ahead += [submit(later) for later in range(step + len(ahead), last + 1)]
            made = [row for task in ahead.pop(0) for row in task.result()]
            batch = {name: np.stack([row[name] for row in made]) for name in made[0]}
            yield batch | {"label": labels[batch["index"]].astype(np.int64)}
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _row(
    reader: Reader, augmentation: Augmentation, seed: int, epoch: int, example: int, copy: int
) -> Batch:
    found = reader.read(example)
    image = augmentation(found.image, seed, epoch, example, copy)
    numbers = {"index": found.index, "epoch": epoch, "copy": copy, "replaced": found.replaced}
    return {"images": image} | {k: np.asarray(v, np.int64) for k, v in numbers.items()}
