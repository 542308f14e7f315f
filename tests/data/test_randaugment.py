"""RandAugment: every operation against numpy or a property, the table of arguments, the draws."""

import collections
import math

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.data import randaugment
from dino_jax.data.randaugment import Applied, Policy, apply, argument, draw, parse_policy
from tests.data.images import pixels

POLICY = parse_policy("rand-m9-mstd0.5-inc1", (124, 116, 104))


def done(name: str, value: float = 0.0, image: np.ndarray | None = None) -> np.ndarray:
    picture = pixels(1, (16, 24, 3)) if image is None else image
    return apply(picture, [Applied(name, value)], POLICY)


def test_the_policy_is_read_as_timm_writes_it() -> None:
    assert Policy(9, 2, 0.5, 0.5, True, (124, 116, 104)) == POLICY
    assert parse_policy("rand") == Policy()
    assert parse_policy("rand-n3-p0.4-m5") == Policy(5, 3, 0.4)
    assert len(randaugment.INCREASING) == len(randaugment.ORIGINAL) == 15
    changed = set(randaugment.INCREASING) - set(randaugment.ORIGINAL)
    assert {name.removesuffix("Increasing") for name in changed} == {
        "Posterize", "Solarize", "Color", "Contrast", "Brightness", "Sharpness"
    }  # fmt: skip


@pytest.mark.parametrize("text", ["augmix", "rand-m", "rand-w3", "rand-m9-", "rand-inc-m9", ""])
def test_another_policy_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--randaugment="):
        parse_policy(text)


@pytest.mark.parametrize(
    ("name", "magnitude", "wanted"),
    [
        ("Rotate", 9.0, 27.0), ("ShearX", 5.0, 0.15), ("TranslateYRel", 9.0, 0.405),
        ("Posterize", 9.0, 3), ("PosterizeIncreasing", 9.0, 1), ("PosterizeIncreasing", 10.0, 0),
        ("Solarize", 9.0, 230), ("SolarizeIncreasing", 9.0, 26), ("SolarizeAdd", 9.0, 99),
        ("Color", 9.0, 1.72), ("ColorIncreasing", 9.0, 1.81), ("SharpnessIncreasing", 10.0, 1.9),
        ("Invert", 9.0, 0.0), ("AutoContrast", 3.0, 0.0),
    ],
)  # fmt: skip
def test_arguments_at_a_magnitude(name: str, magnitude: float, wanted: float) -> None:
    assert argument(name, magnitude) == pytest.approx(wanted)
    assert argument(name, 40.0) == argument(name, 10.0)
    assert argument(name, -3.0) == argument(name, 0.0)


def test_directions_are_turned() -> None:
    assert argument("Rotate", 9.0, negative=True) == -27.0
    assert argument("ColorIncreasing", 5.0, negative=True) == pytest.approx(0.55)
    assert argument("ContrastIncreasing", 10.0, negative=True) == pytest.approx(0.1)
    assert argument("Solarize", 9.0, negative=True) == 230


def test_operations_on_levels_are_those_of_numpy() -> None:
    image = pixels(1, (16, 24, 3))
    levels = image.astype(int)
    assert np.array_equal(done("Invert"), 255 - levels)
    assert np.array_equal(done("Solarize", 100), np.where(levels >= 100, 255 - levels, levels))
    added = np.where(levels < 128, np.minimum(levels + 99, 255), levels)
    assert np.array_equal(done("SolarizeAdd", 99), added)
    for bits in (1, 3, 8):
        step = 2 ** (8 - bits)
        assert np.array_equal(done("Posterize", bits), levels // step * step)
    assert not done("PosterizeIncreasing", 0).any()
    assert np.array_equal(done("Brightness", 0.5), (levels * np.float32(0.5)).astype(int))
    for name in ("Color", "Contrast", "Brightness", "Sharpness"):
        assert np.array_equal(done(name, 1.0), image), name
    for name in ("Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"):
        assert np.array_equal(done(name, 0.0), image), name


def test_levels_are_stretched() -> None:
    grey = np.linspace(50, 100, 160 * 240).reshape(160, 240, 1).repeat(3, axis=2).astype(np.uint8)
    stretched = done("AutoContrast", image=grey)
    assert stretched.min() == 0
    assert stretched.max() > 250
    even = done("Equalize", image=grey)
    assert even.std() == pytest.approx(255 / 12**0.5, rel=0.05)  # that of a uniform distribution
    assert (np.diff(even[..., 0].ravel().astype(int)) >= 0).all()  # in the order of before


def test_what_comes_in_from_outside_has_the_mean_colour() -> None:
    image = pixels(1, (16, 24, 3))
    right = done("TranslateXRel", 0.25)
    assert np.array_equal(right[:, :18], image[:, 6:])
    assert (right[:, 18:] == np.array(POLICY.outside)).all()
    down = done("TranslateYRel", -0.5)
    assert np.array_equal(down[8:], image[:8])
    assert (down[:8] == np.array(POLICY.outside)).all()
    assert (done("Rotate", 27.0)[0, 0] == np.array(POLICY.outside)).all()
    even = np.full((16, 24, 3), POLICY.outside, np.uint8)
    for name, value in (("ShearX", 0.3), ("ShearY", -0.3), ("Rotate", 45.0)):
        assert np.array_equal(done(name, value, even), even)


def test_draws_have_the_distributions_they_say() -> None:
    random = np.random.default_rng(0)
    policy = parse_policy("rand-m5-mstd1-inc1-n2-p0.5")
    applied = [one for _ in range(4000) for one in draw(random, policy)]
    assert len(applied) / 8000 == pytest.approx(0.5, abs=0.02)
    counts = collections.Counter(one.name for one in applied)
    assert set(counts) == set(randaugment.INCREASING)
    assert max(abs(count / len(applied) - 1 / 15) for count in counts.values()) < 0.02
    angles = np.array([one.argument for one in applied if one.name == "Rotate"])
    assert (angles > 0).mean() == pytest.approx(0.5, abs=0.12)
    magnitudes = np.abs(angles) / 3
    assert magnitudes.mean() == pytest.approx(5, abs=0.3)
    assert magnitudes.std() == pytest.approx(1, abs=0.2)


def test_the_same_number_of_draws_whatever_comes_out() -> None:
    """So that what follows in the stream does not hang on it."""
    random, other = np.random.default_rng(5), np.random.default_rng(5)
    draw(random, POLICY)
    other.random(2 * randaugment.DRAWS)
    assert random.random() == other.random()
    steady = parse_policy("rand-m9-p1-n1")
    assert all(
        abs(one.argument) in (0.0, argument(one.name, 9.0))
        for seed in range(40)
        for one in draw(np.random.default_rng(seed), steady)
    )


def test_operations_follow_each_other() -> None:
    image = pixels(2, (16, 24, 3))
    both = apply(image, [Applied("Invert"), Applied("Solarize", 128)], POLICY)
    assert np.array_equal(both, done("Solarize", 128, done("Invert", image=image)))
    assert apply(image, [], POLICY) is image
    assert math.isclose(argument("TranslateXRel", 10.0), 0.45)
