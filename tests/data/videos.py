"""Small trees laid out as DAVIS-2017: squares that move over a textured ground."""

import numpy as np
from PIL import Image

from dino_jax.data.palette import write_indexed

SIZE = (48, 80)


def masks_of(objects, frames, *, size=SIZE, speed=2):
    """Squares of 12 pixels, one above the other, that move right together."""
    masks = np.zeros((frames, *size), np.uint8)
    for frame in range(frames):
        for number in range(objects):
            left = 6 + speed * frame
            masks[frame, 4 + 16 * number : 16 + 16 * number, left : left + 12] = number + 1
    return masks


def frames_of(masks, seed=0):
    """The ground is dim and does not move; every object has a bright colour of its own."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(0, 60, (*masks.shape[1:], 3))
    colours = np.concatenate([np.zeros((1, 3)), 100 + 155 * np.eye(3), np.full((9, 3), 230)])
    return np.where(masks[..., None] > 0, colours[np.minimum(masks, 12)], ground[None]).astype(
        np.uint8
    )


def write_video(root, name, masks, frames=None):
    """One sequence."""
    frames = frames_of(masks) if frames is None else frames
    images = root / "JPEGImages/480p" / name
    images.mkdir(parents=True, exist_ok=True)
    for number, (mask, frame) in enumerate(zip(masks, frames, strict=True)):
        Image.fromarray(frame).save(images / f"{number:05d}.jpg", quality=95)
        write_indexed(root / "Annotations/480p" / name / f"{number:05d}.png", mask)


def write_tree(root, **videos):
    """A tree of sequences: `name=masks`."""
    for name, masks in videos.items():
        write_video(root, name, masks)
    listed = root / "ImageSets/2017/val.txt"
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text("".join(f"{name}\n" for name in videos))
    return root


def write_masks(folder, name, masks):
    """Predicted masks of one sequence."""
    for number, mask in enumerate(masks):
        write_indexed(folder / name / f"{number:05d}.png", mask)
