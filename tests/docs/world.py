"""What the pages take for granted: runs, weights and photographs under the names they use."""

import pathlib
import shutil

import numpy as np
import skimage
from PIL import Image

from tests.docs.pages import ROOT

CHECKPOINT = ROOT / "tests" / "train" / "data" / "checkpoint_v1" / "3"
RUNS = ("runs/quickstart", "runs/first", "runs/mine", "dino_vits16")
"""A run of a network of one block stands for each; a folder of a published name is that folder."""
FOLDERS = ("photos/train", "photos/val", "imagenette/train", "imagenette/val", "to/images")
PICTURES = ("cat.jpg", "one.jpg", "other.jpg")


def make(folder: pathlib.Path) -> None:
    """Put all of it into a folder."""
    for run in RUNS:
        shutil.copytree(CHECKPOINT, folder / run / "checkpoints" / "3")
    metrics = ROOT / "docs" / "cifar10" / "seed1" / "metrics.jsonl"
    shutil.copy(metrics, folder / "runs" / "mine")
    cat = Image.open(pathlib.Path(skimage.data_dir, "chelsea.png")).convert("RGB")
    random = np.random.default_rng(0)
    for place in FOLDERS:
        for name in ("left", "right"):
            (folder / place / name).mkdir(parents=True)
            for number in range(12):
                x, y = (int(random.integers(0, most)) for most in (160, 230))
                x += 200 * (name == "right")
                cat.crop((x, y, x + 48, y + 40)).save(folder / place / name / f"{number}.jpg")
    for number, name in enumerate(PICTURES):
        cat.crop((100 + 10 * number, 40, 260 + 10 * number, 160)).save(folder / name)
