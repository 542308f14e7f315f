"""Photographs of several labels each, in the layout of PASCAL VOC.

The spec is `voc:PATH[:SPLIT]`. Where `ImageSets/Main` has lists `CLASS_SPLIT.txt`, each names the
split's photographs with 1 (shows the class), -1 (does not) or 0 (only difficult ones, which count
neither way); else the classes are those of the pixels of `SegmentationClass`, for the photographs
of `ImageSets/Segmentation/SPLIT.txt`.
"""

import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, UInt8

from dino_jax.config import UserError
from dino_jax.data.decode import UnreadableImageError, decode
from dino_jax.data.palette import read_indexed
from dino_jax.data.source import Source
from dino_jax.data.sources import open_source
from dino_jax.data.text import read_text
from dino_jax.data.voc import BY_CLASS, CLASSES, IMAGES, names_of_set, photograph, voc_root

KIND = "voc"
FORM = "voc:PATH[:SPLIT]"
_MAIN, _MASKED = (pathlib.Path("ImageSets", part) for part in ("Main", "Segmentation"))
_OBJECTS = CLASSES[1:]  # without the background


class MultiLabelled(Source):
    """Photographs with any number of labels each.

    `relevant` (n, classes) says what each shows; `ignored`, of the same shape, where a label counts
    neither for nor against.
    """

    def __init__(
        self,
        spec: str,
        files: Sequence[pathlib.Path],
        class_names: Sequence[str],
        relevant: Bool[np.ndarray, "n classes"],
        ignored: Bool[np.ndarray, "n classes"],
        *,
        channels: int = 3,
    ) -> None:
        """Take the files in their final order, and what each shows."""
        super().__init__(spec, channels, class_names)
        self.files, self.relevant, self.ignored = tuple(files), relevant, ignored

    def __len__(self) -> int:
        """The number of photographs."""
        return len(self.files)

    def load(self, index: int) -> UInt8[np.ndarray, "h w c"]:
        """Decode one photograph; raises `UnreadableImageError` if it is damaged or has gone."""
        try:
            content = self.files[index].read_bytes()
        except OSError as error:
            raise UnreadableImageError(error.strerror or str(error)) from error
        return decode(content, self.channels)

    def name(self, index: int) -> str:
        """The photograph's file name without its suffix, as the lists have it."""
        return self.files[index].stem

    @property
    def labels(self) -> None:
        """None: no photograph has one class."""
        return None

    def _stamp(self, index: int) -> object:
        found = self.files[index].stat()
        return found.st_size, found.st_mtime_ns


def multi_labels(source: Source) -> Bool[np.ndarray, "n classes"] | None:
    """Which classes each example shows; None of a source whose examples have one class or none."""
    return source.relevant if isinstance(source, MultiLabelled) else None


def open_labelled(spec: str, *, channels: int = 3) -> Source:
    """Open `voc:PATH[:SPLIT]` as `MultiLabelled`, and any other spec as `open_source` does."""
    kind, colon, rest = spec.partition(":")
    if kind != KIND or not colon:
        return open_source(spec, channels=channels)
    path, _, split = rest.rpartition(":")
    if not path or "/" in split:
        path, split = rest, ""
    if not path.strip():
        raise UserError(f"{spec} names no folder; expected {FORM}")
    return open_multilabel(spec, pathlib.Path(path).expanduser(), split, channels=channels)


def open_multilabel(
    spec: str, folder: pathlib.Path, split: str = "", *, channels: int = 3
) -> MultiLabelled:
    """Open one split of a folder in VOC's layout; without a name, the only one there is.

    Raises `UserError`: no such layout, no such split, lists that disagree or name what is absent,
    or nothing in it shows any class.
    """
    root = voc_root(folder)
    if root is None:
        raise UserError(f"{folder} has no {IMAGES}; expected the layout of PASCAL VOC ({FORM})")
    found = {"Main": _main_splits(root), "Segmentation": _splits(root / _MASKED)}
    known = sorted(found["Main"] or found["Segmentation"])
    if not split and len(known) == 1:
        split = known[0]
    if split not in known:
        wrong = f"has no split {split!r}" if split else "has several splits"
        listed = ", ".join(known) or "none"
        raise UserError(f"{folder} {wrong}: it has {listed}; say which as {FORM}")
    if found["Main"]:
        names, classes, marks = _of_lists(root, split)
    else:
        names, classes, marks = _of_masks(root, split)
    if not (marks == 1).any():
        raise UserError(
            f"no photograph of {spec} shows any class: there is nothing to learn or find"
        )
    files = [photograph(root, name, split) for name in names]
    return MultiLabelled(spec, files, classes, marks == 1, marks == 0, channels=channels)


_Marked = tuple[list[str], tuple[str, ...], np.ndarray]
"""Names, classes, and (n, classes) of 1 shown, -1 not shown, 0 ignored."""


def _of_lists(root: pathlib.Path, split: str) -> _Marked:
    paths = sorted((root / _MAIN).glob(f"*_{split}.txt"))
    names: list[str] = []
    columns = []
    for path in paths:
        rows = [line.split() for line in read_text(path).splitlines() if line.strip()]
        if any(len(row) != 2 or row[1] not in ("1", "-1", "0") for row in rows):
            raise UserError(f"{path} has a line that is not NAME and 1, -1 or 0")
        listed = [row[0] for row in rows]
        if names and listed != names:
            raise UserError(f"{path} does not name the same photographs as {paths[0]}")
        names = listed
        columns.append([int(row[1]) for row in rows])
    if not names:
        raise UserError(f"the lists of {split} in {root / _MAIN} name no photograph")
    ending = len(f"_{split}")
    return names, tuple(path.stem[:-ending] for path in paths), np.array(columns).T


def _of_masks(root: pathlib.Path, split: str) -> _Marked:
    names = names_of_set(root, split)
    marks = np.full((len(names), len(_OBJECTS)), -1)
    for row, name in enumerate(names):
        path = root / BY_CLASS / f"{name}.png"
        if not path.is_file():
            raise UserError(f"the list {split} names {name}, but there is no {path}")
        shown = np.unique(read_indexed(path))
        marks[row, shown[(shown >= 1) & (shown <= len(_OBJECTS))].astype(int) - 1] = 1
    return names, _OBJECTS, marks


def _main_splits(root: pathlib.Path) -> set[str]:
    """The splits that lists of classes are for: those of a name with an underscore."""
    return {stem.rpartition("_")[2] for stem in _splits(root / _MAIN) if "_" in stem}


def _splits(folder: pathlib.Path) -> set[str]:
    return {path.stem for path in folder.glob("*.txt")}
