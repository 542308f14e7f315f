"""Small arrays of a run at some of its steps: `report/KIND-STEP.npz` in its folder."""

import pathlib
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from dino_jax import files

Arrays = Mapping[str, np.ndarray]


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
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
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
