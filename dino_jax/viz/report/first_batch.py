"""The first batch as the network sees it: views and local crops after the step's own augmentation.

It is kept as one lossless sheet, `report/batch.png`: a row an image, in it the two views, then the
local crops, at their own size with `GAP` pixels between.
"""

import io
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image

from dino_jax import files
from dino_jax.config import Config, CropsConfig
from dino_jax.data.order import Order
from dino_jax.data.pipeline import CropRows, decoder_of
from dino_jax.data.reading import Reader
from dino_jax.data.source import Source
from dino_jax.viz.attend.picture import shown

GAP = 2
Crops = Callable[[dict[str, jax.Array]], tuple[Sequence[jax.Array], Any]]
"""A batch of uint8 crops -> what the step augments them to, views first (`train.method`)."""


class Seen(NamedTuple):
    """One image of the batch: its two views and its local crops, in grey levels."""

    views: UInt8[np.ndarray, "2 H W c"]
    locals: UInt8[np.ndarray, "L h w c"]


def first_rows(source: Source, config: Config, number: int) -> dict[str, np.ndarray]:
    """The first `number` rows of the batch of step 0 whose images may be shown, before the device.

    What the training pipeline gives in these rows; no other image of the batch is read.
    """
    order = Order(len(source), config.batch_size, config.seed)
    reader = Reader(source, 0, decoder_of(config.data, config.crops))
    make = CropRows(
        reader, order, config.crops, config.augment, config.seed,
        start_step=0, first_row=0, rows=config.batch_size, rows_per_task=1,
    )  # fmt: skip
    examples = order.rows(0).examples
    may = [row for row, example in enumerate(examples) if source.may_be_shown(int(example))]
    rows = [make(row) for row in may[:number]]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]} if rows else {}


def as_seen(batch: Mapping[str, np.ndarray], crops: Crops, config: Config) -> list[Seen]:
    """The rows after the step's augmentation, each with the keys that the step gives it."""
    needed = {name: value for name, value in batch.items() if name != "replaced"}
    # Compiled to run once: on a CPU, optimising would take longer than all the rest.
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    augmented = jax.jit(lambda batch: list(crops(batch)[0]), compiler_options=options)(needed)
    mean, std = config.data.mean, config.data.std
    views, *others = (levels(np.asarray(each, np.float32), mean, std) for each in augmented)
    small = others[0] if others else np.zeros((len(views), 0, 1, 1, views.shape[-1]), np.uint8)
    return [Seen(*pair) for pair in zip(views, small, strict=True)]


def levels(
    normalised: Float[np.ndarray | Array, "*shape c"], mean: Sequence[float], std: Sequence[float]
) -> UInt8[np.ndarray, "*shape c"]:
    """The grey levels, 0 to 255, of which normalised values were made."""
    values = np.asarray(normalised, np.float64) * np.array(std) + np.array(mean)
    return np.clip(np.round(255 * values), 0, 255).astype(np.uint8)


def write_sheet(path: pathlib.Path, rows: Sequence[Seen]) -> None:
    """Write the sheet, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.whole(path, mark="new") as unfinished:
        unfinished.write_bytes(png(sheet(rows)))


def sheet(rows: Sequence[Seen]) -> UInt8[np.ndarray, "height width 3"]:
    """All crops of all rows in one picture, at the places that `places` says."""
    side, small, number = rows[0].views.shape[1], rows[0].locals.shape[1], len(rows[0].locals)
    corners = places(side, small, number)
    canvas = np.full((len(rows) * (side + GAP) - GAP, _width(side, small, number), 3), 255)
    for row, seen in enumerate(rows):
        for left, crop in zip(corners, (*seen.views, *seen.locals), strict=True):
            top = row * (side + GAP)
            canvas[top : top + len(crop), left : left + crop.shape[1]] = shown(crop)
    return canvas.astype(np.uint8)


def places(side: int, small: int, number: int) -> list[int]:
    """The left edges of two views and `number` local crops."""
    return [0, side + GAP] + [2 * (side + GAP) + k * (small + GAP) for k in range(number)]


def _width(side: int, small: int, number: int) -> int:
    return 2 * (side + GAP) + number * (small + GAP) - GAP


def read_sheet(path: pathlib.Path, crops: CropsConfig) -> list[Seen] | None:
    """The crops in a sheet; None where it is missing, damaged or of another geometry."""
    side, number = crops.global_size, crops.local_number
    small = crops.local_size if number else 1
    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError):
        return None
    rows, rest = divmod(pixels.shape[0] + GAP, side + GAP)
    if rest or pixels.shape[1] != _width(side, small, number):
        return None
    corners = places(side, small, number)
    found = []
    for row in range(rows):
        band = pixels[row * (side + GAP) :][:side]
        views = np.stack([band[:, left : left + side] for left in corners[:2]])
        parts = [band[:small, left : left + small] for left in corners[2:]]
        empty = np.zeros((0, small, small, 3), np.uint8)
        found.append(Seen(views, np.stack(parts) if parts else empty))
    return found


def png(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """The picture as PNG."""
    held = io.BytesIO()
    Image.fromarray(image).save(held, "PNG", optimize=True)
    return held.getvalue()


def jpeg(image: UInt8[np.ndarray, "h w 3"], quality: int = 85) -> bytes:
    """The picture as JPEG."""
    held = io.BytesIO()
    Image.fromarray(image).save(held, "JPEG", quality=quality)
    return held.getvalue()
