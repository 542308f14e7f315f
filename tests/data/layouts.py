"""Small folders laid out as CamVid and as VOC, of squares on a plain ground."""

import numpy as np
from PIL import Image

from dino_jax.data.palette import write_indexed

GROUND, SQUARE = (60, 90, 40), (220, 60, 120)


def picture(random, height, width, *, label=1, ground=0):
    """A photograph of one square on the ground, and its labels; void frames the square."""
    side = min(height, width) // 2
    top, left = random.integers(0, height - side + 1), random.integers(0, width - side + 1)
    labels = np.full((height, width), ground, np.uint8)
    labels[top : top + side, left : left + side] = label
    image = np.where((labels == label)[..., None], SQUARE, GROUND)
    noise = random.normal(0, 8, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), labels


def write_camvid(folder, *, train=4, val=2, height=32, width=48):
    random = np.random.default_rng(0)
    for subset, count in (("train", train), ("val", val)):
        for number in range(count):
            image, labels = picture(random, height, width)
            labels[0, :] = 11  # void
            path = folder / subset / f"{subset}_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
            write_indexed(folder / f"{subset}annot" / path.name, labels)
    return folder


def write_voc(root, *, count=3, sizes=((48, 64), (64, 48)), objects=True):
    """`count` images in the list `val`, the others of `train` alike."""
    random = np.random.default_rng(1)
    for subset in ("train", "val"):
        names = [f"{subset}_{number}" for number in range(count)]
        for number, name in enumerate(names):
            image, labels = picture(random, *sizes[number % len(sizes)], label=15)
            path = root / "JPEGImages" / f"{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path, quality=95)
            write_indexed(root / "SegmentationClass" / f"{name}.png", labels)
            if objects:
                labels = np.where(labels == 15, 1, labels).astype(np.uint8)
                labels[:, 0] = 255
                write_indexed(root / "SegmentationObject" / f"{name}.png", labels)
        path = root / "ImageSets" / "Segmentation" / f"{subset}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(names) + "\n")
    return root
