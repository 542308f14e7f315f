"""Every format is read back by the library that others read it with."""

import csv
import json
import pathlib

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.evals.embed import formats
from dino_jax.evals.embed.formats import WRITERS, Table, beside, read_record

NAMES = ["a/1.png", 'odd, "name".jpg', "ärger.png", "z\n.png", "last.png"]
LABELS = np.array([0, 1, 0, 2, 1], np.int64)
CLASSES = ("a", "b, c", "ü")
INDEX = np.array([0, 1, 3, 4, 9], np.int64)


def features(shape: tuple[int, ...]) -> np.ndarray:
    values = np.random.default_rng(0).standard_normal((5, *shape)).astype(np.float32)
    values.reshape(-1)[:4] = [1e-38, -3.4e38, 0.1, 1 / 3]  # what rounds easily
    return values


def table(shape: tuple[int, ...] = (6,), *, labelled: bool = True) -> Table:
    rows = features(shape).reshape(5, -1)
    return Table(
        shape=shape,
        index=INDEX,
        names=NAMES,
        labels=LABELS if labelled else None,
        class_names=CLASSES if labelled else (),
        features=lambda: iter([rows[:2], rows[2:3], rows[3:]]),
        about=json.dumps({"shape": list(shape)}),
    )


def written(tmp_path: pathlib.Path, suffix: str, made: Table) -> pathlib.Path:
    path = tmp_path / f"file{suffix}"
    WRITERS[suffix](path, made)
    return path


@pytest.mark.parametrize("shape", [(6,), (3, 4)])
def test_npz_is_numpys(tmp_path: pathlib.Path, shape: tuple[int, ...]) -> None:
    with np.load(written(tmp_path, ".npz", table(shape)), allow_pickle=False) as found:
        assert set(found) == {"features", "index", "names", "labels", "classes", "about"}
        np.testing.assert_array_equal(found["features"], features(shape))
        assert found["features"].dtype == np.float32
        np.testing.assert_array_equal(found["index"], INDEX)
        assert list(found["names"]) == NAMES
        assert list(found["classes"][found["labels"]]) == [CLASSES[k] for k in LABELS]
        assert json.loads(found["about"].item()) == {"shape": list(shape)}


@pytest.mark.parametrize("shape", [(6,), (3, 4)])
def test_parquet_is_arrows(tmp_path: pathlib.Path, shape: tuple[int, ...]) -> None:
    from pyarrow import parquet

    found = parquet.read_table(written(tmp_path, ".parquet", table(shape)))
    assert found.column_names == ["index", "name", "label", "class", "feature"]
    assert found["name"].to_pylist() == NAMES
    assert found["index"].to_pylist() == list(INDEX)
    assert found["label"].to_pylist() == list(LABELS)
    assert found["class"].to_pylist() == [CLASSES[k] for k in LABELS]
    about = json.loads(found.schema.metadata[b"dino_jax"])
    rows = np.stack(found["feature"].to_numpy()).reshape(-1, *about["shape"])
    np.testing.assert_array_equal(rows, features(shape))
    assert rows.dtype == np.float32


def test_csv_is_exact(tmp_path: pathlib.Path) -> None:
    path = written(tmp_path, ".csv", table())
    with open(path, newline="", encoding="utf-8") as file:
        heading, *rows = csv.reader(file)
    assert heading == ["index", "name", "label", "class", *(f"f{k}" for k in range(6))]
    assert [row[1] for row in rows] == NAMES
    assert [int(row[0]) for row in rows] == list(INDEX)
    assert [(int(row[2]), row[3]) for row in rows] == [(k, CLASSES[k]) for k in LABELS]
    np.testing.assert_array_equal(np.array([row[4:] for row in rows], np.float32), features((6,)))
    assert json.loads(beside(path).read_text()) == {"shape": [6]}


def test_csv_holds_no_tokens(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match="no tokens"):
        written(tmp_path, ".csv", table((3, 4)))


@pytest.mark.parametrize("shape", [(6,), (3, 4)])
def test_arrayrecord_is_read_record_by_record(
    tmp_path: pathlib.Path, shape: tuple[int, ...]
) -> None:
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    path = written(tmp_path, ".arrayrecord", table(shape))
    records = ArrayRecordDataSource([str(path)])
    headers, rows = zip(*(read_record(records[k]) for k in range(len(records))), strict=True)
    np.testing.assert_array_equal(np.stack(rows), features(shape))
    assert [header["name"] for header in headers] == NAMES
    assert headers[3] == {"index": 4, "name": "z\n.png", "label": 2, "class": "ü"}
    assert json.loads(beside(path).read_text()) == {"shape": list(shape)}


def test_without_classes_there_are_no_labels(tmp_path: pathlib.Path) -> None:
    from pyarrow import parquet

    plain = table(labelled=False)
    with np.load(written(tmp_path, ".npz", plain)) as found:
        assert set(found) == {"features", "index", "names", "about"}
    columns = parquet.read_table(written(tmp_path, ".parquet", plain)).column_names
    assert columns == ["index", "name", "feature"]
    heading = written(tmp_path, ".csv", plain).read_text().splitlines()[0]
    assert heading == "index,name,f0,f1,f2,f3,f4,f5"
    header, _ = next(_records(written(tmp_path, ".array_record", plain)))
    assert header == {"index": 0, "name": "a/1.png"}


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".csv"])
def test_the_same_rows_are_the_same_bytes(tmp_path: pathlib.Path, suffix: str) -> None:
    first = written(tmp_path, suffix, table()).read_bytes()
    assert written(tmp_path, suffix, table()).read_bytes() == first


@pytest.mark.parametrize("suffix", [".parquet", ".arrayrecord"])
def test_a_missing_package_is_named(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(formats.importlib, "import_module", absent)
    with pytest.raises(UserError, match=r"run pip install (pyarrow|array_record)$"):
        written(tmp_path, suffix, table())


def _records(path: pathlib.Path):
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    records = ArrayRecordDataSource([str(path)])
    return (read_record(records[k]) for k in range(len(records)))
