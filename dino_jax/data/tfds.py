"""`tfds:NAME[:SPLIT]`: data sets of TensorFlow Datasets, read without TensorFlow.

The data set must have been prepared in the ArrayRecord format; `tfds.data_source` reads it, and
the images are decoded here, like those of every other source.
"""

import functools
import importlib
import os
import re
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from dino_jax.config import UserError
from dino_jax.data.decode import decode
from dino_jax.data.source import Source

_SPEC = re.compile(r"(?P<name>[^:\[\]]+(?::\d+\.[\d.*]+)?)(?::(?P<split>.+))?")


class TfdsSource(Source):
    """One split of a data set that has one image, and perhaps one class label, per example."""

    def __init__(self, spec: str, rest: str, channels: int) -> None:
        """Open `NAME[/CONFIG][:VERSION][:SPLIT]`; the split is "train" where none is given.

        Raises `UserError` for an unknown name, a split that is not there, a data set that is not
        prepared, and one without an image or with several.
        """
        match = _SPEC.fullmatch(rest)
        if match is None:
            raise UserError(f"{spec} is not of the form tfds:NAME[:SPLIT], as in tfds:cifar10:test")
        name, split = match["name"], match["split"] or "train"
        self._builder_name, self._split = name, split
        builder = _builder(name)
        self._image_key, self._label_key = _keys(builder.info.features, name)
        names = builder.info.features[self._label_key].names if self._label_key else ()
        super().__init__(spec, channels, names)
        self._records = _open(builder, split, self._image_key, name)

    def __len__(self) -> int:
        """The number of examples in the split."""
        return len(self._records)

    def load(self, index: int) -> UInt8[np.ndarray, "h w c"]:
        """Decode one example; raises `UnreadableImageError` if its content is damaged."""
        return decode(self.content(index), self.channels)

    def content(self, index: int) -> bytes:
        """One example still encoded."""
        content: bytes = self._records[index][self._image_key]
        return content

    def name(self, index: int) -> str:
        """The split and the number within it."""
        return f"{self._builder_name}:{self._split}[{index}]"

    @functools.cached_property
    def _numbers(self) -> Int[np.ndarray, "n"] | None:
        if self._label_key is None:
            return None
        values = (self._records[index][self._label_key] for index in range(len(self)))
        return np.fromiter(values, np.int64, len(self))

    @property
    def labels(self) -> Int[np.ndarray, "n"] | None:
        """The class of every example, read from all records once."""
        return self._numbers


def _tfds() -> Any:
    try:
        return importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise UserError("tfds: needs a package; run pip install tensorflow-datasets") from error


def _builder(name: str) -> Any:
    tfds = _tfds()
    try:
        folder = os.environ.get("TFDS_DATA_DIR")
        return tfds.builder(name, data_dir=folder, file_format="array_record")
    except tfds.core.DatasetNotFoundError as error:
        raise UserError(
            f"TensorFlow Datasets knows no data set {name} and none lies prepared under its data "
            "folder (TFDS_DATA_DIR); see https://www.tensorflow.org/datasets/catalog"
        ) from error
    except (ValueError, AssertionError, KeyError) as error:
        raise UserError(f"tfds:{name} cannot be opened ({_first_line(error)})") from error


def _open(builder: Any, split: str, image: str, name: str) -> Any:
    decoders = {image: _tfds().decode.SkipDecoding()}
    reason = "it is not prepared"
    if builder.info.splits:
        try:
            return builder.as_data_source(split=split, decoders=decoders)
        except (ValueError, KeyError) as error:
            known = ", ".join(builder.info.splits)
            raise UserError(f"tfds:{name} has no split {split}; it has {known}") from error
        except Exception as error:  # its classes differ by version: files gone, another format
            reason = _first_line(error)
    raise UserError(
        f'tfds:{name} cannot be read as array_record files ({reason}); run python -c "import '
        f"tensorflow_datasets as t; t.builder('{name}', file_format='array_record')"
        '.download_and_prepare()"'
    )


def _keys(features: Any, name: str) -> tuple[str, str | None]:
    tfds = _tfds()
    images = [key for key, value in features.items() if isinstance(value, tfds.features.Image)]
    labels = [key for key, value in features.items() if isinstance(value, tfds.features.ClassLabel)]
    if "image" in images:
        images = ["image"]
    if len(images) != 1:
        raise UserError(
            f"tfds:{name} has {len(images)} image features ({', '.join(images) or 'none'}); "
            "expected one, or one called image"
        )
    return images[0], "label" if "label" in labels else (labels[0] if len(labels) == 1 else None)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
