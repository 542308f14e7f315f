"""Images with a mask beside each: what the layouts for segmentation are read into."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from dino_jax.config import UserError
from dino_jax.data.decode import UnreadableImageError, decode
from dino_jax.data.palette import read_indexed
from dino_jax.data.source import Source

VOID = 255


class MaskedImages(Source):
    """Photographs by index and, of the same index, the mask that says what every pixel shows.

    `masks` may differ from the images in suffix and folder. Pixels of `void` belong to nothing;
    any other label of `classes` or more is unknown. Without `classes` every label is known.
    """

    def __init__(
        self,
        spec: str,
        images: Sequence[pathlib.Path],
        masks: Sequence[pathlib.Path],
        *,
        class_names: Sequence[str] = (),
        classes: int | None = None,
        void: int = VOID,
        channels: int = 3,
    ) -> None:
        """Take the files in their final order."""
        super().__init__(spec, channels, class_names)
        self.images, self.masks = tuple(images), tuple(masks)
        self.classes, self.void = classes, void

    def __len__(self) -> int:
        """The number of photographs."""
        return len(self.images)

    def load(self, index: int) -> UInt8[np.ndarray, "h w c"]:
        """Decode one photograph; raises `UserError` if it cannot be."""
        path = self.images[index]
        try:
            return decode(path.read_bytes(), self.channels)
        except OSError as error:
            raise UserError(f"the image {path} cannot be read: {error.strerror}") from error
        except UnreadableImageError as error:
            raise UserError(f"the image {path} cannot be read: {error}") from error

    def mask(self, index: int) -> UInt8[np.ndarray, "h w"]:
        """The labels of one photograph's pixels; raises `UserError` where one is unknown."""
        labels = read_indexed(self.masks[index])
        if self.classes is not None:
            unknown = np.setdiff1d(np.unique(labels), [*range(self.classes), self.void])
            if len(unknown):
                raise UserError(
                    f"the mask {self.masks[index]} holds label {unknown[0]}: expected 0 to "
                    f"{self.classes - 1}, or {self.void} for void; --classes sets their number"
                )
        return labels

    def pair(self, index: int) -> tuple[UInt8[np.ndarray, "h w c"], UInt8[np.ndarray, "h w"]]:
        """A photograph and its mask; raises `UserError` where their sizes differ."""
        image, labels = self.load(index), self.mask(index)
        if image.shape[:2] != labels.shape:
            told = [f"{side[1]} x {side[0]}" for side in (image.shape, labels.shape)]
            raise UserError(
                f"{self.images[index]} is {told[0]} pixels but its mask {self.masks[index]} is "
                f"{told[1]}: a mask has the size of its image"
            )
        return image, labels

    def name(self, index: int) -> str:
        """The photograph's file name without its suffix."""
        return self.images[index].stem

    @property
    def labels(self) -> None:
        """No image has one class."""

    def _stamp(self, index: int) -> object:
        return [_written(paths[index]) for paths in (self.images, self.masks)]


def _written(path: pathlib.Path) -> object:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
