"""Extraction in parts: the right rows, whatever was interrupted or cannot be read."""

import dataclasses
import json
import pathlib
import tracemalloc

import jax
import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.data.evaluation import default_resize, eval_image
from dino_jax.evals.embed import embedding as module
from dino_jax.evals.embed.embedding import Embedding, check_out, embed
from dino_jax.evals.embed.parts import Parts
from dino_jax.interop.encoder import open_encoder
from dino_jax.interrupt import Interrupted
from dino_jax.train.sharding import make_mesh
from tests.evals.embed.networks import SHALLOW, SIZE, encoder
from tests.evals.sources import Coloured

COUNT = 23


@pytest.fixture(scope="module")
def pixels():
    """Compiled in a moment."""
    return open_encoder("pixels", size=SIZE)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of two batches of four images."""
    monkeypatch.setattr(module, "PART_ROWS", 8)


def job(network, path: pathlib.Path, source=None, **options) -> Embedding:
    source = Coloured(COUNT, damaged=(2, 9)) if source is None else source
    return Embedding(network, source, path, batch_size=4, **options)


class After:
    """Says stop at the given call."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __call__(self) -> bool:
        self.left -= 1
        return self.left == 0


def test_rows_are_the_networks_features_of_the_readable_images(tmp_path: pathlib.Path) -> None:
    network = encoder(SHALLOW)
    source = Coloured(COUNT, damaged=(2, 9))
    done = embed(job(network, tmp_path / "f.npz", source), mesh=make_mesh(2))
    readable = [i for i in range(COUNT) if i not in (2, 9)]
    images = np.stack([eval_image(source.load(i), size=SIZE) for i in readable])
    expected = jax.jit(lambda p, x: network.features(p, network.prepared(x)).cls)(
        network.params, images
    )
    with np.load(tmp_path / "f.npz") as found:
        np.testing.assert_allclose(found["features"], expected, rtol=1e-4, atol=1e-5)
        assert list(found["index"]) == readable
        assert list(found["names"]) == [f"image {i}" for i in readable]
        assert list(found["labels"]) == [i % 3 for i in readable]
        about = json.loads(found["about"].item())
    assert (done.rows, done.unreadable, done.shape) == (21, 2, (8,))
    assert about["unreadable"] == [{"index": i, "name": f"image {i}"} for i in (2, 9)]
    assert about["images"] == COUNT
    assert (about["size"], about["identity"]) == (SIZE, "small 0")
    assert about["resize"] == default_resize(SIZE)
    assert [path.name for path in tmp_path.iterdir()] == ["f.npz"]


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_an_interrupted_run_ends_in_the_same_bytes(
    pixels, tmp_path: pathlib.Path, suffix: str
) -> None:
    whole, often = tmp_path / f"whole{suffix}", tmp_path / f"often{suffix}"
    embed(job(pixels, whole))
    for _ in range(2):
        with pytest.raises(Interrupted) as stopped:
            embed(job(pixels, often), stop=After(1))
        assert stopped.value.saved == f"{often}.parts"
        assert not often.exists()
    source = Coloured(COUNT, damaged=(2, 9))
    embed(job(pixels, often, source))
    assert often.read_bytes() == whole.read_bytes()
    assert source.loads == COUNT - 16, "what was extracted before is not read again"


def test_parts_lost_or_half_written_are_extracted_again(pixels, tmp_path: pathlib.Path) -> None:
    embed(job(pixels, tmp_path / "whole.npz"))
    with pytest.raises(Interrupted):
        embed(job(pixels, tmp_path / "f.npz"), stop=After(2))
    parts = sorted((tmp_path / "f.npz.parts").glob("*.part"))
    assert len(parts) == 2
    parts[0].unlink()
    parts[0].with_suffix(".unfinished.part").write_bytes(b"cut short")
    (tmp_path / "f.unfinished.npz").write_bytes(b"cut short")
    embed(job(pixels, tmp_path / "f.npz"))
    assert (tmp_path / "f.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.npz", "whole.npz"]


def test_parts_of_something_else_are_refused_or_replaced(pixels, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "f.npz"
    with pytest.raises(Interrupted):
        embed(job(pixels, path), stop=After(1))
    for other, named in (
        (job(pixels, path, feature="patch-mean"), "feature"),
        (job(dataclasses.replace(pixels, identity="other"), path), "weights"),
        (job(pixels, path, Coloured(COUNT + 1)), "images"),
    ):
        with pytest.raises(UserError, match=f"begun with other {named}: go on with the same"):
            embed(other)
    embed(job(pixels, path, feature="patch-mean"), overwrite=True)
    embed(job(pixels, tmp_path / "whole.npz", feature="patch-mean"))
    assert path.read_bytes() == (tmp_path / "whole.npz").read_bytes()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_somebody_else_is_left_alone(
    pixels, tmp_path: pathlib.Path, overwrite: bool
) -> None:
    folder = tmp_path / "f.npz.parts"
    (folder / "more").mkdir(parents=True)
    (folder / "thesis.txt").write_text("three years")
    with pytest.raises(UserError, match=r"holds more and no made_by\.json: move it away"):
        embed(job(pixels, tmp_path / "f.npz"), overwrite=overwrite)
    assert sorted(path.name for path in folder.iterdir()) == ["more", "thesis.txt"]


def test_what_is_added_to_a_folder_of_parts_stays_there(pixels, tmp_path: pathlib.Path) -> None:
    path, folder = tmp_path / "f.npz", tmp_path / "f.npz.parts"
    folder.mkdir()
    (folder / "made_by.unfinished.json").write_text("cut sh")
    with pytest.raises(Interrupted):
        embed(job(pixels, path), stop=After(1))
    (folder / "thesis.txt").write_text("three years")
    embed(job(pixels, path, feature="patch-mean"), overwrite=True)
    assert [file.name for file in folder.iterdir()] == ["thesis.txt"]


def test_overwriting_goes_on_where_it_stopped(pixels, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "f.npz"
    path.write_bytes(b"of before")
    with pytest.raises(Interrupted):
        embed(job(pixels, path), stop=After(2), overwrite=True)
    assert path.read_bytes() == b"of before"
    source = Coloured(COUNT, damaged=(2, 9))
    embed(job(pixels, path, source), overwrite=True)
    assert source.loads == COUNT - 16


def test_a_part_in_which_nothing_can_be_read(pixels, tmp_path: pathlib.Path) -> None:
    source = Coloured(COUNT, damaged=range(8, 16), labelled=False)
    done = embed(job(pixels, tmp_path / "f.parquet", source, feature="patches"))
    assert (done.rows, done.shape) == (15, (4, 48))
    nothing = Coloured(COUNT, damaged=range(COUNT))
    with pytest.raises(UserError, match="none of the 23 images of coloured can be read"):
        embed(job(pixels, tmp_path / "g.npz", nothing))
    assert not list(tmp_path.glob("g.*"))


def test_two_processes_do_not_share_a_folder(pixels, tmp_path: pathlib.Path) -> None:
    one = job(pixels, tmp_path / "f.npz")
    with (
        Parts(one.folder).claimed({}),
        pytest.raises(UserError, match="another process is writing"),
    ):
        embed(one)


def test_what_does_not_fit_in_memory_is_not_held(tmp_path: pathlib.Path) -> None:
    """Ten times the images at nearly the same peak."""
    pixels = open_encoder("pixels", size=64)

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            embed(job(pixels, tmp_path / f"{count}.npz", Coloured(count), feature="patches"))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(8)  # what is compiled and imported once
    features = 64 * 48 * 4  # bytes an image
    assert peak(160) - peak(8) < 152 * features / 2


def test_sizes_that_cannot_be_are_one_line(pixels, tmp_path: pathlib.Path) -> None:
    odd = dataclasses.replace(pixels, size=20, heads=1)
    with pytest.raises(UserError, match="a multiple of the patch"):
        embed(job(odd, tmp_path / "f.npz"))


def test_a_folder_that_cannot_be_written_is_one_line(pixels, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*f\.npz: "):
        embed(job(pixels, tmp_path / "file" / "f.npz"))


def test_the_name_of_the_file_is_checked_first(tmp_path: pathlib.Path) -> None:
    (tmp_path / "there.npz").write_text("")
    (tmp_path / "folder.npz").mkdir()
    for out, feature, line in (
        ("f.txt", "cls", r"expected a file ending in \.npz"),
        ("there.npz", "cls", "add --overwrite"),
        ("folder.npz", "cls", "it is a folder"),
        ("f.csv", "patches", "no tokens"),
        ("f.npz", "nonsense", "expected cls"),
    ):
        with pytest.raises(UserError, match=line):
            check_out(str(tmp_path / out), feature)
    assert check_out(str(tmp_path / "there.npz"), "cls", overwrite=True).name == "there.npz"
