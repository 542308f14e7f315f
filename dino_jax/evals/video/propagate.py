"""Carries the first mask of a video through its frames by patch features."""

import logging
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, UInt8

from dino_jax.config import UserError
from dino_jax.config.protocol_options import VideoOptions
from dino_jax.data.davis import Masks, Truth, Video, read_frame
from dino_jax.data.frames import frame_size, nearest, resized
from dino_jax.evals.dense.stream import read_ahead
from dino_jax.evals.dense.waiting import say_patches, with_bar
from dino_jax.evals.features import Extractor
from dino_jax.interop.encoder import Encoder, finite
from dino_jax.ops import propagation
from dino_jax.ops.photometric import normalise
from dino_jax.types import Params

IMAGENET_STD = (0.229, 0.224, 0.225)
RED = 0.228
"""The reference's deviation of red here, where it has .229 everywhere else."""

_log = logging.getLogger(__name__)


class _Grid(NamedTuple):
    """Frames are read at height x width, and cut into rows x columns patches."""

    height: int
    width: int
    rows: int
    columns: int


class Propagator:
    """One network with its settings, compiled once for every size of frame."""

    def __init__(self, encoder: Encoder, options: VideoOptions, *, mesh: Mesh) -> None:
        """Check the options; frames are read one to each device of the mesh at a time.

        Raises:
            UserError: an option is out of its range.
        """
        for name, least in (("context", 0), ("neighbourhood", 0), ("top_k", 1), ("size", 1)):
            if getattr(options, name) < least:
                flag = f"--{name.replace('_', '-')}={getattr(options, name)}"
                raise UserError(f"{flag}: expected {least} or more")
        if options.temperature <= 0:
            raise UserError(f"--temperature={options.temperature}: expected more than 0")
        self._encoder, self._options = encoder, options
        say_patches(encoder, options.size, options.size)
        std = tuple(encoder.std)
        if np.allclose(std, IMAGENET_STD):
            std = (RED, *std[1:])

        def patches(params: Params, images: Array) -> Float[Array, "batch values"]:
            return encoder.features(params, images).patches.reshape(len(images), -1)

        self._extractor = Extractor(
            patches,
            lambda batch: normalise(batch["images"], encoder.mean, std),
            batch_size=mesh.size,
            mesh=mesh,
        )

    def __call__(self, video: Video, truth: Truth) -> Iterator[UInt8[np.ndarray, "h w"]]:
        """The masks of the second frame and of all after it, at the size of the truth's.

        Raises:
            UserError: a frame cannot be read, the size does not suit the network, or its features
                are not finite.
        """
        height, width = truth.masks.shape[1:]
        options, grid = self._options, self._grid(height, width)
        # A patch holds the label of one pixel of it.
        small = nearest(truth.masks[0], grid.rows, grid.columns)
        for lost in sorted(set(np.unique(truth.masks[0])) - set(np.unique(small))):
            _log.warning(
                "%s: object %d is too small for a patch of the first frame and so is lost (a "
                "larger --size may keep it)", video.name, lost,
            )  # fmt: skip
        segments = jax.nn.one_hot(small, truth.objects + 1, dtype=jnp.float32)
        context = None
        for features in self._features(video, grid):
            if context is None:
                context = propagation.begin(features, segments, length=options.context)
                continue
            context, found = propagation.advance(
                context,
                features,
                neighbourhood=options.neighbourhood,
                top_k=options.top_k,
                temperature=options.temperature,
            )
            labels = propagation.decide(found, patch=self._encoder.patch_size)
            yield nearest(np.asarray(labels).astype(np.uint8), height, width)

    def _grid(self, height: int, width: int) -> _Grid:
        patch = self._encoder.patch_size
        height, width = frame_size(height, width, side=self._options.size, patch=patch)
        return _Grid(height, width, height // patch, width // patch)

    def _features(self, video: Video, grid: _Grid) -> Iterator[Float[Array, "rows columns width"]]:
        def load(number: int) -> UInt8[np.ndarray, "h w c"]:
            frame = read_frame(video.frames[number], self._encoder.channels)
            return resized(frame, grid.height, grid.width)

        count = len(video.frames)
        frames = with_bar(read_ahead(load, range(count)), count, video.name, unit="frame")
        for batch in _in_groups(frames, self._extractor.batch_size):
            found = self._extractor(self._encoder.params, [{"images": batch}])
            for flat in finite(found, self._encoder):
                if flat.size % (grid.rows * grid.columns):
                    raise UserError(
                        f"{self._encoder.name} does not give {grid.rows} × {grid.columns} patches "
                        f"of frames of {grid.width} × {grid.height} pixels"
                    )
                yield jnp.asarray(flat.reshape(grid.rows, grid.columns, -1))


def first_repeated(truth: Truth) -> Masks:
    """What does without features: the first mask, for every frame after it."""
    return np.repeat(truth.masks[:1], len(truth.masks) - 1, axis=0)


def _in_groups(
    frames: Iterator[UInt8[np.ndarray, "h w c"]], size: int
) -> Iterator[UInt8[np.ndarray, "frames h w c"]]:
    held = []
    for frame in frames:
        held.append(frame)
        if len(held) == size:
            yield np.stack(held)
            held = []
    if held:
        yield np.stack(held)
