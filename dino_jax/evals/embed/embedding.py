"""Features of every image of a source, extracted part by part and then joined into one file."""

import dataclasses
import itertools
import json
import math
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int
from tqdm import tqdm

from dino_jax.config import UserError
from dino_jax.data.evaluation import EvalBatch, default_resize, eval_batches
from dino_jax.data.source import Source
from dino_jax.evals.embed.feature import feature_function, feature_shape, parse_feature
from dino_jax.evals.embed.formats import WRITERS, Table, beside
from dino_jax.evals.embed.parts import Parts
from dino_jax.evals.features import Extractor
from dino_jax.files import whole
from dino_jax.interop.encoder import Encoder, check_patches
from dino_jax.interop.record import printable
from dino_jax.interrupt import Interrupted

VERSION = 1
PART_ROWS = 512
"""Images in a part, at most: what an interruption can cost."""
PART_BYTES = 1 << 26
"""Bytes of features in a part, about: what is held in memory, a few times over."""


class Embedded(NamedTuple):
    """What was written."""

    path: pathlib.Path
    rows: int
    shape: tuple[int, ...]
    unreadable: int

    @property
    def what(self) -> str:
        """In words."""
        shape = " x ".join(map(str, (self.rows, *self.shape)))
        left = f"; left out, being unreadable: {self.unreadable}" if self.unreadable else ""
        return f"features {shape}{left}"


@dataclasses.dataclass(frozen=True)
class Embedding:
    """Which features of which images go where."""

    encoder: Encoder
    source: Source
    out: pathlib.Path
    feature: str = "cls"
    batch_size: int = 64
    precision: str = "float32"

    @property
    def folder(self) -> pathlib.Path:
        """Where the parts lie until they are joined."""
        return self.out.with_name(f"{self.out.name}.parts")


def check_out(out: str, feature: str, *, overwrite: bool = False) -> pathlib.Path:
    """The path of the file to write, before anything is opened.

    Raises:
        UserError: an unknown suffix, a file that is there, or a feature that its format has not.
    """
    path, part = pathlib.Path(out).expanduser(), parse_feature(feature).part
    if path.suffix not in WRITERS:
        raise UserError(f"--out={out}: expected a file ending in {', '.join(WRITERS)}")
    if path.is_dir():
        raise UserError(f"--out={out}: it is a folder; name a file in it")
    if path.exists() and not overwrite:
        raise UserError(f"--out={out}: it is there already; add --overwrite to replace it")
    if path.suffix == ".csv" and part in ("patches", "tokens"):
        raise UserError(
            f"--feature={feature}: a csv file holds one row of numbers an image, no tokens; "
            "write .npz, .parquet or .arrayrecord"
        )
    return path


def embed(
    embedding: Embedding,
    *,
    mesh: Mesh | None = None,
    overwrite: bool = False,
    stop: Callable[[], bool] = bool,
) -> Embedded:
    """Extract what is not yet in the parts, join them into the file, and remove them.

    Parts cover fixed ranges of the source, and their batches do not depend on where an earlier
    process stopped: the file is the same, byte for byte, whatever interruptions there were. Parts
    of another embedding are replaced if `overwrite`, and refused otherwise. `stop` is asked after
    every part.

    Raises:
        Interrupted: `stop()` said so; the same call goes on.
        UserError: no image can be read, the parts are not of this embedding, or nothing can be
            written there.
    """
    _check_sizes(embedding.encoder)
    shape = feature_shape(embedding.encoder, parse_feature(embedding.feature))
    parts, count = Parts(embedding.folder), len(embedding.source)
    rows = _part_rows(shape, embedding.batch_size)
    key = _key(embedding) | {"part_rows": rows}
    try:
        with parts.claimed(key, restart=overwrite):
            _extract(embedding, parts, rows, mesh, stop)
            numbers = range(-(-count // rows))
            index = np.concatenate([np.zeros(0, np.int64), *map(parts.index, numbers)])
            if not len(index):
                parts.remove()
                raise UserError(
                    f"none of the {count} images of {embedding.source.spec} can be read"
                )
            _join(embedding, parts, numbers, index, shape)
            parts.remove()
    except OSError as error:
        raise UserError(f"cannot write {embedding.out}: {error.strerror or error}") from error
    return Embedded(embedding.out, len(index), shape, count - len(index))


def _check_sizes(encoder: Encoder) -> None:
    if encoder.heads:
        check_patches(encoder, encoder.size)


def _part_rows(shape: tuple[int, ...], batch_size: int) -> int:
    """Whole batches, at least one."""
    wanted = min(PART_ROWS, PART_BYTES // (4 * int(np.prod(shape))))
    return max(1, wanted // batch_size) * batch_size


def _key(embedding: Embedding) -> dict[str, Any]:
    encoder = embedding.encoder
    return {
        "version": VERSION,
        "weights": encoder.identity,
        "feature": list(parse_feature(embedding.feature)),
        "size": encoder.size,
        "resize": encoder.resize,
        "mean": list(encoder.mean),
        "std": list(encoder.std),
        "images": embedding.source.content_key(),
        "batch_size": embedding.batch_size,
    }


def _extract(
    embedding: Embedding, parts: Parts, rows: int, mesh: Mesh | None, stop: Callable[[], bool]
) -> None:
    encoder, count = embedding.encoder, len(embedding.source)
    ranges = {k: range(k * rows, min((k + 1) * rows, count)) for k in range(-(-count // rows))}
    missing = {number: indices for number, indices in ranges.items() if number not in parts}
    wanted = [index for indices in missing.values() for index in indices]
    extractor = Extractor(
        feature_function(encoder, parse_feature(embedding.feature)),
        lambda batch: encoder.prepared(batch["images"]),
        batch_size=embedding.batch_size,
        mesh=mesh,
    )
    batches = eval_batches(
        embedding.source, wanted,
        size=encoder.size, resize=encoder.resize, batch_size=embedding.batch_size,
    )  # fmt: skip
    bar = tqdm(total=count, initial=count - len(wanted), unit="image", mininterval=0.5)
    with bar:
        for number, indices in missing.items():
            own = itertools.islice(batches, -(-len(indices) // embedding.batch_size))
            parts.write(number, *_features(extractor, encoder, own, bar))
            if stop() and number != next(reversed(missing)):
                raise Interrupted(str(parts.folder))


def _features(
    extractor: Extractor, encoder: Encoder, batches: Iterable[EvalBatch], bar: tqdm
) -> tuple[Float[np.ndarray, "n row"], Int[np.ndarray, " n"]]:
    """The features of one part's readable images, and which they are."""
    index: list[np.ndarray] = [np.zeros(0, np.int64)]

    def readable() -> Iterator[dict[str, np.ndarray]]:
        for batch in batches:
            there = batch.index >= 0
            index.append(batch.index[there])
            if there.any():
                yield {"images": batch.images[there]}
            bar.update(min(len(there), bar.total - bar.n))  # the last batch is filled up

    first = next(pieces := readable(), None)
    if first is None:
        return np.zeros((0, 0), np.float32), index[0]
    features = extractor(encoder.params, itertools.chain([first], pieces))
    return features, np.concatenate(index)


def _join(
    embedding: Embedding,
    parts: Parts,
    numbers: range,
    index: Int[np.ndarray, " n"],
    shape: tuple[int, ...],
) -> None:
    """Write the file under another name, and then give it its own."""
    source, out = embedding.source, embedding.out

    def features() -> Iterator[Float[np.ndarray, "rows row"]]:
        for number in numbers:
            rows = parts.read(number)[0]
            if len(rows):
                yield rows

    table = Table(
        shape=shape,
        index=index,
        names=[printable(source.name(int(i))) for i in index],
        labels=None if source.labels is None else source.labels[index],
        class_names=_class_names(source),
        features=features,
        about=json.dumps(printable(about(embedding, index, shape)), indent=1),
    )
    with whole(out, mark="unfinished") as unfinished:
        WRITERS[out.suffix](unfinished, table)
        if beside(unfinished).exists():
            beside(unfinished).replace(beside(out))


def _class_names(source: Source) -> tuple[str, ...]:
    """The classes' names; their numbers where a source of labels has no names."""
    if source.class_names or source.labels is None:
        return printable(source.class_names)
    return tuple(map(str, range(int(source.labels.max()) + 1)))


def about(
    embedding: Embedding, index: Int[np.ndarray, " n"], shape: tuple[int, ...]
) -> dict[str, Any]:
    """What made a file of features, for those who find it."""
    encoder, source = embedding.encoder, embedding.source
    absent = np.setdiff1d(np.arange(len(source)), index)
    side = math.isqrt(shape[0]) if len(shape) > 1 else None  # with a CLS token, no less
    return {
        "weights": encoder.spec,
        "identity": encoder.identity,
        "architecture": encoder.arch,
        "feature": embedding.feature,
        "shape": list(shape),
        "patch_grid": None if side is None else [side, side],
        "data": source.spec,
        "images": len(source),
        "rows": len(index),
        "unreadable": [{"index": int(i), "name": source.name(int(i))} for i in absent],
        "size": encoder.size,
        "resize": default_resize(encoder.size) if encoder.resize is None else encoder.resize,
        "mean": list(encoder.mean),
        "std": list(encoder.std),
        "precision": embedding.precision,
    }
