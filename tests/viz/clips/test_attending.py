"""Maps of frames: the numbers of stills, whatever the batch, by one compiled program."""

import numpy as np
import pytest

from dino_jax.config import ModelConfig, UserError
from dino_jax.viz.attend.maps import attention_maps, mean_of_heads
from dino_jax.viz.clips import attending
from dino_jax.viz.clips.attending import maps_of_frames
from tests.data.films import pan
from tests.evals.embed import networks
from tests.viz.attend.networks import diverged, vit, xcit

XCIT = ModelConfig(arch="xcit_small_12", patch_size=8, width=16, depth=1, heads=2)


@pytest.mark.parametrize(("block", "head"), [(-1, None), (0, None), (0, 1), (1, 0)])
def test_a_frame_has_the_numbers_of_a_still(block, head):
    encoder, frames = networks.encoder(), pan(5, 16, 24)
    found = list(maps_of_frames(encoder, frames, block=block, head=head, batch_size=2))
    assert len(found) == 5
    for frame, values in zip(frames, found, strict=True):
        heads = attention_maps(encoder, frame, block=block)[0]
        still = mean_of_heads(heads) if head is None else heads[head]
        np.testing.assert_allclose(values, still, rtol=1e-5, atol=1e-7)


def test_an_xcit_has_the_maps_of_its_class_blocks():
    encoder, frames = networks.encoder(XCIT), pan(3, 16, 24)
    found = list(maps_of_frames(encoder, frames, block=0, batch_size=2))
    for frame, values in zip(frames, found, strict=True):
        still = mean_of_heads(attention_maps(encoder, frame, block=0)[0])
        np.testing.assert_allclose(values, still, rtol=1e-5, atol=1e-7)


def test_batches_are_of_one_shape_and_bounded(monkeypatch):
    shapes, asked = [], attending._asked

    def noted(encoder, frames, block):
        shapes.append(frames.shape)
        return asked(encoder, frames, block)

    monkeypatch.setattr(attending, "_asked", noted)
    before = attending._projected._cache_size()
    assert len(list(maps_of_frames(networks.encoder(), pan(35, 16, 32)))) == 35
    assert shapes == [(16, 16, 32, 3)] * 3
    assert attending._projected._cache_size() == before + 1
    monkeypatch.setattr(attending, "_PATCHES", 17)
    shapes.clear()
    list(maps_of_frames(networks.encoder(), pan(3, 16, 32)))
    assert shapes == [(2, 16, 32, 3)] * 2


def test_one_batch_is_read_ahead_and_no_more():
    taken = []

    def frames():
        for frame in pan(12, 16, 16):
            taken.append(len(taken))
            yield frame

    maps = maps_of_frames(networks.encoder(), frames(), batch_size=3)
    next(maps)
    assert len(taken) == 6


def test_what_there_is_not_is_refused():
    for options, said in (({"head": 2}, "2 heads"), ({"block": 5}, "2 blocks")):
        with pytest.raises(UserError, match=said):
            list(maps_of_frames(networks.encoder(), pan(1, 16, 16), **options))
    assert not list(maps_of_frames(networks.encoder(), iter(())))


@pytest.mark.parametrize("encoder_of", [vit, xcit])
def test_weights_that_diverged_are_one_line(encoder_of):
    with pytest.raises(UserError, match="features of small are not all finite: these weights"):
        list(maps_of_frames(diverged(encoder_of), pan(1, 16, 16)))
