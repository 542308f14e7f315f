"""Counter-based random numbers on the host: a draw depends on what it is for, not on when it is.

Philox-4x64 is a keyed function of a 256-bit counter. The key is the seed of the run; the counter
holds the epoch, the example, the view and the purpose, and its lowest word counts the draws within
them. So streams of different examples, views and purposes never overlap, whichever process, worker
or device makes them, and a resumed run repeats itself exactly.
"""

import enum
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int, UInt64

_WORD = (1 << 64) - 1
_KEY = 0x44494E4F  # the key's second word, so that these streams are not `Philox(key=seed)`'s


class Purpose(enum.IntEnum):
    """What a stream is used for; the numbers are part of the format, so only append."""

    ORDER = 0
    GEOMETRY = 1
    PHOTOMETRIC = 2
    EVALUATION = 3


def generator(
    seed: int, epoch: int, example: int, view: int, purpose: Purpose
) -> np.random.Generator:
    """The random numbers of one view of one example in one epoch, for one purpose.

    `view` is 0 or 1 for the global views and 2, 3, ... for the local crops. `seed` may be any
    integer; epoch and example lie in [0, 2^64), view in [0, 2^32). Raises ValueError outside them.
    """
    return np.random.Generator(_philox(seed, epoch, example, view, purpose))


def generators(
    seed: int, epoch: int, example: int, views: int, purpose: Purpose
) -> Iterator[np.random.Generator]:
    """The `generator` of each view in turn, to be used before the next is asked for.

    One generator set back to another counter: to make ten costs three times as much.
    """
    words = _philox(seed, epoch, example, 0, purpose)
    random, state = np.random.Generator(words), words.state
    for view in range(views):
        state["state"]["counter"][1] = view | purpose << 32
        words.state = state
        yield random


def permutation(seed: int, epoch: int, length: int) -> Int[np.ndarray, "length"]:
    """The order of `length` examples in one epoch, as int64 indices.

    The argsort of raw Philox words, not `Generator.permutation`: numpy promises the words for
    ever, while the algorithms built upon them may change between its versions.
    """
    words: UInt64[np.ndarray, "length"] = _philox(seed, epoch, 0, 0, Purpose.ORDER).random_raw(
        length
    )
    return np.argsort(words, kind="stable").astype(np.int64)


def _philox(seed: int, epoch: int, example: int, view: int, purpose: Purpose) -> np.random.Philox:
    if not (0 <= epoch <= _WORD and 0 <= example <= _WORD and 0 <= view < 1 << 32):
        raise ValueError(f"epoch {epoch}, example {example} or view {view} is out of range")
    counter = np.array([0, view | purpose << 32, example, epoch], np.uint64)
    return np.random.Philox(counter=counter, key=np.array([seed & _WORD, _KEY], np.uint64))
