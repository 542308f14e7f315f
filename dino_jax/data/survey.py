"""What the images are like, from a look at some of them."""

import statistics

import numpy as np

from dino_jax.data.decode import UnreadableImageError
from dino_jax.data.source import Source

LOOKED_AT = 200


def median_short_side(source: Source) -> int:
    """The median of the shorter sides in pixels, of at most 200 images evenly spaced.

    Unreadable ones are passed over; raises `UnreadableImageError` if nothing could be read.
    """
    count = min(LOOKED_AT, len(source))
    sides = []
    for index in np.linspace(0, len(source) - 1, count).round().astype(int):
        try:
            sides.append(min(source.load(int(index)).shape[:2]))
        except UnreadableImageError:
            continue
    if not sides:
        raise UnreadableImageError(f"none of {count} images of {source.spec} could be read")
    return int(statistics.median(sides))
