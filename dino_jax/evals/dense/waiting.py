"""What is said while whole images are encoded: how large they are to the network, and how far."""

import logging
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from dino_jax.interop.encoder import Encoder

T = TypeVar("T")
MANY, ENOUGH = 10, 3
"""Times the patches it was trained on from which it is said, and times the side that are named."""

_LOG = logging.getLogger(__name__)


def say_patches(encoder: Encoder, height: int, width: int) -> None:
    """Say it where images of so many pixels have many times the patches of the training images."""
    if encoder.network is None:
        return
    trained, patch = encoder.network.size, encoder.patch_size
    known = (trained[0] // patch) * (trained[1] // patch)
    many = (height // patch) * (width // patch)
    if many > MANY * known:
        _LOG.warning(
            "%d x %d pixels: %s patches; %s was trained on %s an image: --size=%d is quicker, and "
            "nearer to what it knows",
            *(width, height, f"{many:,}", encoder.name, f"{known:,}", ENOUGH * min(trained)),
        )


def with_bar(items: Iterable[T], total: int, said: str, *, unit: str = "image") -> Iterator[T]:
    """The same items, and a bar of how many there have been."""
    yield from tqdm(items, desc=said, total=total, unit=unit, mininterval=0.5)
