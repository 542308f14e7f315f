"""The layout of CamVid as SegNet gave it out: `train` and `trainannot`, `val` and `valannot`.

A mask is a grey or palette PNG with the stem of its image: 0 to 10 a class, 11 void.
"""

import pathlib

from dino_jax.config import UserError
from dino_jax.data.decode import is_image_name
from dino_jax.data.masked import VOID, MaskedImages

CLASSES = tuple("sky building pole road pavement tree sign fence car pedestrian bicyclist".split())
MASKS = "annot"


def is_camvid(folder: pathlib.Path, subset: str = "") -> bool:
    """Whether a folder has this layout: some folder, or that of `subset`, and `…annot` beside."""
    if subset:
        return (folder / f"{subset}{MASKS}").is_dir()
    return any(
        each.is_dir() and (folder / each.name.removesuffix(MASKS)).is_dir()
        for each in folder.glob(f"?*{MASKS}")
    )


def open_camvid(
    folder: pathlib.Path, subset: str, *, classes: int | None = None, channels: int = 3
) -> MaskedImages:
    """The images of one subset, by name, with their masks.

    `classes` (default 11) labels come before void, which is the next one, or 255 where that one is
    not a byte. Raises `UserError` where a folder, an image or a mask is missing.
    """
    count = len(CLASSES) if classes is None else classes
    images = _files(folder / subset)
    masks = _files(folder / f"{subset}{MASKS}")
    if missing := sorted(set(images) - set(masks)):
        raise UserError(f"{folder / f'{subset}{MASKS}'} has no mask of {images[missing[0]].name}")
    if missing := sorted(set(masks) - set(images)):
        raise UserError(f"{folder / subset} has no image of the mask {masks[missing[0]].name}")
    return MaskedImages(
        f"camvid:{folder / subset}",
        [images[stem] for stem in sorted(images)],
        [masks[stem] for stem in sorted(images)],
        class_names=CLASSES if count == len(CLASSES) else tuple(map(str, range(count))),
        classes=count,
        void=min(count, VOID),
        channels=channels,
    )


def _files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Image files by stem; raises `UserError` without any."""
    if not folder.is_dir():
        raise UserError(
            f"there is no folder {folder}: the layout of CamVid has train, trainannot, val, "
            "valannot, and --train-set and --val-set name others"
        )
    found = {path.stem: path for path in sorted(folder.iterdir()) if is_image_name(path.name)}
    if not found:
        raise UserError(f"{folder} holds no images")
    return found
