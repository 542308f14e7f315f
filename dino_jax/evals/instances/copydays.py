"""The layout of Copydays: originals and attacked copies, told apart by folder and number.

`original/`, `strong/`, `jpegqual/N/` and `crops/N/` hold images whose names are numbers; those of
one number // 100 are copies of one another (Douze et al. 2009).
"""

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dino_jax.config import UserError

ORIGINAL = "original"
STRONG = "strong"
FULL = {ORIGINAL: 157, STRONG: 229}
"""Images of the benchmark itself."""
_BLOCK = 100
_PLACE = re.compile(r"(?:^|/)(original|strong|(?:jpegqual|crops)/\d+)/([^/]+)$")
_EXPECTED = "expected original/ and strong/, jpegqual/N/ or crops/N/, as in Copydays"


class Copydays(NamedTuple):
    """Which images are originals, which are attacked, and which belong together.

    `originals` are their numbers in the source, by name; `attacks` the same of each folder of
    queries, `strong` first, the originals themselves last. `positives` has, for each image of the
    source by number, the places in `originals` of those it is a copy of.
    """

    originals: tuple[int, ...]
    attacks: Mapping[str, tuple[int, ...]]
    positives: Mapping[int, tuple[int, ...]]

    @property
    def full(self) -> bool:
        """Whether it has as many originals and strong attacks as the benchmark."""
        return {name: len(self.attacks.get(name, ())) for name in FULL} == FULL


def copydays(names: Sequence[str], where: str) -> Copydays:
    """Sort the images of a source, by their paths, into the layout; `where` is told to the user.

    What lies elsewhere is left out.

    Raises:
        UserError: there are no originals, no attacks, an attack without its original, or a name
        that is no number.
    """
    found: dict[str, list[tuple[str, int]]] = {}
    for number, name in enumerate(names):
        if match := _PLACE.search(name):
            found.setdefault(match[1], []).append((match[2], number))
    if ORIGINAL not in found:
        raise UserError(f"{where} has no images in original/; {_EXPECTED}")
    if len(found) == 1:
        raise UserError(f"{where} has originals but no attacks; {_EXPECTED}")
    folders = {
        attack: tuple(number for _, number in sorted(found[attack]))
        for attack in sorted(found, key=_order)
    }
    originals = folders[ORIGINAL]
    blocks = [_block(names[number], where) for number in originals]
    positives = {}
    for number in (number for folder in folders.values() for number in folder):
        block = _block(names[number], where)
        positives[number] = tuple(place for place, own in enumerate(blocks) if own == block)
        if not positives[number]:
            raise UserError(
                f"{where}: {names[number]} has no original: none in original/ has a number from "
                f"{block * _BLOCK} to {block * _BLOCK + _BLOCK - 1}"
            )
    return Copydays(originals, folders, positives)


def _order(attack: str) -> tuple[int, str, int]:
    kind, _, level = attack.partition("/")
    place = {STRONG: 0, "jpegqual": 1, "crops": 2, ORIGINAL: 3}[kind]
    return place, kind, int(level or 0)


def _block(name: str, where: str) -> int:
    stem = pathlib.PurePosixPath(name).stem
    if not (stem.isascii() and stem.isdigit()):
        raise UserError(f"{where}: {name} is not named by a number, as 200001.jpg; {_EXPECTED}")
    return int(stem) // _BLOCK


def by_original(
    precision: Mapping[int, float], layout: Copydays, numbers: Sequence[int]
) -> np.ndarray:
    """Average precisions summed by original, with their count: (originals with copies, 2).

    Copies of one photograph are not independent of each other, so it is originals that a
    bootstrap draws.
    """
    sums: dict[int, list[float]] = {}
    for number in numbers:
        sums.setdefault(layout.positives[number][0], []).append(precision[number])
    return np.array([[sum(each), len(each)] for _, each in sorted(sums.items())], np.float64)


def mean_over_queries(units: np.ndarray) -> float:
    """The mean of what `by_original` summed, over all queries, in percent."""
    return 100 * float(units[:, 0].sum() / units[:, 1].sum())
