"""Matches against the plane-to-plane map that is known to relate two images."""

import math
import pathlib

import numpy as np
from jaxtyping import Bool, Float

from dino_jax.config import UserError
from dino_jax.data.text import read_text
from dino_jax.evals.correspond.matching import Matches
from dino_jax.evals.correspond.photograph import Photograph


def read_homography(file: str) -> Float[np.ndarray, "3 3"]:
    """Nine numbers of a text file, row by row.

    Raises:
        UserError: no such file, something else in it, or a singular map.
    """
    try:
        lines = read_text(pathlib.Path(file).expanduser()).splitlines()
    except UserError as error:
        raise UserError(f"--homography: {error}") from error
    words = [word for line in lines for word in line.partition("#")[0].split()]
    numbers = [_number(word) for word in words]
    if len(numbers) != 9 or not np.isfinite(numbers).all():
        odd = [word for word, each in zip(words, numbers, strict=True) if not math.isfinite(each)]
        found = f"{odd[0][:40]!r} among them" if odd else f"{len(words)} of them"
        raise UserError(f"--homography={file}: expected 3 x 3 numbers, found {found}")
    homography = np.array(numbers).reshape(3, 3)
    if np.linalg.matrix_rank(homography) < 3:
        raise UserError(
            f"--homography={file}: the nine numbers are singular, which takes the whole image to a "
            "line or a point"
        )
    return homography


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan


def mapped(
    homography: Float[np.ndarray, "3 3"], points: Float[np.ndarray, "n 2"]
) -> Float[np.ndarray, "n 2"]:
    """Where (x, y) of the first image lie in the second; nan for those at infinity."""
    lifted = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ homography.T
    weight = np.where(lifted[:, 2:] > 0, lifted[:, 2:], np.nan)
    return lifted[:, :2] / weight


def judged(
    matches: Matches, homography: Float[np.ndarray, "3 3"], first: Photograph, second: Photograph
) -> Bool[np.ndarray, "patches 3"]:
    """Of every patch of the first image: is it matched, rightly so, and does the second show it?

    Rightly is within a patch of where its centre belongs, along both axes.
    """
    count = first.grid[0] * first.grid[1]
    rows, columns = second.grid
    places = second.positions(mapped(homography, first.centres(np.arange(count))))
    shown = ((places >= 0) & (places < np.array([columns, rows])[None])).all(axis=1)
    matched, right = np.zeros(count, bool), np.zeros(count, bool)
    matched[matches.first] = True
    found = second.positions(second.centres(matches.second))
    right[matches.first] = (np.abs(found - places[matches.first]) <= 1).all(axis=1)
    return np.stack([matched, right, shown], axis=1)


def precision(units: Bool[np.ndarray, "patches 3"]) -> float:
    """Of the matches, how many are right, in percent; 0 without any."""
    return 100 * float(units[:, 1].sum()) / max(int(units[:, 0].sum()), 1)


def recall(units: Bool[np.ndarray, "patches 3"]) -> float:
    """Of the patches that both images show, how many are matched rightly, in percent."""
    return 100 * float(units[:, 1].sum()) / max(int(units[:, 2].sum()), 1)
