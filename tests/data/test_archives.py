"""The archives of real images, where they are at hand."""

import os
import pathlib

import numpy as np
import pytest

from dino_jax.config import CropsConfig, DataConfig
from dino_jax.data.evaluation import eval_batches
from dino_jax.data.pipeline import train_iterator
from dino_jax.data.source import Source
from dino_jax.data.sources import open_source

FOLDER = pathlib.Path(
    os.environ.get("DINO_JAX_DATA", pathlib.Path(__file__).parents[2] / ".." / "shared" / "data")
)


def opened(name: str) -> Source:
    if not (FOLDER / name).exists():
        pytest.skip(f"{name} is not here (set DINO_JAX_DATA to its folder)")
    return open_source(f"tar:{FOLDER / name}")


def test_cifar10_has_ten_classes_and_its_sizes() -> None:
    source = opened("cifar10_test.tar.gz")
    assert len(source) == 8000
    assert source.class_names[0] == "airplane"
    assert source.labels is not None
    assert np.bincount(source.labels).shape == (10,)
    assert source.load(7999).shape == (32, 32, 3)


def test_imagenette_is_read_by_offset() -> None:
    source = opened("imagenette224_val.tar")
    assert len(source) == 600
    assert len(source.class_names) == 10
    (batch,) = eval_batches(source, range(0, 600, 60), size=32, batch_size=10)
    assert batch.images.shape == (10, 32, 32, 3)
    assert (batch.index == np.arange(0, 600, 60)).all()


@pytest.mark.filterwarnings("ignore::UserWarning")  # odd EXIF
def test_photographs_of_many_sizes_train() -> None:
    source = opened("jpeg_varsize.tar")
    assert (len(source), source.labels) == (52, None)
    crops = CropsConfig(global_size=32, local_size=16, local_number=2)
    with train_iterator(
        source, crops, DataConfig(), seed=0, batch_size=26, start_step=0, stop_step=2
    ) as batches:
        found = list(batches)
    assert sorted(np.concatenate([batch["index"] for batch in found])) == list(range(52))
    assert all((batch["replaced"] == -1).all() for batch in found)
