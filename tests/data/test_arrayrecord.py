import pathlib
import pickle

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.data.arrayrecord import write_arrayrecord
from dino_jax.data.decode import UnreadableImageError
from dino_jax.data.sources import open_source
from tests.data.images import encoded, pixels

IMAGES = [pixels(seed, (8, 9, 3)) for seed in range(4)]
FILES = [encoded(image) for image in IMAGES]


def test_what_was_written_is_read_file_by_file(tmp_path: pathlib.Path) -> None:
    first = [(FILES[0], "dog", "rex"), (FILES[1], "cat", None)]
    assert write_arrayrecord(str(tmp_path / "x-0.array_record"), first) == 2
    second = [(FILES[2], "dog", "fido"), (FILES[3], "ape", "kong")]
    write_arrayrecord(str(tmp_path / "x-1.array_record"), second)
    source = open_source(f"arrayrecord:{tmp_path}/x-*.array_record")
    for copy in (source, pickle.loads(pickle.dumps(source))):
        assert len(copy) == 4
        assert copy.class_names == ("ape", "cat", "dog")
        assert copy.labels is not None
        assert copy.labels.tolist() == [2, 1, 2, 0]
        assert [copy.name(k) for k in (0, 2, 3)] == ["rex", "fido", "kong"]
        assert copy.name(1).endswith("[1]")
        for index, image in enumerate(IMAGES):
            np.testing.assert_array_equal(copy.load(index), image)


def test_plain_image_files_are_records_too(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.array_record"
    write_arrayrecord(str(path), [(content, None, None) for content in FILES])
    source = open_source(f"arrayrecord:{path}")
    assert (source.class_names, source.labels, source.label(0)) == ((), None, None)
    np.testing.assert_array_equal(source.load(3), IMAGES[3])


@pytest.mark.parametrize(
    ("record", "reason"),
    [(b"\x0a\x10\x0a\x0e", "tf.train.Example"), (b"{broken", "no image"), (b"", "empty")],
)
def test_records_of_other_kinds_are_unreadable(
    tmp_path: pathlib.Path, record: bytes, reason: str
) -> None:
    path = tmp_path / "x.array_record"
    write_arrayrecord(str(path), [(FILES[0], None, None), (record, None, None)])
    with pytest.raises(UnreadableImageError, match=reason):
        open_source(f"arrayrecord:{path}").load(1)


def test_a_class_for_some_records_only_is_the_users_mistake(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.array_record"
    write_arrayrecord(str(path), [(FILES[0], "a", None), (FILES[1], None, None)])
    with pytest.raises(UserError, match=r"record 1 of .* has no class"):
        open_source(f"arrayrecord:{path}")
