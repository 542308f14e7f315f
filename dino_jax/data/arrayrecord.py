"""`arrayrecord:PATTERN`: ArrayRecord files of encoded images, for large data sets on any disk.

A record is either the bytes of an image file as they are, or one line of JSON, a newline and then
those bytes. The JSON object may hold "class" (a string) and "name" (a string). No image format
begins with "{", so the two cannot be confused. `write_arrayrecord` makes such files. Records of
TensorFlow (tf.train.Example) are not read here: use tfds:NAME.
"""

import functools
import glob
import importlib
import json
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from dino_jax.config import UserError
from dino_jax.data.decode import UnreadableImageError, decode
from dino_jax.data.source import Source


class ArrayRecordSource(Source):
    """Records of all files that match a pattern, file by file in the order of their names."""

    def __init__(self, spec: str, pattern: str, channels: int) -> None:
        """Open the files. Raises `UserError` if none matches or they are no ArrayRecord files."""
        super().__init__(spec, channels)
        paths = sorted(glob.glob(os.path.expanduser(pattern), recursive=True))
        if not paths:
            raise UserError(
                f"no file matches {pattern}; give arrayrecord:PATTERN, as in "
                "arrayrecord:/data/train-*.array_record"
            )
        module = _module("array_record_data_source")
        try:
            self._records: Any = module.ArrayRecordDataSource(paths)
            if not len(self._records):
                raise UserError(f"the files that match {pattern} hold no records")
            first = self._records[0]
        except (RuntimeError, ValueError, OSError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{pattern} are no ArrayRecord files ({error})") from error
        self._pattern = pattern
        self._written = tuple(os.stat(path).st_mtime_ns for path in paths)
        if _header(first).get("class") is not None:
            names = {self._class(index) for index in range(len(self))}
            self.class_names = tuple(sorted(names))

    def __len__(self) -> int:
        """The number of records."""
        return len(self._records)

    def load(self, index: int) -> UInt8[np.ndarray, "h w c"]:
        """Decode one record; raises `UnreadableImageError` if its content is damaged."""
        return decode(self.content(index), self.channels)

    def content(self, index: int) -> bytes:
        """The image file in one record; raises `UnreadableImageError` if it holds another thing."""
        return _image(self._records[index])

    def name(self, index: int) -> str:
        """The name in the record's header, or its number."""
        return str(_header(self._records[index]).get("name", f"{self._pattern}[{index}]"))

    def _stamp(self, index: int) -> object:
        del index
        return self._written

    @functools.cached_property
    def _numbers(self) -> Int[np.ndarray, "n"] | None:
        if not self.class_names:
            return None
        numbers = {name: number for number, name in enumerate(self.class_names)}
        return np.array([numbers[self._class(index)] for index in range(len(self))], np.int64)

    @property
    def labels(self) -> Int[np.ndarray, "n"] | None:
        """The class of every record (one pass over the files), if the first record has one."""
        return self._numbers

    def _class(self, index: int) -> str:
        name = _header(self._records[index]).get("class")
        if not isinstance(name, str):
            raise UserError(
                f"record {index} of {self._pattern} has no class while the first record has one; "
                "give every record a class, or none"
            )
        return name


def write_arrayrecord(path: str, examples: Iterable[tuple[bytes, str | None, str | None]]) -> int:
    """Write (content of an image file, class or None, name or None) triples; return how many."""
    writer = _module("array_record_module").ArrayRecordWriter(os.fspath(path), "group_size:1")
    count = 0
    for content, label, name in examples:
        header = {key: value for key, value in (("class", label), ("name", name)) if value}
        line = json.dumps(header).encode() + b"\n" if header else b""
        writer.write(line + content)
        count += 1
    writer.close()
    return count


def _module(name: str) -> Any:
    try:
        return importlib.import_module(f"array_record.python.{name}")
    except ImportError as error:
        raise UserError("arrayrecord: needs a package; run pip install array_record") from error


def _header(record: bytes) -> dict[str, Any]:
    if not record.startswith(b"{"):
        return {}
    try:
        header = json.loads(record.split(b"\n", 1)[0])
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}


def _image(record: bytes) -> bytes:
    if not record.startswith(b"{"):
        if record.startswith(b"\x0a") and b"bytes_list" not in record[:4]:
            raise UnreadableImageError("it looks like a tf.train.Example; use tfds:NAME for these")
        return record
    return record.split(b"\n", 1)[-1]
