"""The pictures of the first batch are exactly what the step's augmentation gives."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import Config, resolve
from dino_jax.data.embedded import EmbeddedSource
from dino_jax.data.pipeline import train_iterator
from dino_jax.data.source import Source
from dino_jax.data.sources import open_source
from dino_jax.ops.photometric import normalise
from dino_jax.train.method import build_method
from dino_jax.viz.report.first_batch import (
    Seen,
    as_seen,
    first_rows,
    levels,
    read_sheet,
    sheet,
    write_sheet,
)
from tests.data.fakes import FakeSource
from tests.train import tiny

ROWS = 6


def resolved(**overrides: object) -> Config:
    config = tiny.config(**overrides)
    return resolve(config, examples=96, platform="cpu", device_count=1).config


def batch_of_step_0(source: Source, config: Config) -> dict[str, np.ndarray]:
    with train_iterator(
        source, config.crops, config.data, seed=config.seed, batch_size=config.batch_size,
        start_step=0, stop_step=3, augment=config.augment,
    ) as batches:  # fmt: skip
        return next(batches)


@functools.cache
def photos() -> EmbeddedSource:
    source = open_source("embedded:photos:train", channels=3)
    assert isinstance(source, EmbeddedSource)
    return source


@pytest.mark.parametrize("where", ["device", "host"])
@pytest.mark.parametrize("local_number", [0, 2])
def test_rows_are_those_that_the_pipeline_gives(where: str, local_number: int) -> None:
    config = resolved(augment__where=where, crops__local_number=local_number, seed=3)
    source = FakeSource(96, damaged=(5, 40, 41))
    rows, batch = first_rows(source, config, ROWS), batch_of_step_0(source, config)
    assert rows.keys() == batch.keys()
    for name, value in rows.items():
        np.testing.assert_array_equal(value, batch[name][:ROWS])


def test_photographs_of_unknown_terms_are_passed_over() -> None:
    config = resolved(batch_size=64)
    batch = batch_of_step_0(photos(), config)
    labels = photos().labels[batch["index"]]
    shown = np.array([photos().photographs[label].shown for label in labels])
    assert not shown[:12].all(), "nothing to be passed over among the first: choose another seed"
    rows = first_rows(photos(), config, 12)
    np.testing.assert_array_equal(rows["index"], batch["index"][shown][:12])
    np.testing.assert_array_equal(rows["views"], batch["views"][shown][:12])


@pytest.mark.parametrize("where", ["device", "host"])
def test_what_is_shown_is_what_the_step_computes(where: str, tmp_path: pathlib.Path) -> None:
    """Of the whole batch, compiled as the step is, against the few rows compiled by themselves."""
    # Augmented on the device, local crops would only be the same program once more.
    config = resolved(augment__where=where, crops__local_number=2 if where == "host" else 0)
    method = build_method(resolve(config, examples=96, platform="cpu", device_count=1))
    source = FakeSource(96)
    seen = as_seen(first_rows(source, config, ROWS), method.crops, config)
    batch = {k: v for k, v in batch_of_step_0(source, config).items() if k != "replaced"}
    views, *small = jax.jit(lambda batch: method.crops(batch)[0])(batch)
    path = tmp_path / "report" / "batch.png"
    write_sheet(path, seen)
    kept = read_sheet(path, config.crops)
    assert kept is not None
    assert len(kept) == ROWS
    for row, each in enumerate(kept):
        pairs = [(each.views, views[row]), *((each.locals, part[row]) for part in small)]
        for ours, step in pairs:
            again = np.asarray(normalise(jnp.asarray(ours), config.data.mean, config.data.std))
            np.testing.assert_allclose(again, np.asarray(step), atol=1e-5)
    if where == "device":  # and it is the augmented one, not the crop as it was cut
        assert any(
            not np.array_equal(each.views, batch["views"][row]) for row, each in enumerate(kept)
        )


def test_every_level_comes_back_from_what_it_was_normalised_to() -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    every = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    np.testing.assert_array_equal(
        levels(np.asarray(normalise(jnp.asarray(every), mean, std)), mean, std), every
    )


@pytest.mark.parametrize("locals_", [0, 1, 5])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_holds_every_pixel(tmp_path: pathlib.Path, locals_: int, channels: int) -> None:
    random = np.random.default_rng(0)
    rows = [
        Seen(
            random.integers(0, 256, (2, 12, 12, channels), np.uint8),
            random.integers(0, 256, (locals_, 6, 6, channels), np.uint8),
        )
        for _ in range(3)
    ]
    crops = resolved(crops__local_number=locals_ or 1).crops
    crops.global_size, crops.local_size, crops.local_number = 12, 6, locals_
    write_sheet(tmp_path / "batch.png", rows)
    kept = read_sheet(tmp_path / "batch.png", crops)
    assert kept is not None
    for ours, theirs in zip(kept, rows, strict=True):
        np.testing.assert_array_equal(ours.views, np.broadcast_to(theirs.views, ours.views.shape))
        if locals_:
            np.testing.assert_array_equal(
                ours.locals, np.broadcast_to(theirs.locals, ours.locals.shape)
            )
    assert sheet(rows).shape[0] == 3 * 12 + 2 * 2


def test_a_sheet_of_another_geometry_or_a_damaged_one_is_none(tmp_path: pathlib.Path) -> None:
    crops = resolved().crops
    path = tmp_path / "batch.png"
    assert read_sheet(path, crops) is None
    path.write_bytes(b"no picture")
    assert read_sheet(path, crops) is None
    write_sheet(path, [Seen(np.zeros((2, 9, 9, 3), np.uint8), np.zeros((2, 4, 4, 3), np.uint8))])
    assert read_sheet(path, crops) is None
    content = path.read_bytes()
    crops.global_size, crops.local_size, crops.local_number = 9, 4, 2
    assert read_sheet(path, crops) is not None
    path.write_bytes(content[: len(content) // 2])
    assert read_sheet(path, crops) is None
