"""Queries and their nearest images in a bank: which are looked at, and whose classes agree."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from dino_jax.config import UserError
from dino_jax.data.source import Source
from dino_jax.ops.neighbours import nearest


class Found(NamedTuple):
    """The nearest rows of a bank to every query, the nearest first."""

    similarity: Float[np.ndarray, "queries k"]
    rows: Int[np.ndarray, "queries k"]


def search(queries: Float[np.ndarray, "q d"], bank: Float[np.ndarray, "n d"], *, k: int) -> Found:
    """The k nearest by cosine; of equals the earlier row of the bank."""
    return Found(*nearest(queries, bank, k=k, cosine=True))


def search_others(bank: Float[np.ndarray, "n d"], *, k: int) -> Found:
    """The k nearest of every row of a bank that has more than k, itself left out."""
    similarity, rows = nearest(bank, bank, k=k + 1, cosine=True)
    others = rows != np.arange(len(bank))[:, None]
    # Where copies come before the row itself, it is not among the nearest: the last one goes.
    others[others.all(axis=1), -1] = False
    shape = (len(bank), k)
    return Found(similarity[others].reshape(shape), rows[others].reshape(shape))


def names_of_classes(source: Source) -> tuple[str, ...] | None:
    """The class of every example by name, or by number where classes have none; None without."""
    if source.labels is None:
        return None
    names = source.class_names
    return tuple(names[label] if names else str(label) for label in map(int, source.labels))


def agreement(
    queries: Sequence[str], bank: Sequence[str], rows: Int[np.ndarray, "q k"]
) -> Bool[np.ndarray, "q k"]:
    """Which neighbours are of their query's class."""
    return np.array(bank, object)[rows] == np.array(queries, object)[:, None]


def by_chance(queries: Sequence[str], bank: Sequence[str], *, itself: bool) -> float:
    """What neighbours drawn from the bank would agree by, in percent; without the query `itself`.

    `itself` says that the queries are the bank.
    """
    names, counts = np.unique(np.array(bank), return_counts=True)
    held = dict(zip(names.tolist(), counts.tolist(), strict=True))
    shares = [(held.get(name, 0) - itself) / (len(bank) - itself) for name in queries]
    return 100 * float(np.mean(shares))


def chosen(words: Sequence[str], source: Source, index: Int[np.ndarray, " n"]) -> list[int]:
    """The places in `index`, the readable examples of a source, that are to be shown.

    One whole number takes so many, evenly; else every word is the name of an image, the end of its
    path, or a class, of which the image in the middle is taken.

    Raises:
        UserError: a number below 1, or a name that no readable image has.
    """
    if len(words) == 1 and words[0].lstrip("-").isdigit():
        if (number := int(words[0])) < 1:
            raise UserError(f"--queries={number}: expected 1 or more, or names of images")
        places = np.linspace(0, len(index) - 1, min(number, len(index)))
        return places.round().astype(int).tolist()
    names = [source.name(example) for example in map(int, index)]
    classes = names_of_classes(source)
    of_class = [] if classes is None else [classes[example] for example in map(int, index)]
    return [_place(word, names, of_class, source) for word in words]


def _place(word: str, names: Sequence[str], classes: Sequence[str], source: Source) -> int:
    if word in names:
        return names.index(word)
    if word in classes:
        own = [place for place, name in enumerate(classes) if name == word]
        return own[len(own) // 2]
    ends = [place for place, name in enumerate(names) if f"/{name}".endswith(f"/{word}")]
    if not ends:
        raise UserError(
            f"--queries={word}: no readable image or class of {source.spec} is called so; "
            f"expected one such as {names[0]}, or a number"
        )
    return ends[0]
