"""Requests as the command makes them, and networks that say what a test wants."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from dino_jax.config.protocol_options import JaccardOptions, SegmentOptions
from dino_jax.interop.encoder import NETWORK, Encoder, open_encoder
from dino_jax.models.vit import Features
from tests.evals import requests

PATCH = 8
OPTIONS = {"segment": SegmentOptions, "jaccard": JaccardOptions}


def request(protocol, data, encoder=None, *, out=None, cache=None, devices=1, batch=4, **options):
    return requests.request(
        open_encoder("pixels") if encoder is None else encoder, OPTIONS[protocol](**options), data,
        out=out, cache=cache, devices=devices, batch=batch,
    )  # fmt: skip


def reddish(params, images, *, attention=False, **unused):
    """A network without weights that attends to what is red; patches are mean colours less grey."""
    batch, height, width, channels = images.shape
    rows, columns = height // PATCH, width // PATCH
    cut = images[:, : rows * PATCH, : columns * PATCH]
    patches = cut.reshape(batch, rows, PATCH, columns, PATCH, channels).mean(axis=(2, 4))
    patches = patches.reshape(batch, rows * columns, channels)
    red = jnp.where(patches[..., 0] > 0.5, 1.0, 1e-6)
    # Two heads, of which the second sees where the first does not.
    heads = jnp.stack([red, 1 - red], axis=1)
    row = jnp.concatenate([jnp.zeros((batch, 2, 1)), heads], axis=2)
    row = row / row.sum(axis=2, keepdims=True)
    centred = patches[..., :1] - 0.5
    return Features(centred[:, 0], centred, row[:, :, None] if attention else None)


def seeing_red() -> Encoder:
    """An encoder of two heads, the first of which looks at what is red."""
    return dataclasses.replace(
        open_encoder("pixels"),
        spec="red", name="red", kind=NETWORK, identity="red", heads=2, depth=1, width=1,
        features=reddish, arch="xcit_red",
    )  # fmt: skip


def diverged(encoder: Encoder) -> Encoder:
    """The same, but for one number an image that is not finite."""

    def features(params, images, **options):
        found = encoder.features(params, images, **options)
        return found._replace(patches=found.patches.at[:, -1, -1].set(jnp.nan))

    return dataclasses.replace(encoder, features=features, identity="diverged")


def boxes_of(labels):
    """Boxes of a mask's objects by loop: left, top, right, bottom."""
    return [
        (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        for each in np.unique(labels)
        if each not in (0, 255)
        for ys, xs in [np.nonzero(labels == each)]
    ]
