"""Files of features: npz, parquet, CSV and ArrayRecord, written part by part.

Every format holds the same rows in the order of the source: `index` (the example's place in it),
`name`, the feature, and `label` with `class` where the source has classes. None holds the time of
writing, so that the same rows make the same bytes.
"""

import dataclasses
import importlib
import io
import json
import pathlib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from dino_jax.config import UserError

ABOUT = "dino_jax"
"""The key of a parquet file's metadata under which lies what made it."""


@dataclasses.dataclass(frozen=True)
class Table:
    """The rows to write. `features` gives them from the beginning at each call, some at a time."""

    shape: tuple[int, ...]
    """Of one feature: (D,), or (tokens, D)."""
    index: Int[np.ndarray, " n"]
    names: Sequence[str]
    labels: Int[np.ndarray, " n"] | None
    class_names: Sequence[str]
    features: Callable[[], Iterable[Float[np.ndarray, "rows row"]]]
    about: str
    """JSON: what made it."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One image."""

    index: int
    name: str
    label: int | None
    class_name: str
    feature: Float[np.ndarray, " row"]


def write_npz(path: pathlib.Path, table: Table) -> None:
    """A zip of uncompressed .npy files: `features`, `index`, `names` and the text `about`.

    Where the source has classes there are `labels`, numbers into `classes`, too.
    """
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        shape = (len(table.index), *table.shape)
        with _member(archive, "features") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for rows in table.features():
                file.write(np.ascontiguousarray(rows, "<f4").data)
        arrays: dict[str, Any] = {"index": table.index, "names": np.array(table.names, np.str_)}
        if table.labels is not None:
            arrays |= {"labels": table.labels, "classes": np.array(table.class_names, np.str_)}
        for name, array in {**arrays, "about": np.array(table.about)}.items():
            with _member(archive, name) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _member(archive: zipfile.ZipFile, name: str) -> Any:
    # A ZipInfo of its own bears no time.
    return archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True)


def write_parquet(path: pathlib.Path, table: Table) -> None:
    """Columns `index`, `name`, `label`, `class`, `feature` (a list of fixed length, flattened).

    The file's metadata holds what made it as JSON under `dino_jax`, the feature's `shape` in it.
    """
    pa, parquet = _package("pyarrow"), _package("pyarrow.parquet")
    row = pa.list_(pa.float32(), int(np.prod(table.shape)))
    fields = [("index", pa.int64()), ("name", pa.string())]
    if table.labels is not None:
        fields += [("label", pa.int64()), ("class", pa.string())]
    schema = pa.schema([*fields, ("feature", row)], metadata={ABOUT: table.about})
    with parquet.ParquetWriter(path, schema) as writer:
        start = 0
        for rows in table.features():
            part = slice(start, start + len(rows))
            columns: dict[str, Any] = {"index": table.index[part], "name": table.names[part]}
            if table.labels is not None:
                labels = table.labels[part]
                columns |= {"label": labels, "class": [table.class_names[k] for k in labels]}
            values = pa.array(np.ascontiguousarray(rows, np.float32).reshape(-1))
            feature = pa.FixedSizeListArray.from_arrays(values, type=row)
            writer.write_table(pa.table({**columns, "feature": feature}, schema=schema))
            start += len(rows)


def write_csv(path: pathlib.Path, table: Table) -> None:
    """A header, then a row an image: index, name, label, class, and the feature from f0 on.

    Every number is exact: read as float32 it is the one computed.
    """
    import csv

    if len(table.shape) > 1:
        raise UserError("csv holds one feature an image, no tokens: write npz or parquet")
    classes = table.labels is not None
    heading = ["index", "name", *(["label", "class"] if classes else [])]
    numbers = ",".join(["%.9g"] * table.shape[0])
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*heading, *(f"f{k}" for k in range(table.shape[0]))])
        for row in rows_of(table):
            labelled = [row.label, row.class_name] if classes else []
            values = (numbers % tuple(row.feature)).split(",")
            writer.writerow([row.index, row.name, *labelled, *values])
    _beside(path, table)


def write_arrayrecord(path: pathlib.Path, table: Table) -> None:
    """A record an image: one line of JSON (index, name, label, class), a newline, a .npy file."""
    module = _package("array_record.python.array_record_module")
    writer = module.ArrayRecordWriter(str(path), "group_size:1")
    try:
        for row in rows_of(table):
            header = {"index": row.index, "name": row.name}
            if row.label is not None:
                header |= {"label": row.label, "class": row.class_name}
            record = io.BytesIO(json.dumps(header).encode() + b"\n")
            record.seek(0, io.SEEK_END)
            np.save(record, row.feature.reshape(table.shape))
            writer.write(record.getvalue())
    finally:
        writer.close()
    _beside(path, table)


def read_record(record: bytes) -> tuple[dict[str, Any], Float[np.ndarray, "..."]]:
    """The JSON object and the feature of a record that `write_arrayrecord` wrote."""
    line, content = record.split(b"\n", 1)
    return json.loads(line), np.load(io.BytesIO(content))


def rows_of(table: Table) -> Iterator[Row]:
    """The rows one by one."""
    place = 0
    for rows in table.features():
        for feature in rows:
            label = None if table.labels is None else int(table.labels[place])
            name = "" if label is None else table.class_names[label]
            yield Row(int(table.index[place]), table.names[place], label, name, feature)
            place += 1


def beside(path: pathlib.Path) -> pathlib.Path:
    """Where it is said what made a file that has no place for it."""
    return path.with_name(f"{path.name}.json")


def _beside(path: pathlib.Path, table: Table) -> None:
    beside(path).write_text(f"{table.about}\n", encoding="utf-8")


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        needed = name.partition(".")[0]
        raise UserError(f"--out: this format needs {needed}: run pip install {needed}") from error


WRITERS: dict[str, Callable[[pathlib.Path, Table], None]] = {
    ".npz": write_npz,
    ".parquet": write_parquet,
    ".csv": write_csv,
    ".arrayrecord": write_arrayrecord,
    ".array_record": write_arrayrecord,
}
"""By the suffix of the file."""
