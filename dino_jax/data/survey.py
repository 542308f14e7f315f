"""What the images are like, from a look at some of them."""

import statistics

import numpy as np

from dino_jax.config import UserError
from dino_jax.data.decode import UnreadableImageError
from dino_jax.data.source import Source

LOOKED_AT = 200


def median_short_side(source: Source) -> int:
    """The median of the shorter sides in pixels, of at most 200 images evenly spaced.

    Unreadable ones are passed over.

    Raises:
        UserError: nothing could be read, with the reason of the first one.
    """
    count = min(LOOKED_AT, len(source))
    sides: list[int] = []
    reason = ""
    for index in np.linspace(0, len(source) - 1, count).round().astype(int):
        try:
            sides.append(min(source.load(int(index)).shape[:2]))
        except UnreadableImageError as error:
            reason = reason or f"{source.name(int(index))}: {error}"
    if not sides:
        raise UserError(
            f"none of {count} images looked at in {source.spec} can be read ({reason}); give "
            "images that Pillow opens"
        )
    return int(statistics.median(sides))
