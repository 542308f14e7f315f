"""The training pipeline: steps to batches of uint8 crops. The only file that knows grain."""

import dataclasses
import functools
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import grain
import numpy as np
from absl import flags

from dino_jax.config import AugmentConfig, CropsConfig, DataConfig, UserError
from dino_jax.data import photometric, resample, turbo
from dino_jax.data.crops import Crops, Cut, Photometric, cut_crops, empty_crops
from dino_jax.data.order import Order
from dino_jax.data.randomness import Purpose, generator
from dino_jax.data.reading import CACHE_BYTES, Decoder, Reader
from dino_jax.data.source import Source

Batch = dict[str, np.ndarray]

_LOG = logging.getLogger(__name__)
_ROWS_PER_TASK = 16  # a thread's piece of work: grain's own cost is 0.3 ms for each
_BATCHES_AHEAD = 2


class Open:
    """Batches that threads of one process are still writing their rows into."""

    def __init__(self) -> None:
        """Begin without any."""
        self._batches: dict[int, Batch] = {}
        self._lock = threading.Lock()

    def of(self, step: int, make: Callable[[], Batch]) -> Batch:
        """The batch of a step, made by whoever comes first."""
        with self._lock:
            if step not in self._batches:
                self._batches[step] = make()
            return self._batches[step]

    def take(self, step: int) -> Batch:
        """The batch of a step, which is complete."""
        with self._lock:
            return self._batches.pop(step)


@dataclasses.dataclass(frozen=True)
class CropRows:
    """Builds consecutive rows of this process's part of the global batches.

    With `open` the rows are written into the whole batch there, and a task gives its step alone.
    """

    reader: Reader
    order: Order
    crops: CropsConfig
    augment: AugmentConfig | None
    seed: int
    start_step: int
    first_row: int
    rows: int  # of this process in every global batch
    rows_per_task: int
    open: Open | None = None

    def __call__(self, task: int) -> Batch:
        """The rows of one task; tasks divide the batches of the run without remainder."""
        tasks, count = self.rows // self.rows_per_task, self.rows_per_task
        step, part = self.start_step + task // tasks, task % tasks
        first = self.first_row + part * count
        epoch, examples = self.order.rows(step, first, first + count)
        if self.open is None:
            batch = self._empty(count)
        else:
            whole = self.open.of(step, functools.partial(self._empty, self.rows))
            batch = {name: rows[part * count :][:count] for name, rows in whole.items()}
        cutter = resample.Cutter()
        for row, example in enumerate(examples.tolist()):
            self._fill(batch, row, epoch, example, cutter)
        return {"step": np.array(step)} if self.open else self._shown(batch)

    def whole(self, pieces: list[Batch]) -> Batch:
        """The batch that tasks wrote their rows into, by what they gave."""
        return self._shown((self.open or Open()).take(int(pieces[0]["step"])))

    def _shown(self, batch: Batch) -> Batch:
        return {k: v for k, v in batch.items() if k != "locals" or self.crops.local_number}

    def _empty(self, rows: int) -> Batch:
        one = empty_crops(self.crops, self.reader.source.channels)
        made = {
            name: np.empty((rows, *crops.shape), np.uint8) for name, crops in one._asdict().items()
        }
        return made | {name: np.empty(rows, np.int64) for name in ("index", "epoch", "replaced")}

    def _fill(self, batch: Batch, row: int, epoch: int, example: int, cutter: Cut) -> None:
        found = self.reader.read(example)
        # The draws belong to the place in the epoch: a stand-in that also comes by itself is cut
        # in another way then.
        cut_crops(
            found.image,
            self.crops,
            seed=self.seed,
            epoch=epoch,
            example=example,
            photometric=self._photometric(epoch, example),
            full=found.full,
            cutter=cutter,
            into=Crops(batch["views"][row], batch["locals"][row]),
        )
        batch["index"][row], batch["epoch"][row] = found.index, epoch
        batch["replaced"][row] = found.replaced

    def _photometric(self, epoch: int, example: int) -> Photometric | None:
        config = self.augment
        if config is None or config.where != "host":
            return None

        def augmented(crop: np.ndarray, view: int) -> np.ndarray:
            random = generator(self.seed, epoch, example, view, Purpose.PHOTOMETRIC)
            return photometric.augment(crop, random, view=view, config=config)

        return augmented


class TrainIterator(Iterator[Batch]):
    """Batches of one process, in the order of the steps; close it, or use it in `with`."""

    def __init__(self, iterator: Any) -> None:
        """Wrap a grain iterator."""
        self._iterator = iterator

    def __next__(self) -> Batch:
        """The batch of the next step."""
        return next(self._iterator)

    def close(self) -> None:
        """Stop threads and worker processes and release their shared memory."""
        self._iterator.close()

    def __enter__(self) -> "TrainIterator":
        """Enter a block at whose end the iterator is closed."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the iterator."""
        self.close()


def train_iterator(
    source: Source,
    crops: CropsConfig,
    data: DataConfig,
    *,
    seed: int,
    batch_size: int,
    start_step: int,
    stop_step: int,
    process_index: int = 0,
    process_count: int = 1,
    workers: int | None = None,
    augment: AugmentConfig | None = None,
    cache_bytes: int = CACHE_BYTES,
) -> TrainIterator:
    """Batches of the steps [start_step, stop_step): this process's rows of each global batch.

    A batch holds `views` (B, 2, H, W, C) and `locals` (B, L, h, w, C), uint8, `index`, `epoch` and
    `replaced` (B,), int64. They depend on the seed and the step alone, whatever the number of
    workers (0: threads in this process; default `data.workers`) and of processes. With
    `augment.where == "host"` the photometric operations are applied here. Raises `UserError` if
    the images are fewer than one global batch, or none can be read.
    """
    if batch_size % process_count:
        raise UserError(
            f"batch_size {batch_size} is not divisible by {process_count} processes; "
            f"set it to a multiple of {process_count}"
        )
    workers = data.workers if workers is None else workers
    rows = batch_size // process_count
    decoder = decoder_of(data, crops)
    reader = Reader(source, cache_bytes // max(1, workers), decoder)
    order = Order(len(source), batch_size, seed)
    reader.read(0)  # a source with nothing readable ends here, in plain words
    _say_what_is_missing()
    make = CropRows(
        reader=reader,
        order=order,
        crops=crops,
        augment=augment,
        seed=seed,
        start_step=start_step,
        first_row=process_index * rows,
        rows=rows,
        rows_per_task=rows if workers else _divisor(rows, _ROWS_PER_TASK),
        open=None if workers else Open(),
    )
    steps = stop_step - start_step
    if workers:
        return TrainIterator(iter(_with_workers(make, steps, workers)))
    return TrainIterator(iter(_with_threads(make, steps, data.threads)))


def decoder_of(data: DataConfig, crops: CropsConfig) -> Decoder:
    """How training decodes the files of a source, by `data.decode`."""
    return functools.partial(turbo.picture, crops=crops if data.decode == "fast" else None)


def _say_what_is_missing() -> None:
    found = {"simplejpeg": turbo.AVAILABLE, "cykooz_resizer": resample.AVAILABLE}
    missing = [name for name, there in found.items() if not there]
    if missing:
        names = " ".join(missing)
        _LOG.warning("Pillow prepares the crops; pip install %s makes that quicker", names)


def _with_threads(make: CropRows, steps: int, threads: int | None) -> Any:
    """Threads make pieces of batches (the decoders release the GIL); all write into one."""
    threads = threads or min(16, os.cpu_count() or 1)
    tasks = make.rows // make.rows_per_task
    ahead = max(threads, _BATCHES_AHEAD * tasks)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
    pieces = grain.MapDataset.range(steps * tasks).map(make).to_iter_dataset(options)
    return pieces.batch(tasks, drop_remainder=True, batch_fn=make.whole)


def _with_workers(make: CropRows, steps: int, workers: int) -> Any:
    """Processes make whole batches: to send pieces and join them here costs twice as much."""
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # grain reads its own absl flags, also without a command
    single = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
    batches = grain.MapDataset.range(steps).map(make).to_iter_dataset(single)
    return batches.mp_prefetch(
        grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=_BATCHES_AHEAD),
        worker_init_fn=_ignore_interrupt,
    )


def _ignore_interrupt(worker: int, workers: int) -> None:
    """Leave Ctrl-C, which a terminal sends to every process, to the one that saves and ends us."""
    del worker, workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _divisor(number: int, limit: int) -> int:
    return max(d for d in range(1, min(number, limit) + 1) if number % d == 0)
