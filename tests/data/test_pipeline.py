import multiprocessing
import os
import signal
import sys

import numpy as np
import pytest

from dino_jax.config import AugmentConfig, CropsConfig, DataConfig, UserError
from dino_jax.data import photometric
from dino_jax.data.crops import cut_crops
from dino_jax.data.order import Order
from dino_jax.data.pipeline import Batch, train_iterator
from dino_jax.data.randomness import Purpose, generator
from dino_jax.data.resample import Cutter
from dino_jax.data.source import Source
from tests.data.fakes import FakeSource

CROPS = CropsConfig(global_size=12, local_size=6, local_number=3)


def batches(source: Source, start: int = 0, stop: int = 7, **options: object) -> list[Batch]:
    arguments = {"crops": CROPS, "data": DataConfig(threads=2), "seed": 5, "batch_size": 8}
    with train_iterator(
        source, start_step=start, stop_step=stop, **arguments | options
    ) as iterator:
        return list(iterator)


def assert_equal(ours: list[Batch], theirs: list[Batch]) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert sorted(a) == sorted(b)
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
            assert a[name].dtype == b[name].dtype


def test_a_batch_holds_what_the_contract_says() -> None:
    source = FakeSource(20, sizes=5)
    found = batches(source)
    order = Order(20, 8, seed=5)
    assert len(found) == 7
    for step, batch in enumerate(found):
        assert batch["views"].shape == (8, 2, 12, 12, 3)
        assert batch["locals"].shape == (8, 3, 6, 6, 3)
        assert batch["views"].dtype == batch["locals"].dtype == np.uint8
        rows = order.rows(step)
        np.testing.assert_array_equal(batch["index"], rows.examples)
        np.testing.assert_array_equal(batch["epoch"], np.full(8, step // 2))
        np.testing.assert_array_equal(batch["replaced"], np.full(8, -1))
        example = int(rows.examples[3])
        image, place = source.load(example), {"epoch": rows.epoch, "example": example}
        crops = cut_crops(image, CROPS, seed=5, **place, cutter=Cutter())
        np.testing.assert_array_equal(batch["views"][3], crops.views)
        np.testing.assert_array_equal(batch["locals"][3], crops.locals)


def test_any_part_of_a_run_is_that_part_of_the_whole() -> None:
    source = FakeSource(20)
    assert_equal(batches(source, 3, 6), batches(source)[3:6])
    assert batches(source, 4, 4) == []


@pytest.mark.parametrize("count", [2, 4])
def test_rows_of_all_processes_make_up_the_batch(count: int) -> None:
    source = FakeSource(20, damaged={4})
    parts = [batches(source, process_index=index, process_count=count) for index in range(count)]
    joined = [
        {name: np.concatenate([part[name] for part in step]) for name in step[0]}
        for step in zip(*parts, strict=True)
    ]
    assert_equal(joined, batches(source))


@pytest.mark.parametrize("threads", [1, 5])
def test_threads_do_not_matter(threads: int) -> None:
    source = FakeSource(70)
    one = batches(source, batch_size=34, stop=4)
    assert_equal(batches(source, batch_size=34, stop=4, data=DataConfig(threads=threads)), one)


@pytest.mark.parametrize("workers", [1, 3])
def test_worker_processes_do_not_matter(workers: int) -> None:
    source = FakeSource(20, damaged={4})
    assert_equal(batches(source, workers=workers), batches(source))


def test_worker_processes_outlive_ctrl_c_and_end_when_a_run_is_left_early() -> None:
    iterator = train_iterator(
        FakeSource(20),
        CROPS,
        DataConfig(),
        seed=0,
        batch_size=8,
        start_step=0,
        stop_step=1000,
        workers=1,
    )
    next(iterator)
    for process in multiprocessing.active_children():  # a terminal sends it to every process
        os.kill(process.pid, signal.SIGINT)
    for _ in range(20):  # more than were ready
        next(iterator)
    iterator.close()
    with pytest.raises(ValueError, match="closed"):
        next(iterator)


def test_an_unreadable_example_is_replaced_and_reported() -> None:
    found = batches(FakeSource(16, damaged={6, 7}), 0, 2)
    index, replaced = (
        np.concatenate([batch[name] for batch in found]) for name in ("index", "replaced")
    )
    assert sorted(replaced[replaced >= 0]) == [6, 7]
    assert set(index[replaced >= 0]) == {8}
    rows = np.flatnonzero(index == 8)
    views = np.concatenate([batch["views"] for batch in found])[rows]
    assert len({view.tobytes() for view in views}) == 3  # one image, cut in three ways


def test_without_local_crops_there_is_no_such_entry() -> None:
    crops = CropsConfig(global_size=12, local_number=0)
    (batch,) = batches(FakeSource(20), stop=1, crops=crops)
    assert sorted(batch) == ["epoch", "index", "replaced", "views"]


def test_photometrics_on_the_host_are_applied_to_the_same_crops() -> None:
    source, config = FakeSource(20), AugmentConfig(where="host")
    (plain,) = batches(source, stop=1)
    (device,) = batches(source, stop=1, augment=AugmentConfig(where="device"))
    (host,) = batches(source, stop=1, augment=config)
    assert_equal([device], [plain])
    example = int(plain["index"][2])
    for view, name, place in ((1, "views", 1), (4, "locals", 2)):
        random = generator(5, 0, example, view, Purpose.PHOTOMETRIC)
        expected = photometric.augment(plain[name][2, place], random, view=view, config=config)
        np.testing.assert_array_equal(host[name][2, place], expected)


@pytest.mark.parametrize("channels", [1, 4])
def test_other_numbers_of_channels_pass_through(channels: int) -> None:
    (batch,) = batches(FakeSource(20, channels=channels), stop=1)
    assert batch["views"].shape == (8, 2, 12, 12, channels)


def test_mistakes_are_said_before_anything_starts() -> None:
    with pytest.raises(UserError, match="fewer than one batch"):
        batches(FakeSource(7))
    with pytest.raises(UserError, match="can be read"):
        batches(FakeSource(8, damaged=range(8)))
    with pytest.raises(UserError, match="not divisible by 3 processes"):
        batches(FakeSource(20), process_count=3)


def test_no_module_of_the_data_package_but_the_pipeline_knows_grain() -> None:
    package = {name for name in sys.modules if name.startswith("dino_jax.data.")}
    assert len(package) > 5
    for name in package - {"dino_jax.data.pipeline"}:
        assert not hasattr(sys.modules[name], "grain")
        assert not hasattr(sys.modules[name], "jax")
