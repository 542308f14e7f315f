"""Small arrays of a run at some of its steps: `report/KIND-STEP.npz` in its folder."""

import pathlib
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from jaxtyping import Float, UInt8

from dino_jax import files

Arrays = Mapping[str, np.ndarray]
FIXED, ATTENTION, NEIGHBOURS = "images.npz", "attention", "neighbours"


class Fixed(NamedTuple):
    """The held-out images that all snapshots of a run are of, one at least."""

    names: tuple[str, ...]
    classes: tuple[str, ...]
    large: UInt8[np.ndarray, "n h w c"]
    """As attention is shown on them."""
    thumbs: UInt8[np.ndarray, "n thumb thumb c"]


class Near(NamedTuple):
    """The k training images that are nearest to each."""

    similarity: Float[np.ndarray, "n k"]
    thumbs: UInt8[np.ndarray, "n k h w c"]
    classes: np.ndarray
    """(n, k) texts."""
    bank: int
    """Among how many they were sought."""


def read_fixed(folder: pathlib.Path) -> Fixed | None:
    """The fixed images; None where they are missing, damaged or not ours."""
    found = read_arrays(folder / FIXED) or {}
    names, classes, large, thumbs = (found.get(name) for name in Fixed._fields)
    if not (_texts(names, 1) and _texts(classes, 1) and _images(large, 4) and _images(thumbs, 4)):
        return None
    if len({len(each) for each in (names, classes, large, thumbs)}) != 1:
        return None
    return Fixed(tuple(map(str, names)), tuple(map(str, classes)), large, thumbs)


def read_maps(
    folder: pathlib.Path, step: int, number: int
) -> Float[np.ndarray, "n rows columns"] | None:
    """Attention on `number` images at a step; None where it is damaged or holds no shares."""
    maps = (read(folder, ATTENTION, step) or {}).get("maps")
    if not _numbers(maps, 3) or len(maps) != number or maps.min() < 0 or maps.max() > _ALL:
        return None
    return maps


def read_near(folder: pathlib.Path, step: int, number: int) -> Near | None:
    """Neighbours of `number` images at a step; None where they are damaged or no neighbours."""
    found = read(folder, NEIGHBOURS, step) or {}
    similarity, thumbs, classes, bank = (found.get(name) for name in Near._fields)
    if not (_numbers(similarity, 2) and _images(thumbs, 5) and _texts(classes, 2)):
        return None
    if bank is None or bank.shape != () or bank.dtype.kind not in "iu" or len(thumbs) != number:
        return None
    alike = similarity.shape == thumbs.shape[:2] == classes.shape
    return Near(similarity, thumbs, classes, int(bank)) if alike else None


_ALL = 1.01
"""What attention may sum to, and so the most of one share, with its rounding."""


def _texts(held: Any, rank: int) -> TypeGuard[np.ndarray]:
    return held is not None and held.dtype.kind == "U" and held.ndim == rank and held.size > 0


def _images(held: Any, rank: int) -> TypeGuard[np.ndarray]:
    return held is not None and held.dtype == np.uint8 and held.ndim == rank and held.size > 0


def _numbers(held: Any, rank: int) -> TypeGuard[np.ndarray]:
    if held is None or held.dtype.kind != "f" or held.ndim != rank or not held.size:
        return False
    return bool(np.isfinite(held).all())


def steps_of(folder: pathlib.Path, kind: str) -> list[int]:
    """The steps of which there is one, in order."""
    found = (re.fullmatch(rf"{kind}-(\d+)\.npz", path.name) for path in folder.glob(f"{kind}-*"))
    return sorted(int(match[1]) for match in found if match)


def write(folder: pathlib.Path, kind: str, step: int, arrays: Arrays, *, most: int) -> None:
    """Write one, whole or not at all, and keep at most `most` of its kind (`thinned`)."""
    write_arrays(path_of(folder, kind, step), arrays)
    steps = steps_of(folder, kind)
    for superfluous in set(steps) - set(thinned(steps, most)):
        path_of(folder, kind, superfluous).unlink(missing_ok=True)


def read(folder: pathlib.Path, kind: str, step: int) -> dict[str, np.ndarray] | None:
    """The arrays of one; None where it is missing or damaged."""
    return read_arrays(path_of(folder, kind, step))


def drop(folder: pathlib.Path, *, after: int) -> None:
    """Remove those of later steps, of every kind."""
    for path in folder.glob("*-*.npz"):
        match = re.fullmatch(r"[a-z]+-(\d+)\.npz", path.name)
        if match and int(match[1]) > after:
            path.unlink(missing_ok=True)


def path_of(folder: pathlib.Path, kind: str, step: int) -> pathlib.Path:
    """Where one lies."""
    return folder / f"{kind}-{step:08d}.npz"


def write_arrays(path: pathlib.Path, arrays: Arrays) -> None:
    """Write named arrays to a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.whole(path, mark="new") as unfinished:
        np.savez_compressed(unfinished, allow_pickle=False, **dict(arrays))


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray] | None:
    """What `write_arrays` wrote; None where the file is missing or damaged."""
    try:
        with open(path, "rb") as file, np.load(file) as held:
            return {name: held[name] for name in held.files}
    except (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error):
        return None


def thinned(steps: Sequence[int], most: int) -> list[int]:
    """At most `most` of ascending steps, with the first and the last, about evenly spread.

    Thinning after each new step gives nearly the same as thinning once.
    """
    kept = list(steps)
    while len(kept) > max(most, 2):
        gaps = [after - before for before, after in zip(kept, kept[2:], strict=False)]
        del kept[1 + gaps.index(min(gaps))]
    return kept
