"""What the trained network attends to, beside its untrained self and one trained with labels.

python experiments/small_imagenette/attention.py --weights=runs/imagenette \\
    --supervised=runs/supervised --out=experiments/small_imagenette

The photographs are those of the scikit-image and scikit-learn wheels. No head is picked: a map is
the mean of all. The overlaps with objects are read from results/jaccard.json (run.py).
"""

import argparse
import json
import pathlib
from typing import Any

import numpy as np
import skimage
import sklearn.datasets

from dino_jax.data.decode import decode
from dino_jax.interop.encoder import Encoder, open_encoder
from dino_jax.viz.attend.colour import scale_of
from dino_jax.viz.attend.figure import Style, panel_of
from dino_jax.viz.attend.maps import attention_maps, block_count
from dino_jax.viz.attend.picture import Picture, pictured
from dino_jax.viz.attend.sheet import Panel, Strip, write_sheet

SKIMAGE = pathlib.Path(skimage.data_dir)
SKLEARN = pathlib.Path(sklearn.datasets.__file__).parent / "images"
PHOTOGRAPHS = {
    "cat": SKIMAGE / "chelsea.png",
    "astronaut": SKIMAGE / "astronaut.png",
    "coffee": SKIMAGE / "coffee.png",
    "rocket": SKIMAGE / "rocket.jpg",
    "flower": SKLEARN / "flower.jpg",
    "temple": SKLEARN / "china.jpg",
}
STYLE = Style(mass=0.6)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("weights", "supervised", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--size", type=int, default=480)
    asked = parser.parse_args()
    out = pathlib.Path(asked.out)
    encoders = {
        "trained teacher": open_encoder(asked.weights),
        "untrained": open_encoder(f"random:{asked.weights}"),
        "supervised from scratch": open_encoder(asked.supervised),
    }
    measured = json.loads((out / "results" / "jaccard.json").read_text())
    first = encoders["trained teacher"]
    pictures = {
        name: pictured(squared(file), first, size=asked.size, name=name)
        for name, file in PHOTOGRAPHS.items()
    }
    write_page(out / "attention.jpg", pictures, encoders, measured)


def squared(file: pathlib.Path) -> np.ndarray:
    """The middle of a photograph, as high as wide: (side, side, 3), uint8."""
    image = decode(file.read_bytes())
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def write_page(
    path: pathlib.Path,
    pictures: dict[str, Picture],
    encoders: dict[str, Encoder],
    measured: dict[str, Any],
) -> None:
    """A column a photograph; a row the photographs, then a row each network."""
    maps = {
        title: {
            name: attention_maps(encoder, picture.pixels)[0].mean(axis=0)
            for name, picture in pictures.items()
        }
        for title, encoder in encoders.items()
    }
    scale = scale_of(each for row in maps.values() for each in row.values())
    strips = [Strip("", [Panel(name, each.image) for name, each in pictures.items()])]
    for title, row in maps.items():
        panels = [
            panel_of(pictures[name], each, "", style=STYLE, scale=scale)
            for name, each in row.items()
        ]
        strips.append(Strip(f"{title} · {overlap(title, measured)}", panels))
    encoder = next(iter(encoders.values()))
    height, width = next(iter(pictures.values())).pixels.shape[:2]
    last = block_count(encoder) - 1
    write_sheet(
        path,
        f"CLS attention, mean of {encoder.heads} heads, block {last} (the last), "
        f"{width} × {height} pixels in patches of {encoder.patch_size}; "
        f"trained on 2,000 images at {encoder.size}",
        strips,
        scale=scale,
        note="blue outline: the patches that hold 60 % of each map; Jaccard: overlap of objects "
        "with\nsuch masks, best head, 36 frames of film; a blob in the middle has 19.8 and 14.0",
        columns=len(pictures),
        pixels_per_inch=160,
    )


def overlap(title: str, measured: dict[str, Any]) -> str:
    """`Jaccard 10.7 [7.5, 14.4] at 60 % of the mass, …`, of the VOC-like set."""
    said = []
    for share in (60, 80):
        value = measured["figures"][title][f"jaccard_{share}"]
        low, high = measured["intervals"][title][f"jaccard_{share}"]
        said.append(f"{value:.1f} [{low:.1f}, {high:.1f}] at {share} %")
    return "Jaccard " + ", ".join(said)


if __name__ == "__main__":
    main()
