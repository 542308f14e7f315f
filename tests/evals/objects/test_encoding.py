"""What is read of a network: its attention, and the keys that make it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import ModelConfig, UserError
from dino_jax.evals.objects.encoding import KEYS, PATCHES, open_reading
from dino_jax.interop.encoder import open_encoder
from dino_jax.train.sharding import make_mesh
from tests.evals.embed.networks import SHALLOW, VIT, encoder

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3)).astype(np.uint8)


def read(network, features=KEYS):
    reading = open_reading(network, features=features, mesh=make_mesh(1), batch_size=2)
    found = [reading.encoded(each) for each in reading.extractor((image, 0) for image in IMAGES)]
    return reading, [np.stack(part) for part in zip(*found, strict=True)]


def seen_by(network):
    function = jax.jit(lambda params, images: network.features(params, images, attention=True))
    return function(network.params, network.prepared(jnp.asarray(IMAGES)))


def shaken(network):
    """The network with norms that are not all the same, as those of a trained one."""
    random = np.random.default_rng(1)

    def moved(name, value):
        moves = "norm" in name or name.endswith("bias")
        return value + moves * jnp.asarray(random.uniform(-0.3, 0.3, value.shape), jnp.float32)

    params = {name: moved(name, value) for name, value in network.params.items()}
    return dataclasses.replace(network, params=params)


def with_keys_for_queries(network):
    """The same network but for the last block's projection, whose first two thirds change place."""
    place = f"backbone.blocks.{network.depth - 1}.attn.qkv"
    changed = dict(network.params)
    for name in (f"{place}.weight", f"{place}.bias"):
        queries, keys, values = jnp.split(changed[name], 3)
        changed[name] = jnp.concatenate([keys, queries, values])
    return dataclasses.replace(network, params=changed)


def test_keys_make_the_network_s_own_attention():
    """Softmax of queries and keys, both read this way, is the attention between the patches."""
    network = shaken(encoder(VIT))
    keys, queries = (read(each)[1][1] for each in (network, with_keys_for_queries(network)))
    heads, patches = network.heads, keys.shape[1] * keys.shape[2]
    keys, queries = (each.reshape(2, patches, heads, -1).swapaxes(1, 2) for each in (keys, queries))
    logits = queries @ keys.swapaxes(2, 3) * keys.shape[-1] ** -0.5
    wanted = np.log(np.asarray(seen_by(network).attention)[:, :, 1:, 1:])
    # The class token takes a share of each row, the same for all of the row.
    differences = logits - wanted
    np.testing.assert_allclose(
        differences - differences[..., :1], np.zeros_like(differences), atol=2e-4
    )


@pytest.mark.parametrize("features", [KEYS, PATCHES])
def test_attention_and_patches_are_the_network_s(features):
    network = shaken(encoder(VIT))
    reading, (attention, patches) = read(network, features)
    found = seen_by(network)
    wanted = np.asarray(found.attention)[:, :, 0, 1:].reshape(2, network.heads, 2, 3)
    np.testing.assert_allclose(attention, wanted, rtol=1e-4)
    assert (reading.features, reading.heads) == (features, network.heads)
    if features == PATCHES:
        np.testing.assert_allclose(
            patches, np.asarray(found.patches).reshape(2, 2, 3, -1), atol=1e-5
        )


def test_one_block_has_keys_and_so_has_a_network_whose_last_norm_is_zero():
    assert read(encoder(SHALLOW))[0].features == KEYS
    network = shaken(encoder(VIT))
    flat = network.params["backbone.norm.weight"].at[3].set(0)
    same = dataclasses.replace(network, params=network.params | {"backbone.norm.weight": flat})
    np.testing.assert_array_equal(read(same)[1][1], read(network)[1][1])


def test_the_class_attention_of_an_xcit_is_read():
    network = encoder(ModelConfig(arch="xcit_small_12", patch_size=8, width=32, depth=1, heads=4))
    reading, (attention, patches) = read(network)
    assert reading.features == PATCHES
    assert attention.shape == (2, 4, 2, 3)
    assert patches.shape == (2, 2, 3, 32)
    assert (attention.sum(axis=(2, 3)) < 1).all()


def test_a_network_without_attention_is_refused():
    network = dataclasses.replace(encoder(VIT), heads=0, arch="resnet50", name="mine")
    with pytest.raises(UserError, match="mine is a resnet50, which has no attention"):
        read(network)


def test_no_network_gives_its_patches_and_the_centre():
    reading, (attention, patches) = read(open_encoder("pixels"))
    assert (reading.heads, reading.features) == (0, PATCHES)
    assert attention.shape == (2, 1, 2, 3)
    assert patches.shape == (2, 2, 3, 48)
    assert attention[0].argmax() in (1, 4)
