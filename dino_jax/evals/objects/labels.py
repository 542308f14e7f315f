"""Regions written as weak labels: indexed PNGs, boxes, and one JSON file an image."""

import collections
import json
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from dino_jax.data.palette import write_indexed
from dino_jax.evals.objects.regions import Frame, Head, Regions
from dino_jax.ops.discovery import Box

ATTENTION, OBJECTS, TOLD = "attention", "object", "json"
MOST_HEADS = 254


def file_names(names: Sequence[str]) -> list[str]:
    """A path without suffix for every image, below the folder that is written.

    It is the image's own name without its suffix, unless another image would have the same.
    """
    plain = [re.sub(r"[^\w./+-]", "_", name).lstrip("/").replace("..", "_") for name in names]
    stems = [str(pathlib.PurePosixPath(name).with_suffix("")) for name in plain]
    counts = collections.Counter(stems)
    found = [stem if counts[stem] == 1 else name for stem, name in zip(stems, plain, strict=True)]
    repeated = collections.Counter(found)
    return [name if repeated[name] == 1 else f"{name}-{k}" for k, name in enumerate(found)]


def write_labels(
    folder: pathlib.Path, file: str, regions: Regions, frame: Frame, told: dict[str, Any]
) -> None:
    """Write what was singled out in one image.

    `attention/FILE.png` marks the region of the chosen head by that head's number (from 1),
    `object/FILE.png` LOST's object by 1; both have the image's size and 0 for the rest.
    `json/FILE.json` holds `told`, then every head's threshold, box and score, and LOST's seed.
    """
    chosen = regions.heads[regions.chosen]
    label = np.uint8(min(regions.chosen, MOST_HEADS - 1) + 1)
    paths = {kind: folder / kind / f"{file}.png" for kind in (ATTENTION, OBJECTS)}
    write_indexed(paths[ATTENTION], frame.pixels(chosen.mask) * label)
    write_indexed(paths[OBJECTS], frame.pixels(regions.found.mask) * np.uint8(1))
    path = folder / TOLD / f"{file}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told | description(regions, frame), indent=1) + "\n")


def description(regions: Regions, frame: Frame) -> dict[str, Any]:
    """What is written of one image: boxes are left, top, right, bottom in its pixels.

    A head's `score` is the share of its attention inside the box's region; LOST's is the share of
    the patches that its seed does not correlate with: the more, the more it stands out.
    """
    row, column = regions.found.seed
    seed = np.zeros(regions.found.mask.shape, bool)
    seed[row, column] = True
    return {
        "width": frame.width,
        "height": frame.height,
        "attention": {
            "head": regions.chosen + 1,
            **_head(regions.heads[regions.chosen], frame),
            "heads": [_head(head, frame) for head in regions.heads],
        },
        "object": {
            "method": "LOST",
            "box": _box(frame.box(regions.found.mask)),
            "score": 1 - regions.found.degree / regions.found.mask.size,
            "seed": _box(frame.box(seed)),
            "seeds": regions.found.seeds,
        },
    }


def _head(head: Head, frame: Frame) -> dict[str, Any]:
    return {
        "threshold": head.threshold,
        "box": _box(frame.box(head.part)),
        "score": head.score,
        "agreement": head.agreement,
    }


def _box(box: Box | None) -> list[int] | None:
    return None if box is None else list(box)
