"""Which images are looked at, and that the numbers are the network's own."""

import functools

import jax
import numpy as np
import pytest

from dino_jax.config import resolve
from dino_jax.data.holdout import Subset
from dino_jax.data.sources import open_source
from dino_jax.models.build import Model
from dino_jax.ops.photometric import normalise
from dino_jax.train.method import build_models
from dino_jax.types import Params
from dino_jax.viz.report import looks as looks_module
from dino_jax.viz.report.looks import Looks, chosen, own
from tests.data.fakes import FakeSource
from tests.train import tiny

RESOLVED = resolve(tiny.config(), examples=96, platform="cpu", device_count=1)


@functools.cache
def network() -> tuple[Model, Params]:
    model = build_models(RESOLVED.config)[1]
    params, stats = model.init(jax.random.key(0))
    return model, own(params | stats)


@functools.cache
def looks() -> Looks:
    train, held_out = FakeSource(70, damaged=(3,)), FakeSource(9, damaged=(0, 4))
    return Looks(network()[0], RESOLVED.config, train, held_out)


def test_attention_is_that_of_the_last_block_mean_over_the_heads() -> None:
    model, params = network()
    maps = looks().attention(params)
    assert maps is not None
    pixels = jax.numpy.asarray(looks().large.pixels)
    assert pixels.shape[1:] == (128, 128, 3)
    images = normalise(pixels, RESOLVED.config.data.mean, RESOLVED.config.data.std)

    @jax.jit
    def attended(params: Params, images: jax.Array) -> jax.Array | None:
        return model.features(params, images, attention=True).attention

    whole = np.asarray(attended(params, images))  # (images, heads, queries, keys)
    expected = whole[:, :, 0, 1:].mean(axis=1).reshape(-1, 16, 16)
    np.testing.assert_allclose(maps, expected, rtol=1e-5, atol=1e-9)
    assert np.all(maps.sum(axis=(1, 2)) < 1)


def test_neighbours_are_the_nearest_by_cosine() -> None:
    model, params = network()
    found = looks().neighbours(params)
    read = jax.jit(lambda params, images: model.features(params, images).cls)
    features = []
    for part in (looks().queries, looks().bank):
        data = RESOLVED.config.data
        images = normalise(jax.numpy.asarray(part.pixels), data.mean, data.std)
        features.append(np.asarray(read(params, images), np.float64))
    for row, query in enumerate(features[0]):
        cosines = [
            float(query @ other / np.sqrt((query @ query) * (other @ other)))
            for other in features[1]
        ]
        best = sorted(range(len(cosines)), key=lambda i: -cosines[i])[:5]
        np.testing.assert_allclose(found["similarity"][row], [cosines[i] for i in best], atol=1e-5)
        np.testing.assert_array_equal(found["thumbs"][row], looks().bank.thumbs[best])
    assert int(found["bank"]) == 69, "one of 70 is damaged"


def test_images_that_cannot_be_read_are_passed_over() -> None:
    assert 3 not in looks().bank.indices
    assert not {0, 4} & set(looks().queries.indices.tolist())
    assert len(looks().queries.indices) == 6
    assert chosen(FakeSource(3, damaged=(0, 1, 2)), 6) == []


def test_the_network_is_not_asked_for_attention_that_it_does_not_have() -> None:
    model = network()[0]._replace(heads=0)
    found = Looks(model, RESOLVED.config, FakeSource(8), FakeSource(3))
    assert found.attention(network()[1]) is None


def test_of_photographs_only_those_that_may_be_shown_one_of_a_class() -> None:
    held_out = open_source("embedded:photos:val", channels=3)
    shown = chosen(held_out, 99)
    assert len(shown) == 14
    assert {"moon", "motorcycle_left"} & {held_out.name(i).split("@")[0] for i in shown} == set()
    assert len({held_out.label(i) for i in shown}) == 14
    assert chosen(held_out, 6) == chosen(held_out, 6)
    for index in chosen(held_out, 3):  # that of most contrast of the eight looked at
        group = np.flatnonzero(held_out.labels == held_out.label(index))
        assert index in group[np.linspace(0, len(group) - 1, 8).round().astype(int)]
    # and of the training images too, through a part of the source
    part = Subset(held_out, np.arange(len(held_out))[::-1].copy())
    names = {part.name(i).split("@")[0] for i in range(len(part)) if part.may_be_shown(i)}
    assert len(names) == 14


def test_the_bank_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks_module, "_BANK_BYTES", 32 * 32 * 3 * 10)
    found = Looks(network()[0], RESOLVED.config, FakeSource(70), FakeSource(3))
    assert found.bank.indices.tolist() == np.linspace(0, 69, 10).round().astype(int).tolist()


def test_grey_images_have_thumbs() -> None:
    found = looks_module.opened(FakeSource(4, channels=1), [0, 2], size=16, resize=None)
    assert found.thumbs.shape == (2, 64, 64, 1)
    assert found.names == ["number 0", "number 2"]
    assert found.classes == ["", ""]
