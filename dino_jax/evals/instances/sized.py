"""One feature each of images of many sizes: those of a size together, never padded."""

import dataclasses
import logging
import pathlib
from collections.abc import Sequence

import numpy as np
from jax import Array
from jaxtyping import Float, Int

from dino_jax.config import UserError
from dino_jax.data.decode import UnreadableImageError
from dino_jax.data.instances import Box, Required, Shrunk
from dino_jax.data.source import Source
from dino_jax.evals.features import FeatureFunction
from dino_jax.evals.protocol import Request
from dino_jax.interop.encoder import NETWORK, Encoder
from dino_jax.ops import pooling
from dino_jax.types import Params

_LOG = logging.getLogger(__name__)
MANY = 20
"""Of so many sizes the user is told, since the network is compiled for each."""
MOST_PIXELS = 8192
"""A side of one image, at most: attention between more patches fits into no memory."""


def landmark_features(
    request: Request,
    files: Sequence[pathlib.Path],
    boxes: Sequence[Box | None],
    *,
    longest: int,
    multiscale: bool,
) -> Float[np.ndarray, "files d"]:
    """The class token of every image with its aspect kept, in order, not normalised.

    Database and queries come together, so that a size is compiled once. What has no network, whose
    descriptor's length hangs on the aspect and the scale, sees squares at one scale.

    Raises:
        UserError: an image cannot be read or is smaller than a patch, or a box lies outside of its
            image.
    """
    encoder = request.network
    source = Shrunk(
        files, boxes, longest, channels=encoder.channels, square=encoder.kind != NETWORK
    )
    try:
        kinds = sorted(set(source.shapes))
    except UnreadableImageError as error:
        raise UserError(f"{error}; the ground truth counts on it: copy it again") from None
    multiscale = multiscale and encoder.kind == NETWORK
    scales = pooling.SCALES if multiscale else (1.0,)
    _check_sizes(source, encoder, min(scales))
    if len(kinds) > MANY:
        _LOG.info("images of %d sizes: the network is compiled for each", len(kinds))
    numbers, parts = [], []
    for height, width in kinds:
        own = np.flatnonzero([shape == (height, width) for shape in source.shapes])
        numbers.append(own)
        parts.append(
            exact_features(
                request,
                source.part(own),
                side=longest,
                what=f"landmark {height}x{width}{' over scales' if multiscale else ''}",
                function=_described(encoder, height, width, scales),
            )
        )
    return np.concatenate(parts)[np.argsort(np.concatenate(numbers))]


def exact_features(
    request: Request,
    source: Source,
    needed: Int[np.ndarray, " needed"] | None = None,
    *,
    side: int,
    what: str,
    function: FeatureFunction,
) -> Float[np.ndarray, "rows d"]:
    """Features of images that a source gives as squares of `side`: of the `needed`, or of all.

    Raises:
        UserError: one that is needed cannot be read; the others are not looked at.
    """
    return square_features(
        request, Required(source), needed, side=side, what=what, function=function
    )[0]


def square_features(
    request: Request,
    source: Source,
    needed: Int[np.ndarray, " needed"] | None = None,
    *,
    side: int,
    what: str,
    function: FeatureFunction,
) -> tuple[Float[np.ndarray, "rows d"], Int[np.ndarray, " rows"]]:
    """Features of the images that can be read, by now squares of `side`, and which they are.

    Raises:
        UserError: none can be read, or features are not finite.
    """
    return request.store.features(
        dataclasses.replace(request.network, size=side, resize=side),
        source,
        needed,
        what=what,
        function=function,
        mesh=request.mesh,
        batch_size=request.batch_size,
    )


def check_side(flag: str, side: int, least: int) -> None:
    """Raise `UserError` for images of fewer than `least` pixels a side, or of far too many."""
    if not least <= side <= MOST_PIXELS:
        raise UserError(f"--{flag}={side}: expected {least} to {MOST_PIXELS} pixels")


def _described(
    encoder: Encoder, height: int, width: int, scales: Sequence[float]
) -> FeatureFunction:
    def describe(params: Params, squares: Array) -> Array:
        images = squares[:, :height, :width]
        if len(scales) == 1:
            return encoder.features(params, images).cls
        return pooling.multi_scale(
            lambda scaled: encoder.features(params, scaled).cls, images, scales=scales
        )

    return describe


def _check_sizes(source: Shrunk, encoder: Encoder, scale: float) -> None:
    """Refuse images that have no whole patch at the least of the scales."""
    for index, shape in enumerate(source.shapes):
        if int(min(shape) * scale) < encoder.patch_size:
            raise UserError(
                f"{source.name(index)} has {shape[0]}x{shape[1]} pixels once it is shrunk"
                f"{'' if scale == 1 else f', and less at a scale of {scale}'}: not a patch of "
                f"{encoder.patch_size}; raise --longest"
            )
