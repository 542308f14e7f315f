"""The layout of PASCAL VOC: `JPEGImages`, `SegmentationClass`, `SegmentationObject`, `ImageSets`.

Masks are PNGs with a palette: 0 background, 255 void; the index of a class, or of an object that is
numbered within its image. Boxes come from `Annotations` where it is there.
"""

import pathlib
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from dino_jax.config import UserError
from dino_jax.data.masked import MaskedImages
from dino_jax.data.text import read_text

CLASSES = tuple(
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse "
    "motorbike person pottedplant sheep sofa train tvmonitor".split()
)
IMAGES, BY_CLASS, BY_OBJECT = "JPEGImages", "SegmentationClass", "SegmentationObject"
_LISTS = pathlib.Path("ImageSets", "Segmentation")
_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPEG", ".JPG")


def voc_root(folder: pathlib.Path) -> pathlib.Path | None:
    """The folder that holds `JPEGImages`: this one, or VOCdevkit's newest year below; else None."""
    years = [*folder.glob("VOC20*"), *folder.glob("VOCdevkit/VOC20*")]
    for root in (folder, *sorted(years, key=lambda path: path.name, reverse=True)):
        if (root / IMAGES).is_dir():
            return root
    return None


def names_of_set(root: pathlib.Path, subset: str) -> list[str]:
    """The images of a list of `ImageSets/Segmentation`, or of any text file of names.

    Several lists are named with commas between them. Raises `UserError` where there is no such
    list, one names nothing, or an image is named twice.
    """
    names = [name for each in subset.split(",") for name in _listed(root, each)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"the list {subset} names {twice} twice")
    return names


def _listed(root: pathlib.Path, subset: str) -> list[str]:
    own = root / _LISTS / f"{subset}.txt"
    path = own if own.is_file() else pathlib.Path(subset).expanduser()
    if not path.is_file():
        others = ", ".join(sorted(each.stem for each in (root / _LISTS).glob("*.txt"))) or "none"
        raise UserError(
            f"there is no list {own}: this folder has {others}; name one, or a file of names, by "
            "--train-set or --val-set"
        )
    lines = read_text(path).splitlines()
    names = [line.split()[0] for line in lines if line.strip()]
    if not names:
        raise UserError(f"the list {path} names no image")
    return names


def open_voc(
    root: pathlib.Path,
    subset: str,
    *,
    masks: Sequence[str] = (BY_CLASS,),
    classes: int | None = None,
    channels: int = 3,
) -> MaskedImages:
    """The images of one list with their masks, of the first folder of `masks` that has one.

    `classes` (default 21, the background too) holds for masks by class; numbers of objects are
    free. Raises `UserError` where a list names an image or a mask that is not there.
    """
    names = names_of_set(root, subset)
    by_class = tuple(masks) == (BY_CLASS,)
    count = len(CLASSES) if classes is None else classes
    named = CLASSES if count == len(CLASSES) else tuple(map(str, range(count)))
    return MaskedImages(
        f"voc:{root}:{subset}:{'+'.join(masks)}",
        [photograph(root, name, subset) for name in names],
        [_mask(root, name, subset, masks) for name in names],
        class_names=named if by_class else (),
        classes=count if by_class else None,
        channels=channels,
    )


def photograph(root: pathlib.Path, name: str, subset: str) -> pathlib.Path:
    """The file of an image that the list `subset` names; raises `UserError` without one."""
    for suffix in _SUFFIXES:
        if (path := root / IMAGES / f"{name}{suffix}").is_file():
            return path
    raise UserError(f"the list {subset} names {name}, but {root / IMAGES} has no such image")


def annotated_boxes(root: pathlib.Path, name: str) -> Int[np.ndarray, "n 4"] | None:
    """Boxes (left, top, right, bottom) of `Annotations`, in pixels; None where it has no file.

    The file counts from 1 and includes the last pixel; here it is from 0, the last two excluded.
    Raises `UserError` where the file cannot be understood.
    """
    path = root / "Annotations" / f"{name}.xml"
    if not path.is_file():
        return None
    try:
        found = [_box(each) for each in ET.parse(path).getroot().iter("object")]
    except (ET.ParseError, ValueError) as error:
        raise UserError(f"the annotation {path} cannot be understood: {error}") from error
    return np.array(found, np.int64).reshape(-1, 4)


def _box(element: ET.Element) -> tuple[int, int, int, int]:
    sides = ("xmin", "ymin", "xmax", "ymax")
    told = [element.findtext(f"bndbox/{side}") for side in sides]
    if None in told:
        raise ValueError("an object without a box")
    left, top, right, bottom = (round(float(each or "")) for each in told)
    return left - 1, top - 1, right, bottom


def _mask(root: pathlib.Path, name: str, subset: str, folders: Sequence[str]) -> pathlib.Path:
    for folder in folders:
        if (path := root / folder / f"{name}.png").is_file():
            return path
    looked = " or ".join(folders)
    raise UserError(f"the list {subset} names {name}, but {root} has no {looked}/{name}.png")
