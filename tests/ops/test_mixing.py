"""Mixup, CutMix, soft targets and random erasing: closed forms, a loop, and their distributions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.ops import mixing
from dino_jax.ops.mixing import Mix

HEIGHT, WIDTH = 12, 20


def images(batch: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(batch, HEIGHT, WIDTH, 3)).astype(np.float32)


@functools.cache
def draws(count: int = 2000, **options: float) -> Mix:
    asked = {"mixup": 0.8, "cutmix": 1.0} | options
    draw = jax.jit(lambda keys: mixing.draw_mix(keys, HEIGHT, WIDTH, **asked))
    return jax.tree.map(np.asarray, draw(jax.random.split(jax.random.key(3), count)))


@functools.cache
def eraser(probability: float, fill: str = "pixel"):
    return jax.jit(lambda x, keys: mixing.erase(x, keys, probability=probability, fill=fill))


def test_soft_targets_are_those_of_the_formula() -> None:
    found = np.asarray(mixing.soft_targets(jnp.array([2, 0]), classes=5, smoothing=0.1))
    assert found == pytest.approx(
        np.array([[0.02, 0.02, 0.92, 0.02, 0.02], [0.92, 0.02, 0.02, 0.02, 0.02]])
    )
    assert np.array_equal(
        mixing.soft_targets(jnp.array([1]), classes=3, smoothing=0.0), [[0.0, 1.0, 0.0]]
    )


def test_the_loss_of_smoothed_labels_is_that_of_two_terms() -> None:
    """(1 - e) x the loss of the label + e x the mean over all classes."""
    logits, labels = jnp.asarray(images()[:, 0, :7, 0]), jnp.arange(8) % 7
    logs = np.asarray(jax.nn.log_softmax(logits))
    wanted = -(0.9 * logs[np.arange(8), labels] + 0.1 * logs.mean(axis=1)).mean()
    targets = mixing.soft_targets(labels, classes=7, smoothing=0.1)
    assert float(mixing.soft_cross_entropy(logits, targets)) == pytest.approx(wanted, rel=1e-6)


def by_loops(x: np.ndarray, targets: np.ndarray, mix: Mix) -> tuple[np.ndarray, np.ndarray]:
    out, soft = x.copy(), targets.copy()
    groups = len(mix.share)
    size = len(x) // groups
    for g in range(groups):
        for i in range(size):
            own, other = g * size + i, g * size + size - 1 - i
            share = np.float32(mix.share[g])
            top, bottom, left, right = (int(edge) for edge in mix.box[g])
            if mix.cut[g]:
                out[own, top:bottom, left:right] = x[other, top:bottom, left:right]
            else:
                out[own] = share * x[own] + (1 - share) * x[other]
            soft[own] = share * targets[own] + (1 - share) * targets[other]
    return out, soft


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_mixing_is_what_loops_do(groups: int) -> None:
    cut = jnp.array([False, True, True, False])[:groups]
    box = jnp.array([[0, 5, 3, 9], [2, 12, 0, 20], [4, 7, 6, 6], [0, 1, 0, 1]])[:groups]
    mix = Mix(jnp.array([0.3, 0.7, 1.0, 0.9])[:groups], cut, box)
    x, targets = images(), np.eye(8, dtype=np.float32)
    wanted, soft = by_loops(x, targets, jax.tree.map(np.asarray, mix))
    assert np.allclose(mixing.mix_images(jnp.asarray(x), mix), wanted, atol=1e-6)
    assert np.allclose(mixing.mix_targets(jnp.asarray(targets), mix), soft, atol=1e-6)


def test_the_share_of_a_cut_image_is_that_of_its_pixels() -> None:
    mix = draws()
    assert {True, False} == set(mix.cut.tolist())
    kept = np.zeros(len(mix.share))
    for place, (top, bottom, left, right) in enumerate(mix.box):
        pixels = np.ones((HEIGHT, WIDTH))
        pixels[top:bottom, left:right] = 0
        kept[place] = pixels.mean()
    assert mix.share[mix.cut] == pytest.approx(kept[mix.cut], abs=1e-6)


def test_shares_follow_the_beta_distribution() -> None:
    """Its variance is 1 / (4 (2 alpha + 1)); a cut is as probable as `switch` says."""
    assert draws().cut.mean() == pytest.approx(0.5, abs=0.04)
    share = draws(cutmix=0.0).share
    assert share.mean() == pytest.approx(0.5, abs=0.03)
    assert share.var() == pytest.approx(1 / (4 * (2 * 0.8 + 1)), rel=0.06)


def test_what_is_switched_off_is_off() -> None:
    assert not draws(cutmix=0.0).cut.any()
    some = draws(mixup=0.0, probability=0.3)
    assert (some.share == 1).mean() == pytest.approx(0.7, abs=0.05)
    assert (some.share[~some.cut] == 1).all()
    assert some.cut.any()
    few = draws(switch=0.2)
    assert few.cut.mean() == pytest.approx(0.2, abs=0.04)
    none = draws(mixup=0.0, cutmix=0.0)
    assert (none.share == 1).all()
    assert not none.cut.any()


@pytest.mark.parametrize(
    ("share", "centre", "wanted"),
    [
        (0.75, (6, 10), (3, 9, 5, 15)),  # half of each side
        (0.75, (0, 19), (0, 3, 14, 20)),  # cut off at the borders
        (1.0, (5, 5), (5, 5, 5, 5)),  # nothing
        (0.0, (6, 10), (0, 12, 0, 20)),  # all of it
        (1 - 0.25**2, (6, 10), (5, 8, 8, 13)),  # odd sides reach further down and right
    ],
)
def test_boxes(share: float, centre: tuple[int, int], wanted: tuple[int, ...]) -> None:
    place = (jnp.int32(centre[0]), jnp.int32(centre[1]))
    assert tuple(mixing.cut_box(jnp.float32(share), place, HEIGHT, WIDTH).tolist()) == wanted


@pytest.mark.parametrize("fill", mixing.FILLS)
def test_what_is_erased_is_a_box_filled_as_said(fill: str) -> None:
    x = 5.0 + images(64)
    keys = jax.random.split(jax.random.key(1), len(x))
    found = np.asarray(eraser(0.5, fill)(jnp.asarray(x), keys))
    changed = (found != x).any(axis=-1)
    erased = changed.any(axis=(1, 2))
    assert 0.3 < erased.mean() < 0.7
    for before, after, where in zip(x[erased], found[erased], changed[erased], strict=True):
        rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert where[box].all()  # a box, and nothing outside
        assert where.sum() == where[box].sum()
        colours = len(np.unique(after[box].reshape(-1, 3), axis=0))
        assert colours == (where.sum() if fill == "pixel" else 1)
        assert (after[box] == 0).all() == (fill == "grey")
        assert not np.array_equal(before[box], after[box])


def test_each_image_is_erased_by_its_own_key() -> None:
    x = jnp.asarray(images(6))
    keys = jax.random.split(jax.random.key(7), 6)
    whole = eraser(1.0)(x, keys)
    order = jnp.array([4, 2, 0, 1, 5, 3])
    assert np.array_equal(eraser(1.0)(x[order], keys[order]), whole[order])


def test_the_erased_area_and_aspect_have_their_distributions() -> None:
    uniforms = jax.random.uniform(jax.random.key(0), (3000, mixing.TRIES, 4))
    draw = jax.jit(jax.vmap(lambda u: mixing.draw_erased(u, 224, 224)))
    boxes, found = (np.asarray(each) for each in draw(uniforms))
    assert found.all()
    tall, wide = boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]
    assert tall.max() < 224
    assert wide.max() < 224
    assert boxes.min() >= 0
    assert boxes.max() <= 224
    area = tall * wide / 224**2
    assert 0.019 < area.min() < area.max() < 0.335
    # Wide and tall ones are alike, but the largest of the longest fit less often.
    assert np.log(tall / wide).mean() == pytest.approx(0, abs=0.05)
    assert area.mean() == pytest.approx((0.02 + 1 / 3) / 2, abs=0.01)


def test_a_box_that_fits_nowhere_is_none() -> None:
    """The largest and tallest in an image of 4 x 4 pixels."""
    box, found = mixing.draw_erased(jnp.full((mixing.TRIES, 4), 0.999), 4, 4)
    assert box.tolist()[1] > 3
    assert not bool(found)
    assert bool(mixing.draw_erased(jnp.full((mixing.TRIES, 4), 0.5), 4, 4)[1])
