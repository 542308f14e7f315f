"""Colours: uniform, lighter with more attention, told apart by the colour-blind, and honest."""

import itertools

import matplotlib as mpl
import numpy as np
import pytest

from dino_jax.viz.attend import colour
from dino_jax.viz.attend.colour import (
    CATEGORIES,
    OUTLINE,
    Scale,
    colour_table,
    contours,
    enlarged,
    masks,
    outlined,
    overlaid,
    overlay,
    plain,
    scale_of,
    shares_of,
    strength,
)

DEUTERANOPIA = np.array(
    [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]
)
"""Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB."""
PROTANOPIA = np.array(
    [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ]
)
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def linear(colours):
    """Of sRGB in [0, 1]."""
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


def lab(of_light):
    """CIELAB (D65) of linear RGB."""
    ratio = of_light @ TO_XYZ.T / TO_XYZ.sum(axis=1)
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def lightness(colours):
    return lab(linear(np.asarray(colours, float) / 255))[..., 0]


def rgb(code):
    return np.array([int(code[k : k + 2], 16) for k in (1, 3, 5)]) / 255


def picture(height=24, width=32, channels=3):
    shape = (height, width, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_white_and_black_are_where_they_are_in_cielab():
    np.testing.assert_allclose(
        lab(np.array([[1.0, 1, 1], [0, 0, 0]])), [[100, 0, 0], [0] * 3], atol=1e-3
    )


@pytest.mark.parametrize("name", [colour.OVERLAY, colour.PLAIN])
def test_colour_maps_are_uniform(name):
    """Equal steps look equal: no step is over thrice the mean, and lightness only rises."""
    colours = 255 * mpl.colormaps[name](np.linspace(0, 1, 65))[:, :3]
    steps = np.linalg.norm(np.diff(lab(linear(colours / 255)), axis=0), axis=1)
    assert steps.max() < 3 * steps.mean()
    assert (np.diff(lightness(colours)) > 0).all()


def test_the_table_gets_lighter_from_its_first_colour_to_its_last():
    light = lightness(colour_table())
    smooth = light[::4]  # uint8 colours: a step may round away
    assert (np.diff(smooth) > 0).all()
    assert light[-1] - light[0] > 40


def test_on_any_photograph_more_attention_is_never_darker():
    """For black, white and every grey beneath: an overlay that is read in greyscale too."""
    photograph = np.arange(256, dtype=np.uint8).repeat(3).reshape(256, 1, 3)
    beneath = colour.backdrop(photograph).repeat(101, axis=1)
    strong = np.linspace(0, 1, 101, dtype=np.float32)[None].repeat(256, axis=0)
    light = lightness(overlaid(beneath, strong))
    assert np.diff(light, axis=1).min() > -0.5  # uint8 steps are up to 0.4
    assert (light[:, -1] > light[:, 0] + 35).all()


@pytest.mark.parametrize("deficiency", [DEUTERANOPIA, PROTANOPIA, np.eye(3)])
def test_categories_are_told_apart_by_the_colour_blind(deficiency):
    """Any two differ by 10 or more in CIELAB (a just noticeable difference is 2.3)."""
    seen = [lab(np.clip(linear(rgb(code)) @ deficiency.T, 0, 1)) for code in CATEGORIES]
    for one, other in itertools.combinations(range(len(seen)), 2):
        apart = np.linalg.norm(seen[one] - seen[other])
        assert apart >= 10, (CATEGORIES[one], CATEGORIES[other], apart)


@pytest.mark.parametrize("deficiency", [DEUTERANOPIA, PROTANOPIA, np.eye(3)])
def test_the_outline_is_told_from_what_lies_beneath(deficiency):
    """From the colours of the overlay over mid grey, and from the greys of the photograph."""
    strong = np.linspace(0, 1, 64, dtype=np.float32)[None]
    grey = colour.backdrop(np.full((1, 64, 3), 128, np.uint8))
    greys = colour.backdrop(picture(1, 64)).repeat(3, axis=2)[0]
    beneath = np.concatenate([overlaid(grey, strong)[0] / 255, greys])
    outline = lab(np.clip(linear(rgb(OUTLINE)) @ deficiency.T, 0, 1))
    seen = lab(np.clip(linear(beneath) @ deficiency.T, 0, 1))
    assert np.linalg.norm(seen - outline[None], axis=1).min() > 25


def test_even_attention_has_no_colour_and_faint_structure_stays_faint():
    even = np.full((3, 4), 1 / 13, np.float32)
    grey = overlay(picture(), even)
    assert (grey == grey[..., :1]).all()
    faint, strong = even.copy(), even.copy()
    faint[1, 2] *= 1.1
    strong[1, 2] *= 10
    colours = [
        np.ptp(overlay(picture(), each).astype(int), axis=2).max() for each in (faint, strong)
    ]
    assert colours[0] < 40 < 70 < colours[1]


def test_colour_is_where_the_attention_is():
    peak = np.full((3, 4), 0.01, np.float32)
    peak[2, 3] = 0.8
    colours = np.ptp(overlay(picture(), peak).astype(int), axis=2)
    assert colours[16:, 24:].min() > 50
    assert colours[:16].max() == colours[:, :24].max() == 0


def test_strength_is_the_logarithm_of_even_shares():
    maps = np.array([[[1.0, 2, 4, 1, 0, 0, 0, 0]]], np.float32) / 9
    np.testing.assert_allclose(shares_of(maps), [[[1, 2, 4, 1, 0, 0, 0, 0]]], rtol=1e-6)
    found = strength(maps[0], Scale(4.0))
    np.testing.assert_allclose(found, [[0, 0.5, 1, 0, 0, 0, 0, 0]], atol=1e-6)
    assert scale_of([maps]).full == colour.FULL == 4
    peak = np.zeros((2, 50, 50), np.float32)
    peak[:, :10, :10] = 1
    assert scale_of([peak]).full == pytest.approx(25)


def test_a_map_without_mass_has_no_colour():
    assert strength(np.zeros((2, 3), np.float32)).max() == 0


def test_nearest_repeats_and_smooth_stays_within_the_range():
    values = np.random.default_rng(1).random((3, 4)).astype(np.float32)
    np.testing.assert_array_equal(
        enlarged(values, 24, 32), values.repeat(8, axis=0).repeat(8, axis=1)
    )
    smooth = enlarged(values, 24, 32, "smooth")
    assert values.min() <= smooth.min()
    assert smooth.max() <= values.max()
    assert np.unique(smooth).size > 100


def test_a_plain_map_is_what_matplotlib_saves(tmp_path):
    """The original writes its heads by `plt.imsave` (visualize_attention.py)."""
    from matplotlib.image import imsave
    from PIL import Image

    values = np.random.default_rng(2).random((16, 24)).astype(np.float32) ** 4
    imsave(tmp_path / "a.png", values, format="png")
    with Image.open(tmp_path / "a.png") as saved:
        np.testing.assert_array_equal(plain(values), np.asarray(saved.convert("RGB")))
    assert plain(np.ones((2, 2), np.float32)).shape == (2, 2, 3)


def outline_oracle(mask):
    """Every side of every patch of the mask that faces something else."""
    rows, columns = mask.shape
    sides = set()
    for y, x in np.argwhere(mask):
        for dy, dx, side in (
            (-1, 0, ((x, y), (x + 1, y))),
            (1, 0, ((x, y + 1), (x + 1, y + 1))),
            (0, -1, ((x, y), (x, y + 1))),
            (0, 1, ((x + 1, y), (x + 1, y + 1))),
        ):
            inside = 0 <= y + dy < rows and 0 <= x + dx < columns
            if not (inside and mask[y + dy, x + dx]):
                sides.add(tuple(tuple(map(float, end)) for end in side))
    return sides


@pytest.mark.parametrize("seed", range(4))
def test_contours_are_the_sides_that_face_outwards(seed):
    mask = np.random.default_rng(seed).random((4, 6)) < 0.5
    found = contours(mask)
    assert {tuple(map(tuple, segment.tolist())) for segment in found} == outline_oracle(mask)
    assert len(found) == len(outline_oracle(mask))
    assert len(contours(np.zeros((2, 2), bool))) == 0


def test_an_outlined_image_is_changed_along_the_border_alone():
    image, mask = picture(), np.zeros((3, 4), bool)
    mask[1, 2] = True
    drawn = outlined(image, mask, width=2)
    changed = (drawn != image).any(axis=2)
    expected = np.zeros_like(changed)
    expected[7:17, 15:25] = True
    expected[9:15, 17:23] = False
    assert not changed[~expected].any()
    assert (drawn[expected] == np.round(255 * rgb(OUTLINE))).all()


def test_masks_of_a_stack_are_those_of_each():
    maps = np.random.default_rng(3).random((2, 3, 4, 5)).astype(np.float32)
    found = masks(maps, 0.6)
    assert found.shape == maps.shape
    for index in np.ndindex(2, 3):
        one, held = maps[index], found[index]
        assert one[held].sum() >= 0.6 * one.sum() - 1e-5
        assert one[held].min() >= one[~held].max()
