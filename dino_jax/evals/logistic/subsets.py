"""Which images keep their labels: a share of each class, or those that a file lists."""

import collections
import pathlib

import numpy as np
from jaxtyping import Int

from dino_jax.config import UserError
from dino_jax.data.randomness import permutation
from dino_jax.data.source import Source
from dino_jax.evals.classes import folds, hold_out, members_of
from dino_jax.evals.logistic.fitting import Targets

FEW = 5_000
"""Of so many labelled images or fewer each is held out in turn."""


def balanced(
    labels: Int[np.ndarray, " n"], percent: float, *, seed: int
) -> Int[np.ndarray, " chosen"]:
    """Examples with `percent` (above 0, to 100) of each class, at least one of it, in order.

    Of one seed the smaller subsets lie in the larger ones.
    """
    parts = [
        members[: max(1, round(percent / 100 * len(members)))]
        for members in members_of(labels, seed=seed)
    ]
    return np.sort(np.concatenate(parts))


def share(number: int, percent: float, *, seed: int) -> Int[np.ndarray, " chosen"]:
    """`percent` of so many examples, at least one, in order; for images of several labels."""
    order = permutation(seed, 0, number)
    return np.sort(order[: max(1, round(percent / 100 * number))])


def held_out_parts(
    targets: Targets, share_held: float, *, seed: int
) -> list[Int[np.ndarray, " held"]]:
    """The parts of labelled examples that a penalty is chosen on: `share_held` of them.

    Of `FEW` or fewer examples all such parts, in turn, since one would be small.

    Raises:
        UserError: there are too few to hold any out.
    """
    count = len(targets.values)
    number = round(1 / share_held) if count <= FEW else 1
    if number > 1 and targets.several:
        order = permutation(seed, 0, count)
        parts = [np.sort(order[k::number]) for k in range(number)]
    elif number > 1:
        parts = folds(targets.values, number, seed=seed)
    elif targets.several:
        parts = [share(count, 100 * share_held, seed=seed)]
    else:
        parts = [hold_out(targets.values, share_held, seed=seed)[1]]
    if not (parts := [part for part in parts if 0 < len(part) < count]):
        raise UserError(
            f"{count} labelled images are too few to hold any out, by which the penalty would be "
            "chosen: give more, or --l2"
        )
    return parts


def listed(path: str, source: Source) -> Int[np.ndarray, " chosen"]:
    """Examples that a file names, a line each: by their path in the source, or its last part.

    As SimCLR's lists of 1 and 10 % of ImageNet (`imagenet_subsets/1percent.txt`).

    Raises:
        UserError: the file cannot be read, names nothing, or names what is not there or is not
            told apart.
    """
    try:
        text = pathlib.Path(path).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UserError(f"--subset={path} cannot be read: {reason}") from error
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise UserError(f"--subset={path} names no images: expected a file name on each line")
    paths = {source.name(index): index for index in range(len(source))}
    lasts = collections.defaultdict(list)
    for name, index in paths.items():
        lasts[name.rsplit("/", 1)[-1]].append(index)
    chosen = set()
    for name in names:
        found = [paths[name]] if name in paths else lasts.get(name, [])
        if len(found) != 1:
            many = f"{len(found)} images of {source.spec} have: give their paths"
            why = many if found else f"{source.spec} has not"
            raise UserError(f"--subset={path} names {name!r}, which {why}")
        chosen.add(found[0])
    return np.array(sorted(chosen), np.int64)
