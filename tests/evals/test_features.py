"""Features of many images: the same as one by one, on one device and on eight."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from dino_jax.evals.features import Extractor, image_batches, normaliser

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def project(params, images):
    return images.reshape(len(images), -1) @ params["backbone.w"]


@pytest.fixture
def params():
    weight = np.random.default_rng(0).normal(size=(4 * 4 * 3, 5)).astype(np.float32)
    return {"backbone.w": jnp.asarray(weight), "head.w": jnp.zeros((3, 3))}


def images(count):
    return np.random.default_rng(1).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)


def expected(params, pictures):
    normal = (pictures / 255 - np.array(MEAN)) / np.array(STD)
    return normal.reshape(len(pictures), -1) @ np.asarray(params["backbone.w"], np.float64)


def mesh_of(devices):
    return jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,))


@pytest.mark.parametrize("devices", [None, 1, 8])
@pytest.mark.parametrize("count", [1, 16, 37])
def test_features_are_those_of_each_image(params, devices, count):
    mesh = None if devices is None else mesh_of(devices)
    extract = Extractor(project, normaliser(MEAN, STD), batch_size=10, mesh=mesh)
    assert extract.batch_size == (16 if devices == 8 else 10)
    found = extract(params, image_batches(images(count), batch_size=7))
    np.testing.assert_allclose(found, expected(params, images(count)), rtol=1e-4, atol=1e-4)


def test_all_eight_devices_share_the_rows(params):
    seen = []

    def spy(params, images):
        jax.debug.inspect_array_sharding(images, callback=seen.append)
        return project(params, images)

    extract = Extractor(spy, normaliser(MEAN, STD), batch_size=16, mesh=mesh_of(8))
    extract(params, image_batches(images(16)))
    assert seen
    assert all(len(each.device_set) == 8 and not each.is_fully_replicated for each in seen)


def test_one_compilation_serves_every_batch(params):
    traces = []

    def counted(params, images):
        traces.append(images.shape)
        assert "head.w" not in params
        return project(params, images)

    extract = Extractor(counted, normaliser(MEAN, STD), batch_size=8)
    for count in (3, 8, 30):
        assert extract(params, image_batches(images(count), batch_size=11)).shape == (count, 5)
    assert traces == [(8, 4, 4, 3)]


def test_several_views_an_image_keep_their_axis(params):
    def prepare(batch):
        normal = normaliser(MEAN, STD)(batch)
        return jnp.stack([normal, -normal], axis=1)

    found = Extractor(project, prepare, batch_size=4)(params, image_batches(images(6)))
    assert found.shape == (6, 2, 5)
    np.testing.assert_allclose(found[:, 1], -found[:, 0], rtol=1e-5)


def test_no_images_at_all_is_refused(params):
    with pytest.raises(ValueError, match="no images"):
        Extractor(project, normaliser(MEAN, STD))(params, [])
