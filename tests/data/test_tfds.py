import io
import pathlib
import pickle
import sys

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.data.sources import open_source
from tests.data.images import encoded, pixels

tfds = pytest.importorskip("tensorflow_datasets")

IMAGES = [pixels(seed, (8, 9, 3)) for seed in range(6)]


class TinyPhotos(tfds.core.GeneratorBasedBuilder):
    """Six images of two classes."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                    "label": tfds.features.ClassLabel(names=["day", "night"]),
                }
            )
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0), "test": self._generate_examples(4)}

    def _generate_examples(self, start):
        for index in range(start, start + (4 if start == 0 else 2)):
            yield index, {"image": io.BytesIO(encoded(IMAGES[index])), "label": index % 2}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("tfds")
    TinyPhotos(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ("tfds:tiny_photos", 4),
        ("tfds:tiny_photos:test", 2),
        ("tfds:tiny_photos:1.0.0", 4),
        ("tfds:tiny_photos:1.0.0:test", 2),
        ("tfds:tiny_photos:train[:50%]", 2),
    ],
)
def test_a_prepared_data_set_is_read(
    prepared: pathlib.Path, monkeypatch: pytest.MonkeyPatch, spec: str, count: int
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    source = open_source(spec)
    assert len(source) == count
    assert source.class_names == ("day", "night")
    assert source.labels is not None
    for index in range(count):
        matches = [k for k, image in enumerate(IMAGES) if np.array_equal(source.load(index), image)]
        assert len(matches) == 1
        assert source.label(index) == matches[0] % 2
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy.load(0), source.load(0))
    assert source.name(0).startswith("tiny_photos")
    assert "tensorflow" not in sys.modules


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("tfds:tiny_photos:val", "no split val; it has "),
        ("tfds:mnist", "not prepared"),
        ("tfds:tiny_fotos", "knows no data set tiny_fotos"),
    ],
)
def test_mistakes_are_one_clear_line(
    prepared: pathlib.Path, monkeypatch: pytest.MonkeyPatch, spec: str, reason: str
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    with pytest.raises(UserError) as caught:
        open_source(spec)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
