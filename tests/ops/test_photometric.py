"""Photometric operations: equal to Pillow's, one by one and as a chain, and free of the batch."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dino_jax.config import AugmentConfig, UserError
from dino_jax.data import photometric as host
from dino_jax.data.randomness import Purpose, generator
from dino_jax.ops import blur, colour, photometric

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OPERATIONS = ("brightness", "contrast", "saturation", "hue")
PARAMETERS = dict.fromkeys(OPERATIONS[:3], (0.0, 0.37, 0.6, 0.8123, 1.0, 1.1, 1.2, 1.4, 2.7)) | {
    "hue": (-0.5, -0.1, -0.0713, -0.002, 0.0, 0.03, 0.0999, 0.5)
}
OFF = {
    "jitter_probability": 0.0,
    "grayscale_probability": 0.0,
    "blur_probability": (0.0, 0.0, 0.0),
    "solarize_probability": (0.0, 0.0, 0.0),
}


def picture(seed, height=24, width=20, channels=3):
    """Noise over a slope, so that neighbours agree, with black, white and grey patches."""
    random = np.random.default_rng(seed)
    slope = np.linspace(0, 200, width)[None, :, None] * np.linspace(0.3, 1, channels)
    image = np.clip(slope + random.normal(30, 40, (height, width, channels)), 0, 255)
    image[: height // 4] = image[: height // 4, :, :1]
    image[-2:, :2], image[-2:, -2:] = 0, 255
    return image.astype(np.uint8)


def planes(image):
    return jnp.moveaxis(jnp.asarray(image, jnp.float32), -1, 0)


def levels(image):
    """Back to (height, width, channels), and they are grey levels."""
    image = np.moveaxis(np.asarray(image), 0, -1)
    assert image.dtype == np.float32
    assert (image == image.astype(np.uint8)).all()
    return image.astype(np.uint8)


@pytest.mark.parametrize(
    ("mode", "channels"), [("eager", 3), ("jit", 3), ("vmap", 3), ("jit", 1), ("jit", 4)]
)
def test_colour_operations_are_pillows(mode, channels):
    image = picture(0, channels=channels)
    if mode == "vmap":
        values = {name: jnp.array(numbers) for name, numbers in PARAMETERS.items()}
        found = {
            name: jax.jit(jax.vmap(getattr(colour, name), (None, 0)))(planes(image), values[name])
            for name in OPERATIONS
        }
    else:
        wrapper = jax.jit if mode == "jit" else lambda call: call
        calls = {name: wrapper(getattr(colour, name)) for name in OPERATIONS}
        found = {
            name: [calls[name](planes(image), value) for value in numbers]
            for name, numbers in PARAMETERS.items()
        }
    for name, numbers in PARAMETERS.items():
        for value, ours in zip(numbers, found[name], strict=True):
            wanted = getattr(host, name)(image, value)
            np.testing.assert_array_equal(levels(ours), wanted, err_msg=f"{name} {value}")


def test_hue_of_every_sort_of_colour():
    """Sixteen planes of the colour cube, all 65,536 colours of each."""
    green, blue = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
    turn = jax.jit(colour.hue)
    for red in range(0, 256, 17):
        image = np.stack([np.full_like(green, red), green, blue], -1).astype(np.uint8)
        for shift in (0.0, 0.061, -0.1):
            wanted = host.hue(image, shift)
            np.testing.assert_array_equal(levels(turn(planes(image), shift)), wanted)


def test_hue_from_every_hue_and_purity():
    """The way back from HSV, whatever the hue, at every tenth purity."""
    angle, value = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
    back = jax.jit(colour._to_rgb)
    for purity in (*range(0, 256, 10), 255):
        hsv = np.stack([angle, np.full_like(angle, purity), value], -1).astype(np.uint8)
        bands = [Image.fromarray(np.ascontiguousarray(hsv[..., i])) for i in range(3)]
        wanted = np.asarray(Image.merge("HSV", bands).convert("RGB"))
        np.testing.assert_array_equal(levels(back(*planes(hsv))), wanted)


@pytest.mark.parametrize(
    ("height", "width", "channels"), [(16, 16, 3), (9, 31, 1), (1, 1, 3), (2, 3, 5)]
)
def test_blur_is_pillows(height, width, channels):
    image = picture(3, max(height, 4), max(width, 4), channels)[:height, :width]
    call = jax.jit(blur.gaussian_blur, static_argnames="max_radius")
    for radius in (0.0, 0.1, 0.3, 0.7071, 1.0, 1.3, 1.4143, 1.9, 2.0, 2.4):
        wanted = host.gaussian_blur(image, radius) if radius else image
        ours = call(planes(image), radius, max_radius=2.4)
        np.testing.assert_array_equal(levels(ours), wanted, err_msg=str(radius))


@pytest.mark.parametrize("maximum", [0.5, 3.3, 7.0])
def test_taps_suffice_for_the_largest_radius(maximum):
    image = picture(4)
    ours = jax.jit(functools.partial(blur.gaussian_blur, max_radius=maximum))(
        planes(image), maximum
    )
    np.testing.assert_array_equal(levels(ours), host.gaussian_blur(image, maximum))


def test_blur_keeps_an_even_picture_and_the_mean():
    even = jnp.full((3, 8, 8), 255.0)
    call = jax.jit(functools.partial(blur.gaussian_blur, max_radius=2.0))
    np.testing.assert_array_equal(call(even, 1.7), even)
    image = planes(picture(5, 8, 8))
    blurred = call(image, 2.0)
    assert abs(float(blurred.mean() - image.mean())) < 1.0
    assert jnp.abs(jnp.diff(blurred)).mean() < 0.5 * jnp.abs(jnp.diff(image)).mean()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_greyscale_and_solarise_are_pillows(channels):
    image = picture(6, channels=channels)
    np.testing.assert_array_equal(levels(colour.greyscale(planes(image))), host.greyscale(image))
    for threshold in (0, 128, 200, 256):
        ours = levels(colour.solarise(planes(image), threshold))
        np.testing.assert_array_equal(ours, host.solarise(image, threshold))
    np.testing.assert_array_equal(levels(colour.solarise(planes(image), 256)), image)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_chain_is_pillows_in_every_order(channels):
    """The same draws on the device and on the host give the same levels."""
    config = AugmentConfig()
    chain = jax.jit(lambda image, drawn: photometric.apply(image, drawn, config=config))
    for example in range(48):
        theirs = host.draw(generator(7, 0, example, 0, Purpose.PHOTOMETRIC), view=1, config=config)
        theirs = dataclasses.replace(
            theirs, order=host._ORDERS[example % 24], solarise=example % 3 == 0
        )
        image = picture(example, channels=channels)
        found = levels(chain(planes(image), as_arrays(theirs)))
        np.testing.assert_array_equal(found, host.apply(image, theirs, config=config))


def as_arrays(drawn):
    return photometric.Draw(
        jitter=jnp.array(drawn.jitter),
        factors=jnp.array([drawn.brightness, drawn.contrast, drawn.saturation]),
        hue=jnp.float32(drawn.hue),
        order=jnp.array([OPERATIONS.index(name) for name in drawn.order], jnp.int32),
        greyscale=jnp.array(drawn.greyscale),
        radius=jnp.float32(drawn.radius),
        solarise=jnp.array(drawn.solarise),
    )


def test_chain_without_jit_is_the_same():
    config = AugmentConfig()
    drawn = photometric.draw(jax.random.key(3), 1.0, 1.0, config=config)
    image = planes(picture(0))
    call = functools.partial(photometric.apply, config=config)
    np.testing.assert_array_equal(call(image, drawn), jax.jit(call)(image, drawn))


def batch(size=3, crops=3, channels=3):
    images = [picture(i, channels=channels) for i in range(size * crops)]
    images = np.stack(images).reshape(size, crops, *images[0].shape)
    return jnp.asarray(images), jax.random.split(jax.random.key(1), (size, crops))


@functools.cache
def compiled(first_view, channels, **changes):
    mean, std = (MEAN, STD) if channels == 3 else ((0.0,) * channels, (1.0,) * channels)
    call = functools.partial(
        photometric.augment,
        first_view=first_view,
        config=AugmentConfig(**changes),
        mean=mean,
        std=std,
    )
    return jax.jit(call)


def run(images, keys, *, first_view=0, **changes):
    return np.asarray(compiled(first_view, images.shape[-1], **changes)(images, keys))


def test_crops_do_not_depend_on_the_rest_of_the_batch():
    images, keys = batch()
    whole = run(images, keys)
    np.testing.assert_array_equal(run(images, keys), whole)
    np.testing.assert_array_equal(run(images[::-1], keys[::-1])[::-1], whole)
    others = run(images.at[1:].set(255 - images[1:]), keys.at[1:].set(keys[:2]))
    np.testing.assert_array_equal(others[0], whole[0])
    assert (others[1:] != whole[1:]).any(axis=(2, 3, 4)).all()


def test_crops_do_not_depend_on_where_they_stand():
    """Later crops alone, and a local crop at another place, are what they were in the whole."""
    images, keys = batch()
    alone = run(images[:, 2:], keys[:, 2:], first_view=9)
    np.testing.assert_array_equal(alone, run(images, keys)[:, 2:])


def test_keys_differ_in_what_they_do():
    images, keys = batch()
    same = jnp.broadcast_to(images[:1, :1], images.shape)
    found = run(same, keys).reshape(9, -1)
    assert len(np.unique(found, axis=0)) == 9


@pytest.mark.parametrize("channels", [1, 4])
def test_chain_gives_grey_levels_of_the_right_shape(channels):
    images, keys = batch(channels=channels)
    found = run(images, keys) * 255
    assert found.shape == images.shape
    assert found.min() >= 0
    assert found.max() <= 255.001
    assert np.abs(found - np.rint(found)).max() < 1e-3
    assert (np.rint(found) != np.asarray(images)).mean() > 0.5


def test_probability_zero_leaves_the_picture():
    images, keys = batch()
    wanted = photometric.normalise(images, MEAN, STD)
    np.testing.assert_allclose(run(images, keys, **OFF), wanted, atol=1e-6)
    random = generator(0, 0, 0, 0, Purpose.PHOTOMETRIC)
    found = host.augment(picture(0), random, view=0, config=AugmentConfig(**OFF))
    np.testing.assert_array_equal(found, picture(0))


@pytest.mark.parametrize(("field", "view"), [("solarize_probability", 1), ("blur_probability", 0)])
def test_probabilities_are_those_of_the_view(field, view):
    """An operation that is certain in one view, and off in the others, changes that view alone."""
    images, keys = batch()
    changes = OFF | {field: tuple(float(i == view) for i in range(3))}
    plain = photometric.normalise(images, MEAN, STD)
    changed = (np.abs(run(images, keys, **changes) - plain) > 1e-5).any(axis=(2, 3, 4))
    assert changed[:, view].all()
    assert changed.sum() == len(images)


def test_switching_one_operation_off_leaves_the_draws_of_the_others():
    key = jax.random.key(5)
    both = photometric.draw(key, 1.0, 1.0, config=AugmentConfig())
    config = dataclasses.replace(AugmentConfig(), jitter_probability=0.0)
    less = photometric.draw(key, 1.0, 0.0, config=config)
    assert bool(both.solarise)
    assert not bool(less.solarise)
    assert not bool(less.jitter)
    for name in ("factors", "hue", "order", "greyscale", "radius"):
        np.testing.assert_array_equal(getattr(both, name), getattr(less, name))


def test_host_draws_repeat_and_leave_the_crop_alone():
    image = picture(0)
    kept = image.copy()
    config = AugmentConfig()

    def augmented(example, view):
        random = generator(0, 0, example, view, Purpose.PHOTOMETRIC)
        return host.augment(image, random, view=view, config=config)

    np.testing.assert_array_equal(augmented(3, 0), augmented(3, 0))
    np.testing.assert_array_equal(image, kept)
    assert augmented(3, 0).dtype == np.uint8
    assert any((augmented(i, 0) != augmented(i, 1)).any() for i in range(3))


def test_jitter_of_no_width_is_left_out():
    """As torchvision leaves it out; the way through HSV would lose levels."""
    even = dict.fromkeys(OPERATIONS, 0.0)
    config = AugmentConfig(**(OFF | even | {"jitter_probability": 1.0}))
    drawn = photometric.draw(jax.random.key(0), 0.0, 0.0, config=config)
    assert bool(drawn.jitter)
    image = planes(picture(0))
    np.testing.assert_array_equal(photometric.apply(image, drawn, config=config), image)
    random = generator(0, 0, 0, 0, Purpose.PHOTOMETRIC)
    found = host.augment(picture(0), random, view=0, config=config)
    np.testing.assert_array_equal(found, picture(0))


def test_normalise_names_a_wrong_number_of_channels():
    with pytest.raises(UserError, match="3 numbers, but the images have 1 channels"):
        photometric.normalise(jnp.zeros((2, 4, 4, 1), jnp.uint8), MEAN, STD)


def test_a_sharded_batch_needs_no_communication():
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    images, keys = batch(size=4)
    sharded = jax.device_put((images, keys), jax.NamedSharding(mesh, jax.P("batch")))
    call = compiled(0, 3).lower(*sharded).compile()
    for word in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert word not in call.as_text()
    found = call(*sharded)
    assert found.sharding.spec[0] == "batch"
    np.testing.assert_allclose(found[:3], run(*batch()), atol=1e-6)
