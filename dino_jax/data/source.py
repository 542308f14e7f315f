"""What every source of images offers, whatever it reads."""

import abc
import collections
import hashlib
import itertools
import logging
import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt8

from dino_jax.config import UserError
from dino_jax.data.decode import UnreadableImageError, decode, is_image_name, unread_suffix

_LOG = logging.getLogger(__name__)
_SPLITS = frozenset(("train", "training", "val", "valid", "validation", "test"))
_EXPECTED = "JPEG, PNG, WebP, TIFF, BMP, GIF, PPM, JPEG 2000 or AVIF"


class Source(abc.ABC):
    """Decoded images by index, with labels where the source has them.

    Sources are picklable (worker processes get a copy) and may be read by many threads at once.
    """

    def __init__(self, spec: str, channels: int, class_names: Sequence[str] = ()) -> None:
        """Keep the spec it was opened by, the channels, and the class names in label order."""
        self.spec = spec
        self.channels = channels
        self.class_names = tuple(class_names)
        self._named: set[int] = set()

    @abc.abstractmethod
    def __len__(self) -> int:
        """The number of examples, readable or not."""

    @abc.abstractmethod
    def load(self, index: int) -> UInt8[np.ndarray, "h w c"]:
        """Decode one example; raises `UnreadableImageError` if its content is damaged."""

    def content(self, index: int) -> bytes | None:
        """The image file of one example, which `load` decodes as it is; None where there is none.

        Raises `UnreadableImageError` if it has gone.
        """
        del index
        return None

    @abc.abstractmethod
    def name(self, index: int) -> str:
        """What a user would call this example: a path, or the photograph and the place in it."""

    @property
    @abc.abstractmethod
    def labels(self) -> Int[np.ndarray, "n"] | None:
        """The class of every example (int64 index into `class_names`), or None without labels."""

    def may_be_shown(self, index: int) -> bool:
        """Whether pages and figures may hold this image, or a part of it."""
        del index
        return True

    def content_key(self) -> str:
        """What changes when the images do: the spec, the names, and of files size and time.

        It names what was computed of the images, where that is kept.
        """
        digest = hashlib.sha256(f"{self.spec}\0{self.channels}\0{len(self)}".encode())
        for index in range(len(self)):
            digest.update(f"{self.name(index)}\0{self._stamp(index)}\0".encode(errors="replace"))
        return digest.hexdigest()

    def _stamp(self, index: int) -> object:
        """What changes when the content of one example does; sources of fixed content have none."""
        del index
        return None

    def name_unreadable(self, index: int, reason: object = None) -> None:
        """Name an unreadable example to the user: the first time, whoever came upon it.

        Without a `reason` (a worker process found it) the example is read again to learn it.
        """
        if index not in self._named:
            self._named.add(index)
            why = self._why_unreadable(index) if reason is None else str(reason)
            _LOG.warning("skipped unreadable image %s (%s)", self.name(index), why)

    def _why_unreadable(self, index: int) -> str:
        try:
            self.load(index)
        except UnreadableImageError as error:
            return str(error)
        return "it could be read at a second try"

    def label(self, index: int) -> int | None:
        """The class of one example, or None where there are no labels."""
        return None if self.labels is None else int(self.labels[index])


class FileSource(Source):
    """Images that lie in encoded form under paths, and are classed by those paths."""

    def __init__(self, spec: str, paths: Sequence[str], channels: int) -> None:
        """Take the paths (with `/`, relative to the source's root), in their final order."""
        names, labels = classes_of_paths(paths)
        super().__init__(spec, channels, names)
        self._paths = list(paths)
        self._labels = labels
        splits = _splits_of_paths(paths)
        if len(splits) > 1:
            single = " or ".join(f"{spec.rstrip('/')}/{each}" for each in splits)
            taken = " and ".join(each.rpartition("/")[2] for each in splits)
            _LOG.warning("%s takes %s together; name %s instead", spec, taken, single)

    def __len__(self) -> int:
        """The number of image files."""
        return len(self._paths)

    @abc.abstractmethod
    def read(self, index: int) -> bytes:
        """The encoded content of one file."""

    def load(self, index: int) -> UInt8[np.ndarray, "h w c"]:
        """Decode one file; raises `UnreadableImageError` if it is damaged or has gone."""
        return decode(self.content(index), self.channels)

    def content(self, index: int) -> bytes:
        """The encoded content of one file; raises `UnreadableImageError` if it has gone."""
        try:
            return self.read(index)
        except OSError as error:
            raise UnreadableImageError(error.strerror or str(error)) from error

    def name(self, index: int) -> str:
        """The path within the source."""
        return self._paths[index]

    @property
    def labels(self) -> Int[np.ndarray, "n"] | None:
        """The class of every file, by its folder."""
        return self._labels


def classes_of_paths(
    paths: Sequence[str],
) -> tuple[tuple[str, ...], Int[np.ndarray, "n"] | None]:
    """Class names and labels from a list of paths, or `((), None)` for an unlabelled heap.

    Folders that lead to every path are set aside first (`cifar10/train/`). The rest are classes
    if every image lies exactly one folder deep and there are two folders or more; in any other
    arrangement, flat or nested, folders mean nothing.
    """
    folders = [path.split("/")[:-1] for path in paths]
    shared = _shared_depth(folders)
    if not folders or any(len(folder) != shared + 1 for folder in folders):
        return (), None
    names = sorted({folder[-1] for folder in folders})
    numbers = {name: number for number, name in enumerate(names)}
    return tuple(names), np.array([numbers[folder[-1]] for folder in folders], np.int64)


def _splits_of_paths(paths: Sequence[str]) -> list[str]:
    """The uppermost folders that differ, where they bear the usual names of splits."""
    folders = [path.split("/")[:-1] for path in paths]
    depth = _shared_depth(folders)
    upper = {"/".join(each[: depth + 1]) for each in folders if _SPLITS & {*each[depth:][:1]}}
    return sorted(upper)


def _shared_depth(folders: Sequence[list[str]]) -> int:
    levels = zip(*folders, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda level: len(set(level)) == 1, levels))


def only_images(paths: Sequence[str], spec: str) -> list[str]:
    """The paths that name images, in torchvision's order (folder by folder, then by name).

    Images of kinds that are not read (HEIC, raw) are counted in one warning. Raises
    `UserError` if no path names an image, telling what lies there instead.
    """
    kept = [path for path in paths if is_image_name(path)]
    if kept:
        _warn_of_unread(paths, spec)
        return sorted(kept, key=lambda path: path.split("/"))
    advice = "convert them" if paths else "put some there"
    raise UserError(
        f"{spec} holds no images{_other_files(paths)}; expected {_EXPECTED} files, so {advice} "
        "or name another place"
    )


def _warn_of_unread(paths: Sequence[str], spec: str) -> None:
    found = (suffix for path in paths if (suffix := unread_suffix(path)))
    counts = collections.Counter(sorted(found))
    if not counts:
        return
    *most, last = [f"{count} {suffix}" for suffix, count in counts.most_common()]
    listed = f"{', '.join(most)} and {last}" if most else last
    files, them = ("files", "them") if counts.total() > 1 else ("file", "it")
    _LOG.warning(
        "%s: left out %s %s, which cannot be read; convert %s to JPEG or PNG",
        *(spec, listed, files, them),
    )


def _other_files(paths: Sequence[str]) -> str:
    if not paths:
        return " (it is empty)"
    suffixes = [os.path.splitext(path)[1].lower() or "no suffix" for path in paths]
    common = max(sorted(set(suffixes)), key=suffixes.count)
    return f", but {len(paths)} other files (most of them {common})"
