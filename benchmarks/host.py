"""How fast images become crops on the host: ours beside the original's transform, on one core.

    python -m benchmarks.host [--original=CHECKOUT] [--images=FOLDER] [--limit=100] [--rounds=2]
    python -m benchmarks.host --parallel    two threads and two processes against one
    python -m benchmarks.host --memory=20000

Image files in memory in, 2 x 224 + 8 x 96 uint8 crops out; every image goes through all contenders
before the next. The original is `DataAugmentationDINO` of a checkout of facebookresearch/dino
(needs torch and torchvision): Pillow, the photometric operations and the normalisation included,
which ours leaves to the device; `original geometry` and `exact, augmented on the host` are there to
tell the two apart. Without --images the photographs inside the scikit-image and scikit-learn wheels
are the images. Prints a JSON line a case; `ratio` is processor time over the case's, the original's
or, without it, that of our way through Pillow.
"""

import argparse
import importlib
import importlib.metadata
import io
import itertools
import json
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.host_memory import parallel, resident
from benchmarks.host_source import MemorySource, files
from benchmarks.host_threads import unhindered
from benchmarks.machine import commit, describe
from dino_jax.config import AugmentConfig, CropsConfig, DataConfig
from dino_jax.data.crops import cut_crops
from dino_jax.data.decode import decode
from dino_jax.data.order import Order
from dino_jax.data.pipeline import CropRows, decoder_of
from dino_jax.data.reading import Reader

CROPS = CropsConfig(global_scale=(0.4, 1.0), local_scale=(0.05, 0.4))
Contender = Callable[[int], Any]
"""Takes the number of an image and makes its crops."""


def main(arguments: list[str] | None = None) -> int:
    """Measure what is asked for and print it."""
    options = parse(arguments)
    source = MemorySource(files(options.images, options.limit))
    head = {
        "benchmark": "host",
        "command": "python -m benchmarks.host " + " ".join(arguments or sys.argv[1:]),
        "commit": commit(),
        "machine": describe(),
        "versions": versions(),
        "images": len(source),
    }
    lines: Iterable[dict[str, Any]]
    if options.memory:
        lines = resident(source, CROPS, options.memory)
    elif options.parallel:
        alone = unhindered(lambda: rows(source, "exact"), len(source), seconds=options.seconds)
        lines = itertools.chain(alone, parallel(source, CROPS, seconds=options.seconds))
    else:
        lines = compare(source, options)
    for line in lines:
        sys.stdout.write(json.dumps(head | line) + "\n")
        sys.stdout.flush()
    return 0


def compare(source: MemorySource, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Processor time of every contender, and how far ours are from Pillow's crops."""
    contenders = ours(source)
    if options.original:
        contenders = originals(source, options.original) | contenders
    spent = dict.fromkeys(contenders, 0.0)
    for work in contenders.values():
        work(0)
    turns = list(contenders.items())
    for _ in range(options.rounds):
        for number in range(len(source)):
            # Who comes after a slow one finds cold caches: everybody does in turn.
            first = number % len(contenders)
            for name, work in turns[first:] + turns[:first]:
                began = time.process_time()
                work(number)
                spent[name] += time.process_time() - began
    count = options.rounds * len(source)
    against = next(iter(contenders))
    for name, seconds in spent.items():
        yield {
            "case": name,
            "threads": 1,
            "ms": round(1000 * seconds / count, 3),
            "images_per_second": round(count / seconds, 1),
            "against": against,
            "ratio": round(spent[against] / seconds, 2),
        } | ({"error": error(source, name)} if name in ("exact", "fast") else {})


def ours(source: MemorySource) -> dict[str, Contender]:
    """Our ways, each through what the training pipeline runs."""

    def by_pillow(number: int) -> Any:
        return cut_crops(decode(source.read(number)), CROPS, seed=0, epoch=0, example=number)

    host = AugmentConfig(where="host")
    return {
        "pillow": by_pillow,
        "exact": rows(source, "exact"),
        "fast": rows(source, "fast"),
        "exact, augmented on the host": rows(source, "exact", host),
    }


def rows(source: MemorySource, how: str, augment: AugmentConfig | None = None) -> CropRows:
    """The training pipeline's work with batches of one image, nothing kept."""
    reader = Reader(source, 0, decoder_of(DataConfig(decode=how), CROPS))
    order = Order(len(source), 1, 0)
    return CropRows(
        reader, order, CROPS, augment, 0, start_step=0, first_row=0, rows=1, rows_per_task=1
    )


def originals(source: MemorySource, checkout: pathlib.Path) -> dict[str, Contender]:
    """The original's transform, whole and without all that comes after the flip."""
    sys.path.insert(0, str(checkout))
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = importlib.import_module("main_dino")
    transform = module.DataAugmentationDINO(
        CROPS.global_scale, CROPS.local_scale, CROPS.local_number
    )
    chains = [transform.global_transfo1, transform.global_transfo2]
    chains += [transform.local_transfo] * CROPS.local_number

    def opened(number: int) -> Image.Image:
        return Image.open(io.BytesIO(source.read(number))).convert("RGB")

    def geometry(number: int) -> Any:
        image = opened(number)
        return [chain.transforms[1].transforms[0](chain.transforms[0](image)) for chain in chains]

    return {
        "original": lambda number: transform(opened(number)),
        "original geometry": geometry,
    }


def error(source: MemorySource, how: str) -> dict[str, float]:
    """How far the crops are from Pillow's of the same boxes, in levels of 255."""
    make = rows(source, how)
    counts = np.zeros(256, np.int64)
    for step in range(len(source)):
        batch = make(step)
        number = int(batch["index"][0])
        exact = cut_crops(decode(source.read(number)), CROPS, seed=0, epoch=0, example=number)
        for found, wanted in ((batch["views"][0], exact.views), (batch["locals"][0], exact.locals)):
            levels = np.abs(found.astype(np.int16) - wanted)
            counts += np.bincount(levels.ravel(), minlength=256)
    share = np.cumsum(counts) / counts.sum()
    return {
        "mean": round(float(counts @ np.arange(256) / counts.sum()), 4),
        "p99": int(np.searchsorted(share, 0.99)),
        "max": int(np.flatnonzero(counts)[-1]),
    }


def versions() -> dict[str, str]:
    """Of the packages that do the work, those that are here."""
    found = {}
    for name in ("pillow", "simplejpeg", "cykooz_resizer", "numpy", "torchvision"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--original", type=pathlib.Path, help="a checkout of facebookresearch/dino")
    parser.add_argument("--images", type=pathlib.Path, help="a folder of image files")
    parser.add_argument("--limit", type=int, default=100, help="the most images taken")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--parallel", action="store_true", help="two threads and two processes")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn of --parallel")
    parser.add_argument("--memory", type=int, default=0, help="images to follow the memory over")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
