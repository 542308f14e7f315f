"""Videos and masks in the layout of DAVIS-2017, read as its official evaluation reads them.

JPEGImages/480p/SEQUENCE/*.jpg, Annotations/480p/SEQUENCE/*.png, and the names of the sequences in
ImageSets/2017/val.txt. A mask holds 0 where there is no object, and objects from 1.
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dino_jax.config import UserError
from dino_jax.data.decode import UnreadableImageError, decode, is_image_name, upright_size
from dino_jax.data.palette import read_indexed
from dino_jax.data.text import read_text

VOID = 255
"""Taken for background, in the first mask and in those that are scored."""

Masks = UInt8[np.ndarray, "frames h w"]


class Video(NamedTuple):
    """One sequence: its name, and the files of its frames and their masks in order."""

    name: str
    frames: tuple[pathlib.Path, ...]
    masks: tuple[pathlib.Path, ...]


class Truth(NamedTuple):
    """The masks of one sequence, with objects 1 to `objects` in the first and no others after."""

    masks: Masks
    objects: int


def open_davis(
    folder: str | pathlib.Path, sequences: Sequence[str] = (), *, split: str = "val"
) -> list[Video]:
    """The sequences of a split, or those named; every frame has a mask.

    Raises:
        UserError: a folder or a file of the layout is missing; a sequence is named that the
            split lacks, or has no frames, no first mask, or not a mask to every frame.
    """
    root = pathlib.Path(folder)
    if not (root / "JPEGImages").is_dir() and (root / "DAVIS" / "JPEGImages").is_dir():
        root = root / "DAVIS"
    for part in ("JPEGImages/480p", "Annotations/480p"):
        if not (root / part).is_dir():
            raise UserError(f"{root} is not laid out as DAVIS-2017: it has no folder {part}")
    listed = root / "ImageSets" / "2017" / f"{split}.txt"
    if not listed.is_file():
        raise UserError(
            f"{root} is not laid out as DAVIS-2017: it has no ImageSets/2017/{split}.txt"
        )
    names = read_text(listed).split()
    if not names:
        raise UserError(f"{listed} names no sequence")
    for name in sequences:
        if name not in names:
            raise UserError(f"there is no sequence {name} in {listed}: {_some(names)}")
    return [_video(root, name, listed) for name in names if name in (sequences or names)]


def _video(root: pathlib.Path, name: str, listed: pathlib.Path) -> Video:
    images, annotations = (root / part / "480p" / name for part in ("JPEGImages", "Annotations"))
    if not images.is_dir():
        raise UserError(f"sequence {name} is named in {listed} but there is no {images}")
    frames = sorted(path for path in images.iterdir() if is_image_name(path.name))
    if len(frames) < 3:
        raise UserError(
            f"sequence {name} has {len(frames)} frames: expected at least 3, as the first and "
            "the last are not scored"
        )
    masks = [annotations / f"{frame.stem}.png" for frame in frames]
    if not masks[0].is_file():
        raise UserError(f"sequence {name} has no first mask: there is no {masks[0]}")
    missing = [mask for mask in masks if not mask.is_file()]
    if missing:
        raise UserError(
            f"sequence {name} has {len(frames)} frames but {len(frames) - len(missing)} masks: "
            f"there is no {missing[0]}"
        )
    return Video(name, tuple(frames), tuple(masks))


def read_frame(path: pathlib.Path, channels: int = 3) -> UInt8[np.ndarray, "h w c"]:
    """One frame, upright; raises `UserError` if it cannot be read."""
    try:
        return decode(path.read_bytes(), channels)
    except UnreadableImageError as error:
        raise UserError(f"the frame {path} cannot be read: {error}") from error


def read_truth(video: Video) -> Truth:
    """Every mask of a sequence, void taken for background.

    Raises:
        UserError: the frames differ in size; a mask is unreadable, of another size, or holds an
            object that the first mask lacks; or the first mask holds none.
    """
    size = _frame_size(video.frames[0])
    for frame in video.frames[1:]:
        if _frame_size(frame) != size:
            raise UserError(
                f"{frame} is {_size(_frame_size(frame))} pixels, but the first frame is "
                f"{_size(size)}: the frames of a sequence must be of one size"
            )
    masks = np.zeros((len(video.masks), *size), np.uint8)
    known: set[int] = set()
    for number, path in enumerate(video.masks):
        masks[number] = _of_size(read_indexed(path), size, path, "its first frame")
        masks[number][masks[number] == VOID] = 0
        found = set(np.unique(masks[number]).tolist()) - {0}
        known = known or found
        if not known:
            raise UserError(f"the first mask of {video.name}, {path}, holds no object")
        if found - known:
            raise UserError(
                f"{path} holds object {min(found - known)}, which the first mask of "
                f"{video.name} lacks: it has {_some(sorted(known))}"
            )
    return Truth(masks, max(known))


def predicted_paths(folder: str | pathlib.Path, video: Video) -> list[pathlib.Path]:
    """The files of predicted masks of a sequence, from its second frame to its last but one.

    Those of the first and the last frame are not scored and need not be there.

    Raises:
        UserError: the folder of the sequence is missing, lacks a mask, or holds one of no frame.
    """
    root = pathlib.Path(folder)
    if not root.is_dir():
        raise UserError(f"there is no folder of predictions {root}")
    if not (root / video.name).is_dir():
        raise UserError(
            f"{root} has no predictions for {video.name}: expected a folder {video.name} in it "
            "(or name the sequences to score: --sequences=…)"
        )
    paths = [root / video.name / mask.name for mask in video.masks]
    present = {path for path in (root / video.name).iterdir() if path.suffix == ".png"}
    missing = [path for path in paths[1:-1] if path not in present]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(paths) - 2} predictions for {video.name} are missing: there "
            f"is no {missing[0]}"
        )
    surplus = sorted(present - set(paths))
    if surplus:
        raise UserError(
            f"{len(present)} predictions for the {len(paths)} frames of {video.name}: {surplus[0]} "
            "belongs to none"
        )
    return paths[1:-1]


def read_predictions(folder: str | pathlib.Path, video: Video, truth: Truth) -> Masks:
    """Predicted masks of a sequence, without those of the first and the last frame.

    Raises:
        UserError: as `predicted_paths`; or a mask is unreadable, of another size than the true
            ones, or holds an index above those of the objects.
    """
    masks = np.zeros_like(truth.masks[1:-1])
    for number, path in enumerate(predicted_paths(folder, video)):
        masks[number] = _of_size(read_indexed(path), masks.shape[1:], path, "the true mask")
        highest = int(masks[number].max())
        if highest > truth.objects:
            raise UserError(
                f"{path} holds index {highest}, but the objects of {video.name} end at "
                f"{truth.objects}"
            )
    return masks


def _of_size(
    labels: UInt8[np.ndarray, "h w"], size: tuple[int, ...], path: pathlib.Path, other: str
) -> UInt8[np.ndarray, "h w"]:
    if labels.shape != tuple(size):
        raise UserError(f"{path} is {_size(labels.shape)} pixels, but {other} {_size(size)}")
    return labels


def _frame_size(path: pathlib.Path) -> tuple[int, int]:
    """Height and width of a frame, upright, without decoding it."""
    try:
        with Image.open(path) as image:
            return upright_size(image)
    except Exception as error:  # a damaged file makes decoders raise nearly anything
        raise UserError(f"the frame {path} cannot be read: {error}") from error


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} × {shape[0]}"


def _some(names: Sequence[object], most: int = 8) -> str:
    """The names, or the first of them."""
    return ", ".join(map(str, names[:most])) + (", …" if len(names) > most else "")
