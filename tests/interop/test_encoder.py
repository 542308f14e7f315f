"""Encoders by spec, and the store of their features."""

import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dino_jax.config import UserError
from dino_jax.data.source import Source
from dino_jax.data.sources import open_source
from dino_jax.evals.store import FeatureStore, open_store
from dino_jax.interop.encoder import Encoder, open_encoder

TINY = "random:vit_tiny_16"


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return open_encoder(TINY, size=32)


def folder(path: pathlib.Path, count: int = 5) -> Source:
    path.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    for number in range(count):
        pixels = random.integers(0, 256, (40, 48, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(path / f"{number}.png")
    return open_source(f"folder:{path}")


def cls(encoder: Encoder):
    return lambda params, images: encoder.features(params, images).cls


def test_untrained_weights_are_the_same_every_time(encoder: Encoder) -> None:
    again = open_encoder(TINY, size=32)
    assert again.identity == encoder.identity
    assert (encoder.arch, encoder.patch_size, encoder.width) == ("vit_tiny", 16, 192)
    for name, value in encoder.params.items():
        np.testing.assert_array_equal(value, again.params[name])


def test_identity_tells_precision_and_architecture(encoder: Encoder) -> None:
    others = (TINY, "bfloat16"), ("random:vit_tiny_8", "float32")
    found = {open_encoder(spec, precision=precision).identity for spec, precision in others}
    assert len(found | {encoder.identity}) == 3


def test_another_size_is_resized_in_proportion() -> None:
    assert (open_encoder("pixels").size, open_encoder("pixels", size=64).resize) == (224, None)
    assert open_encoder("colour", size=64, resize=70).resize == 70


@pytest.mark.parametrize("spec", ["random:vit_enormous_16", "random:no/such/run", "pixel"])
def test_unknown_weights_are_one_line(spec: str) -> None:
    with pytest.raises(UserError) as error:
        open_encoder(spec)
    assert "\n" not in str(error.value)


def test_features_are_extracted_once(
    encoder: Encoder, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, source = FeatureStore(tmp_path / "kept"), folder(tmp_path / "images")
    first, index = store.features(encoder, source, what="cls", function=cls(encoder))
    assert first.shape == (5, 192)
    np.testing.assert_array_equal(index, np.arange(5))

    def never(index: int) -> np.ndarray:
        raise AssertionError(f"image {index} was read again")

    monkeypatch.setattr(source, "load", never)
    second, again = store.features(encoder, source, what="cls", function=cls(encoder))
    assert isinstance(second, np.memmap)
    np.testing.assert_array_equal(second, first)
    np.testing.assert_array_equal(again, index)


def test_a_key_knows_weights_reading_images_and_feature(
    encoder: Encoder, tmp_path: pathlib.Path
) -> None:
    store, source = FeatureStore(tmp_path / "kept"), folder(tmp_path / "images")
    other = open_encoder("pixels", size=32)
    smaller = open_encoder(TINY, size=16)

    def files() -> int:
        return len(list((tmp_path / "kept").glob("*.features.npy")))

    for number, (network, images, indices, what) in enumerate(
        [
            (encoder, source, None, "cls"),
            (other, source, None, "cls"),
            (smaller, source, None, "cls"),
            (encoder, source, np.arange(3), "cls"),
            (encoder, source, None, "also cls"),
            (encoder, folder(tmp_path / "others"), None, "cls"),
        ],
        1,
    ):
        store.features(network, images, indices, what=what, function=cls(network))
        assert files() == number
    Image.new("RGB", (50, 50)).save(tmp_path / "images" / "0.png")
    store.features(encoder, source, what="cls", function=cls(encoder))
    assert files() == 7
    keys = [json.loads(path.read_text()) for path in (tmp_path / "kept").glob("*.json")]
    assert len({key["weights"] for key in keys}) == 2


def test_a_file_cut_short_is_computed_again(encoder: Encoder, tmp_path: pathlib.Path) -> None:
    store, source = FeatureStore(tmp_path / "kept"), folder(tmp_path / "images")
    first, _ = store.features(encoder, source, what="cls", function=cls(encoder))
    (file,) = (tmp_path / "kept").glob("*.features.npy")
    file.write_bytes(file.read_bytes()[:200])
    again, _ = store.features(encoder, source, what="cls", function=cls(encoder))
    np.testing.assert_array_equal(again, first)


def test_features_that_are_not_finite_are_refused_and_not_kept(
    encoder: Encoder, tmp_path: pathlib.Path
) -> None:
    store, source = FeatureStore(tmp_path / "kept"), folder(tmp_path / "images", 2)

    def diverged(params, images):
        return cls(encoder)(params, images) * jnp.nan

    with pytest.raises(UserError, match="not all finite"):
        store.features(encoder, source, what="cls", function=diverged)
    assert not (tmp_path / "kept").exists()


def test_no_readable_image_is_one_line(encoder: Encoder, tmp_path: pathlib.Path) -> None:
    source = folder(tmp_path / "images", 2)
    for path in (tmp_path / "images").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"no image of folder:.* can be read") as error:
        FeatureStore(None).features(encoder, source, what="cls", function=cls(encoder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("spec", [TINY, "pixels"])
def test_a_crop_larger_than_the_image_is_refused(spec: str) -> None:
    with pytest.raises(UserError, match="--resize=16 is less than the 32 pixels of the crop"):
        open_encoder(spec, size=32, resize=16)


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--cache=.* \(it is a file\): name another, or `none`"):
        open_store(str(tmp_path / "file"))
    assert open_store("none").folder is None


def test_without_a_folder_nothing_is_kept(encoder: Encoder, tmp_path: pathlib.Path) -> None:
    source = folder(tmp_path / "images", 2)
    found, _ = FeatureStore(None).features(encoder, source, what="cls", function=cls(encoder))
    assert found.shape == (2, 192)


def test_an_unreadable_image_leaves_no_row(encoder: Encoder, tmp_path: pathlib.Path) -> None:
    source = folder(tmp_path / "images", 4)
    (tmp_path / "images" / "2.png").write_bytes(b"no image")
    found, index = FeatureStore(None).features(encoder, source, what="cls", function=cls(encoder))
    assert found.shape == (3, 192)
    np.testing.assert_array_equal(index, [0, 1, 3])
    some = np.array([3, 2])
    found, index = FeatureStore(None).features(
        encoder, source, some, what="cls", function=cls(encoder)
    )
    assert found.shape == (1, 192)
    np.testing.assert_array_equal(index, [3])


def test_a_misspelt_architecture_is_not_sought_among_the_published() -> None:
    with pytest.raises(UserError, match=r"did you mean random:vit_small_16\?"):
        open_encoder("random:vit_smal_16")
