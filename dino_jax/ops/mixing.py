"""What supervised training does to a batch on the device: erase, mix, and soften the labels.

Mixup (Zhang et al. 2018), CutMix (Yun et al. 2019) and random erasing (Zhong et al. 2020) with the
choices that DeiT's training made of them (Touvron et al. 2021, table 9): the partner of an image is
the one at the mirrored place of its group, a group shares one draw, the share of a cut image is
that of the pixels it kept, and what is erased is filled with noise after normalisation. Every draw
is a function of a key.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

ERASED_AREA = (0.02, 1 / 3)
"""Of the image, the least and the most."""
ERASED_ASPECT = (0.3, 1 / 0.3)
"""Height over width of what is erased, log-uniform."""
TRIES = 10
FILLS = ("pixel", "colour", "grey")
"""Normal noise a pixel, normal noise a box, or zero: the mean colour."""


class Mix(NamedTuple):
    """How the images of each group are mixed with those at the mirrored places of the group."""

    share: Float[Array, "groups"]
    """Of the image itself, in its target as in its pixels; 1 leaves both."""
    cut: Bool[Array, "groups"]
    """Whether a box is taken from the other, instead of the mean of both."""
    box: Int[Array, "groups 4"]
    """That box: top, bottom, left, right in pixels; the second and fourth just outside."""


def soft_targets(
    labels: Int[Array, "batch"], *, classes: int, smoothing: float
) -> Float[Array, "batch classes"]:
    """Smoothed labels: smoothing / classes everywhere, and 1 - smoothing more at the label."""
    off = smoothing / classes
    return jax.nn.one_hot(labels, classes) * (1.0 - smoothing) + off


def soft_cross_entropy(
    logits: Float[Array, "batch classes"], targets: Float[Array, "batch classes"]
) -> Float[Array, ""]:
    """Mean over the batch of the cross-entropy from targets that sum to one; float32."""
    return -(targets * jax.nn.log_softmax(logits.astype(jnp.float32))).sum(axis=-1).mean()


def draw_mix(
    keys: Key[Array, "groups"],
    height: int,
    width: int,
    *,
    mixup: float,
    cutmix: float,
    probability: float = 1.0,
    switch: float = 0.5,
) -> Mix:
    """Draw what happens to each group: with `probability` it is mixed.

    `mixup` and `cutmix` are the parameters of the symmetric beta distributions of the share, 0
    for never; where both are above 0, `switch` is the probability of the cut.
    """

    def one(key: Key[Array, ""]) -> Mix:
        whether, which, how_much, down, across = jax.random.split(key, 5)
        chance = (switch if mixup else 1.0) if cutmix else 0.0
        cut = jax.random.uniform(which) < chance
        alpha = jnp.where(cut, cutmix or 1.0, mixup or 1.0)
        drawn = jax.random.beta(how_much, alpha, alpha)
        mixed = jax.random.uniform(whether) < (probability if mixup or cutmix else 0.0)
        drawn = jnp.where(mixed, drawn, 1.0)
        centre = (jax.random.randint(down, (), 0, height), jax.random.randint(across, (), 0, width))
        box = cut_box(drawn, centre, height, width)
        area = (box[1] - box[0]) * (box[3] - box[2])
        kept = 1.0 - area / (height * width)
        return Mix(jnp.where(cut, kept, drawn), cut & mixed, box)

    return jax.vmap(one)(keys)


def cut_box(
    share: Float[Array, ""], centre: tuple[Int[Array, ""], Int[Array, ""]], height: int, width: int
) -> Int[Array, "4"]:
    """The box around `centre` that would leave `share` of the image, cut off at its borders.

    Its sides are rounded down, and it reaches one pixel further down or right where they are odd.
    """
    ratio = jnp.sqrt(1.0 - share)
    edges = []
    for place, length in zip(centre, (height, width), strict=True):
        side = (length * ratio).astype(jnp.int32)
        edges += [place - side // 2, place + (side + 1) // 2]
    limits = jnp.array([height, height, width, width])
    return jnp.clip(jnp.stack(edges), 0, limits)


def mix_images(
    images: Float[Array, "batch height width channels"], mix: Mix
) -> Float[Array, "batch height width channels"]:
    """Mix each image with the one at the mirrored place of its group.

    Groups are consecutive rows, of one length: the batch is divided by their number.
    """
    own, other = _with_partner(images, mix)
    height, width = images.shape[1:3]
    rows, columns = jnp.arange(height)[None, :], jnp.arange(width)[None, :]
    edges = [mix.box[:, k, None] for k in range(4)]
    down, across = (
        (rows >= edges[0]) & (rows < edges[1]),
        (columns >= edges[2]) & (columns < edges[3]),
    )
    inside = (down[:, :, None] & across[:, None, :])[:, None, :, :, None]
    share = mix.share[:, None, None, None, None]
    mean = share * own + (1.0 - share) * other
    cut = mix.cut[:, None, None, None, None]
    return jnp.where(cut, jnp.where(inside, other, own), mean).reshape(images.shape)


def mix_targets(targets: Float[Array, "batch classes"], mix: Mix) -> Float[Array, "batch classes"]:
    """Mix the targets in the shares of the images."""
    own, other = _with_partner(targets, mix)
    share = mix.share[:, None, None]
    return (share * own + (1.0 - share) * other).reshape(targets.shape)


def _with_partner(rows: Array, mix: Mix) -> tuple[Array, Array]:
    """Rows (groups, members, ...) and, in the same places, their partners."""
    grouped = rows.reshape(len(mix.share), -1, *rows.shape[1:])
    return grouped, grouped[:, ::-1]


def erase(
    images: Float[Array, "batch height width channels"],
    keys: Key[Array, "batch"],
    *,
    probability: float,
    fill: str = "pixel",
) -> Float[Array, "batch height width channels"]:
    """Fill one box of some of the normalised images, each by its own key (see `FILLS`).

    A box that is not smaller than the image both ways is drawn again, at most ten times in all.
    """
    height, width, channels = images.shape[1:]

    def one(image: Array, key: Key[Array, ""]) -> Array:
        whether, where, noise = jax.random.split(key, 3)
        box, found = draw_erased(jax.random.uniform(where, (TRIES, 4)), height, width)
        rows, columns = jnp.arange(height), jnp.arange(width)
        inside = ((rows >= box[0]) & (rows < box[1]))[:, None] & (
            (columns >= box[2]) & (columns < box[3])
        )[None, :]
        shape = image.shape if fill == "pixel" else (1, 1, channels)
        filled = jnp.zeros(shape) if fill == "grey" else jax.random.normal(noise, shape)
        erased = found & (jax.random.uniform(whether) < probability)
        return jnp.where(
            (inside & erased)[:, :, None], jnp.broadcast_to(filled, image.shape), image
        )

    return jax.vmap(one)(images, keys)


def draw_erased(
    uniforms: Float[Array, "tries 4"], height: int, width: int
) -> tuple[Int[Array, "4"], Bool[Array, ""]]:
    """The first box (top, bottom, left, right) of ten tries that fits, and whether one does.

    Of each four uniforms the first is of the area, then the aspect, the place down and across.
    """
    least, most = ERASED_AREA
    low, high = (math.log(bound) for bound in ERASED_ASPECT)
    area = (least + (most - least) * uniforms[:, 0]) * (height * width)
    aspect = jnp.exp(low + (high - low) * uniforms[:, 1])
    tall = jnp.round(jnp.sqrt(area * aspect)).astype(jnp.int32)
    wide = jnp.round(jnp.sqrt(area / aspect)).astype(jnp.int32)
    fits = (tall < height) & (wide < width)
    first = jnp.argmax(fits)
    tall, wide = tall[first], wide[first]
    top = (uniforms[first, 2] * (height - tall + 1)).astype(jnp.int32)
    left = (uniforms[first, 3] * (width - wide + 1)).astype(jnp.int32)
    return jnp.stack([top, top + tall, left, left + wide]), fits.any()
