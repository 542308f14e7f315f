"""What is written beside a figure: its numbers, and a file a head as the original writes them."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from dino_jax.files import made, whole
from dino_jax.viz.attend.colour import enlarged, masks, outlined, overlay, plain
from dino_jax.viz.attend.figure import Seen, Style
from dino_jax.viz.attend.maps import Point, mean_of_heads

_LONGEST = 150
"""Bytes of a name; file systems hold 255, and more is put after it."""


class Written(NamedTuple):
    """The files, and what is to be said of them."""

    files: list[pathlib.Path]
    said: str = ""


def stem_of(name: str) -> str:
    """A name without its suffix, for files: folders in it become part of it, its end is kept.

    It is empty where nothing of the name can be kept.
    """
    stem = str(pathlib.PurePosixPath(name).with_suffix("")) if name else ""
    kept = "".join(c if c.isprintable() else "_" for c in stem.replace("/", "-"))
    return kept.encode()[-_LONGEST:].decode(errors="ignore").lstrip(".-")


class Names:
    """Names of files for pictures, each once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, name: str) -> str:
        """The picture's name without its suffix, as `stem_of`."""
        stem = stem_of(name) or "picture"
        number, unique = 1, stem
        while unique in self._taken:
            number += 1
            unique = f"{stem}-{number}"
        self._taken.add(unique)
        return unique


def write_arrays(
    path: pathlib.Path, seen: Sequence[Seen], *, points: Sequence[Point], mass: float | None
) -> None:
    """Write the numbers of a figure: `attention`, `mask` and `pixels`, of each weights.

    Those of the compared weights end in their number (`attention_1`). `about` is JSON: weights,
    block, size and patch of each, the points, and the mass of the masks.
    """
    arrays: dict[str, Any] = {}
    about: dict[str, Any] = {"points": [list(point) for point in points], "mass": mass}
    about["weights"] = [_about(one) for one in seen]
    for number, one in enumerate(seen):
        mark = f"_{number}" if number else ""
        arrays[f"attention{mark}"] = one.maps
        arrays[f"pixels{mark}"] = one.picture.pixels
        if mass is not None:
            arrays[f"mask{mark}"] = masks(one.maps, mass)
            arrays[f"mask_of_mean{mark}"] = masks(mean_of_heads(one.maps), mass)
    with whole(path) as unfinished:
        np.savez_compressed(unfinished, about=np.array(json.dumps(about)), **arrays)


def _about(one: Seen) -> dict[str, Any]:
    height, width = one.picture.pixels.shape[:2]
    return {
        "weights": one.encoder.name,
        "identity": one.encoder.identity,
        "block": one.block,
        "image": one.picture.name,
        "height": height,
        "width": width,
        "patch": one.encoder.patch_size,
        "precision": one.encoder.precision,
    }


def write_heads(folder: pathlib.Path, one: Seen, style: Style) -> pathlib.Path:
    """Write `img.png`, `attn-head0.png` … and `attn-mean.png`, and overlays with their masks.

    The maps are enlarged by repetition and coloured from their least to their most, pixel for
    pixel as the original's (`visualize_attention.py`); those of points begin with `point1-`. Masks
    are `mask_th0.6_head0.png`.
    """
    made(folder)
    _save(folder / "img.png", one.picture.image)
    for query, maps in enumerate(one.maps):
        whose = f"point{query}-" if query else ""
        named = {f"head{head}": each for head, each in enumerate(maps)}
        for name, attention in {**named, "mean": mean_of_heads(maps)}.items():
            _save(folder / f"{whose}attn-{name}.png", map_image(one.picture.image, attention))
            if style.mass is not None:
                mask = masks(attention, style.mass)
                drawn = outlined(overlay(one.picture.image, attention), mask)
                _save(folder / f"{whose}mask_th{style.mass:g}_{name}.png", drawn)
    return folder


def map_image(
    image: UInt8[np.ndarray, "h w 3"], attention: Float[np.ndarray, "rows columns"]
) -> UInt8[np.ndarray, "h w 3"]:
    """One map at the size of its image, each patch a square of its colour."""
    return plain(enlarged(attention, image.shape[0], image.shape[1]))


def _save(path: pathlib.Path, image: UInt8[np.ndarray, "h w 3"]) -> None:
    from PIL import Image

    with whole(path) as unfinished:
        Image.fromarray(np.ascontiguousarray(image)).save(unfinished)
