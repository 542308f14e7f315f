"""Pairs of numbers whose tuples have equal hashes in every CPython, as a hostile file may choose.

A tuple's hash mixes its numbers' one by one (xxHash, in 64 bits), and a number's is itself. So for
a wanted hash the second number follows from the first.
"""

import numpy as np

FIRST, SECOND, START = 11400714785074694791, 14029467366897019727, 2870177450012600261
"""The primes of xxHash that CPython's tupleobject.c names 1, 2 and 5."""
WANTED = 0x123456789ABCDEF
BLOCK = 1 << 22


def pairs(count: int) -> list[tuple[int, int]]:
    """`count` pairs of numbers below 2**47; the search is longer for more."""
    back = np.uint64(pow(SECOND, -1, 1 << 64))
    found: list[tuple[int, int]] = []
    begin = 0
    while len(found) < count:
        first = np.arange(begin, begin + BLOCK, dtype=np.uint64)
        mixed = first * np.uint64(SECOND) + np.uint64(START)
        mixed = ((mixed << np.uint64(31)) | (mixed >> np.uint64(33))) * np.uint64(FIRST)
        second = (np.uint64(WANTED) - mixed) * back
        places = np.flatnonzero(second < np.uint64(1 << 47))
        found += [(int(first[place]), int(second[place])) for place in places]
        begin += BLOCK
    return found[:count]
