"""The ground truth of revisited Oxford and Paris: `gnd_*.pkl`, or the same as `.json`.

A dict of `imlist` and `qimlist`, names of the images and queries in `jpg/` without their ending,
and `gnd`, for each query a dict of `easy`, `hard` and `junk`, numbers of images from 0, and `bbx`,
the box of the query's landmark (Radenović et al. 2018).
"""

import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dino_jax.config import UserError
from dino_jax.data.instances import Box
from dino_jax.interop.pth.bare import read_pickle

IMAGES = "jpg"
ENDINGS = (".jpg", ".jpeg", ".JPG", ".png", "")
_LISTS = ("easy", "hard", "junk")
_FORM = "expected imlist, qimlist and gnd, as in gnd_roxford5k.pkl"


class Query(NamedTuple):
    """What counts as found for one query, by numbers of database images, and its box."""

    easy: tuple[int, ...]
    hard: tuple[int, ...]
    junk: tuple[int, ...]
    box: Box | None


class GroundTruth(NamedTuple):
    """Name of the benchmark, files of database and queries, and what each query looks for."""

    name: str
    images: tuple[pathlib.Path, ...]
    files: tuple[pathlib.Path, ...]
    queries: tuple[Query, ...]


def read_ground_truth(folder: pathlib.Path, chosen: str | None = None) -> GroundTruth:
    """Read the ground truth of a folder that holds `jpg/` and one `gnd_*.pkl` or `.json`.

    Of a pickle and a JSON of one name the pickle is read, which runs nothing. `chosen` names the
    file where there are several.

    Raises:
        UserError: the folder, the file or an image is missing, or the file is of another form.
    """
    path = _file(folder, chosen)
    told = _content(path)
    if not isinstance(told, dict):
        raise UserError(f"{path} holds no dict; {_FORM}")
    for key in ("imlist", "qimlist", "gnd"):
        if not isinstance(told.get(key), list | tuple | np.ndarray):
            raise UserError(f"{path} has no list {key!r}; {_FORM}")
    names, asked = (_names(path, told, key) for key in ("imlist", "qimlist"))
    if len(told["gnd"]) != len(asked):
        raise UserError(f"{path} has {len(asked)} queries in qimlist and {len(told['gnd'])} in gnd")
    queries = tuple(
        _query(path, name, entry, len(names))
        for name, entry in zip(asked, told["gnd"], strict=True)
    )
    images, files = _found(path, names), _found(path, asked)
    return GroundTruth(path.stem.removeprefix("gnd_"), images, files, queries)


def _file(folder: pathlib.Path, chosen: str | None) -> pathlib.Path:
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; give one with jpg/ and gnd_*.pkl or .json")
    if chosen is not None:
        path, parts = folder / chosen, pathlib.PurePath(chosen).parts
        if ".." in parts or pathlib.PurePath(chosen).is_absolute():
            raise UserError(f"--ground-truth={chosen}: expected the name of a file within --data")
        if not path.is_file():
            raise UserError(f"there is no file {path}; --ground-truth names one within --data")
        return path
    found = {path.stem: path for end in ("json", "pkl") for path in folder.glob(f"gnd_*.{end}")}
    if len(found) > 1:
        raise UserError(
            f"{folder} has several ground truths, {' and '.join(sorted(found))}; "
            "name the file by --ground-truth"
        )
    if not found:
        within = sorted({path.parent.name for path in folder.glob("*/gnd_*.*")})
        hint = f"; give {folder / within[0]}" if within else ""
        raise UserError(f"{folder} has no gnd_*.pkl and no gnd_*.json{hint}")
    return found.popitem()[1]


def _content(path: pathlib.Path) -> Any:
    if path.suffix != ".json":
        return read_pickle(path)
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {str(error)[:100]}; give JSON") from None


def _names(path: pathlib.Path, told: Mapping[str, Any], key: str) -> list[str]:
    names = list(told[key])
    if not names:
        raise UserError(f"{path} has an empty {key}; {_FORM}")
    for name in names:
        parts = pathlib.PurePath(name).parts if isinstance(name, str) else ()
        if not parts or "\0" in name or ".." in parts or name.startswith(("/", "\\")):
            raise UserError(f"{path}: {key} has {str(name)[:60]!a}, which is no name of an image")
    return names


def _query(path: pathlib.Path, name: str, entry: Any, count: int) -> Query:
    if not isinstance(entry, dict) or any(key not in entry for key in _LISTS):
        has = ", ".join(map(str, entry)) if isinstance(entry, dict) else "no dict"
        raise UserError(f"{path}: query {name} has {has[:80]}; expected easy, hard and junk")
    easy, hard, junk = (_numbers(path, f"query {name}, {key}", entry[key], count) for key in _LISTS)
    return Query(easy, hard, junk, _box(path, name, entry.get("bbx")))


def _numbers(path: pathlib.Path, what: str, listed: Any, count: int) -> tuple[int, ...]:
    numbers = listed.tolist() if isinstance(listed, np.ndarray) else listed
    if not isinstance(numbers, Sequence) or any(type(number) is not int for number in numbers):
        raise UserError(f"{path}: {what} is no list of whole numbers")
    for number in numbers:
        if not 0 <= number < count:
            raise UserError(f"{path}: {what} names image {number} of a database of {count}")
    return tuple(numbers)


def _box(path: pathlib.Path, name: str, box: Any) -> Box | None:
    edges = box.tolist() if isinstance(box, np.ndarray) else box
    if edges is None:
        return None
    numbers = isinstance(edges, Sequence) and all(type(edge) in (int, float) for edge in edges)
    if not numbers or len(edges) != 4 or not all(map(math.isfinite, edges)):
        raise UserError(f"{path}: query {name} has a box (bbx) that is not four numbers")
    left, upper, right, lower = map(float, edges)
    return left, upper, right, lower


def _found(path: pathlib.Path, names: Sequence[str]) -> tuple[pathlib.Path, ...]:
    folder = path.parent / IMAGES
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}, where the images of {path.name} belong")
    files = [_image(folder, name) for name in names]
    absent = [name for name, file in zip(names, files, strict=True) if file is None]
    if absent:
        raise UserError(
            f"{path} names {len(absent)} of {len(names)} images that are not in {folder}: "
            f"{absent[0]}{ENDINGS[0]}{', …' if len(absent) > 1 else ''}; add them"
        )
    return tuple(file for file in files if file is not None)


def _image(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    return next((file for end in ENDINGS if (file := folder / f"{name}{end}").is_file()), None)
