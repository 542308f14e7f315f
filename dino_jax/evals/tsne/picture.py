"""Which points of a map bear a photograph."""

import numpy as np
from jaxtyping import Float, Int


def spread(points: Float[np.ndarray, "n 2"], number: int) -> Int[np.ndarray, " chosen"]:
    """Indices of up to `number` points far from each other, from the middle one outwards."""
    number = min(number, len(points))
    if not number:
        return np.zeros(0, np.int64)
    distance = np.linalg.norm(points - points.mean(axis=0), axis=1)
    chosen = [int(distance.argmin())]
    nearest = np.full(len(points), np.inf)
    while len(chosen) < number:
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(nearest.argmax()))
    return np.array(chosen, np.int64)
