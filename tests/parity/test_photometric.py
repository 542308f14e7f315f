"""Photometric operations and the whole augmentation against the original's.

`g_ops.npz` holds single operations at fixed parameters, `g_aug_stats.json` what the original's
transforms drew and what came out of them on eight photographs.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dino_jax.config import AugmentConfig, CropsConfig
from dino_jax.data import photometric as host
from dino_jax.data.crops import cut, draw_boxes
from dino_jax.data.randomness import Purpose, generator
from dino_jax.ops import blur, colour, photometric
from tests import golden

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CONFIG = AugmentConfig()
VIEWS = {"global1": 0, "global2": 1, "local": 2}
DEVICE_DRAWS, HOST_DRAWS = 20_000, 2_000
GOLDEN_DRAWS = 4_000  # the golden frequencies are multiples of 1/4000
PER_IMAGE = 25  # crops of each photograph and view
OPERATIONS = {
    "brightness": (colour.brightness, host.brightness),
    "contrast": (colour.contrast, host.contrast),
    "saturation": (colour.saturation, host.saturation),
    "hue": (colour.hue, host.hue),
    "blur": (functools.partial(blur.gaussian_blur, max_radius=2.0), host.gaussian_blur),
    "solarize": (colour.solarise, host.solarise),
    "gray3": (colour.greyscale, host.greyscale),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_the_originals_to_the_last_bit(name):
    file = golden.arrays("g_ops.npz")
    keys = [key for key in file if key.split("/")[0] == name]
    assert keys
    device, by_pillow = OPERATIONS[name]
    device = jax.jit(device)
    image = jnp.moveaxis(jnp.asarray(file["img"], jnp.float32), -1, 0)
    for key in keys:
        value = [float(part) for part in key.split("/")[1:]]
        ours = np.moveaxis(np.asarray(device(image, *value)), 0, -1)
        np.testing.assert_array_equal(ours, file[key], err_msg=key)
        np.testing.assert_array_equal(by_pillow(file["img"], *value), file[key], err_msg=key)


def test_normalised_picture_is_the_originals():
    file = golden.arrays("g_ops.npz")
    ours = photometric.normalise(jnp.asarray(file["img"]), MEAN, STD)
    assert golden.relative_error(np.moveaxis(np.asarray(ours), -1, 0), file["normalize"]) <= 1e-6


def device_draws(view):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(view), jnp.arange(DEVICE_DRAWS))
    p_blur, p_solarise = CONFIG.blur_probability[view], CONFIG.solarize_probability[view]
    draw = functools.partial(photometric.draw, config=CONFIG)
    drawn = jax.jit(jax.vmap(draw, (0, None, None)))(keys, p_blur, p_solarise)
    names = np.array(["brightness", "contrast", "saturation", "hue"])
    return {
        "jitter": drawn.jitter,
        "gray": drawn.greyscale,
        "radius": drawn.radius,
        "solarize": drawn.solarise,
        "factors": jnp.concatenate([drawn.factors, drawn.hue[:, None]], axis=1),
        "order": names[np.asarray(drawn.order)],
    }


def host_draws(view):
    drawn = [
        host.draw(generator(0, 0, i, view, Purpose.PHOTOMETRIC), view=view, config=CONFIG)
        for i in range(HOST_DRAWS)
    ]
    return {
        "jitter": [d.jitter for d in drawn],
        "gray": [d.greyscale for d in drawn],
        "radius": [d.radius for d in drawn],
        "solarize": [d.solarise for d in drawn],
        "factors": [(d.brightness, d.contrast, d.saturation, d.hue) for d in drawn],
        "order": [d.order for d in drawn],
    }


@pytest.mark.parametrize("draws", [device_draws, host_draws])
@pytest.mark.parametrize("kind", VIEWS)
def test_draws_are_distributed_as_the_originals(kind, draws):
    stats = golden.read_json("g_aug_stats.json")
    theirs, jitter = stats[f"freq/{kind}"], stats["jitter"]
    ours = {name: np.asarray(values) for name, values in draws(VIEWS[kind]).items()}
    ours["blur"], number = ours["radius"] > 0, len(ours["radius"])
    for name in ("jitter", "gray", "blur", "solarize"):
        share = theirs[name]
        error = math.sqrt(share * (1 - share) * (1 / number + 1 / GOLDEN_DRAWS))
        assert abs(ours[name].mean() - share) <= 4 * error, name
    assert_uniform(ours["radius"][ours["blur"]], *CONFIG.blur_radius)
    theirs_n = GOLDEN_DRAWS * theirs["blur"]
    error = 1.9 / math.sqrt(12) * math.sqrt(1 / theirs_n + 1 / ours["blur"].sum())
    assert abs(ours["radius"][ours["blur"]].mean() - theirs["radius_mean"]) <= 4 * error
    ranges = zip(jitter["min"], jitter["max"], strict=True)
    for values, (low, high) in zip(ours["factors"].T, ranges, strict=True):
        # The golden extremes are those of thousands of draws: the range to three places.
        assert_uniform(values, round(low, 2), round(high, 2))
    assert_independent(ours)
    orders, counts = np.unique(ours["order"], axis=0, return_counts=True)
    assert len(orders) == 24
    assert np.abs(counts - number / 24).max() <= 4.5 * math.sqrt(number / 24)


def assert_independent(ours):
    """No two decisions about a crop go together."""
    columns = [ours[name] for name in ("jitter", "gray", "blur", "solarize")]
    columns += [*ours["factors"].T, np.argmax(ours["order"] == "hue", axis=1)]
    columns = np.array(columns, np.float64)
    columns = columns[np.ptp(columns, axis=1) > 0]
    bound = 4.5 / math.sqrt(columns.shape[1])
    assert np.abs(np.corrcoef(columns) - np.eye(len(columns))).max() <= bound
    radius = ours["radius"][ours["blur"]]
    for column in columns[:, ours["blur"]]:
        if np.ptp(column):
            assert abs(np.corrcoef(column, radius)[0, 1]) <= 4.5 / math.sqrt(len(radius))


def assert_uniform(values, low, high):
    """Within the range, and no share of the draws below a point strays from the straight line."""
    assert low - 1e-6 <= values.min()
    assert values.max() <= high + 1e-6
    ranks = np.arange(len(values)) / len(values)
    gap = np.abs((np.sort(values) - low) / (high - low) - ranks).max()
    assert gap <= 2.2 / math.sqrt(len(values))  # Kolmogorov's at about 1e-4


@functools.cache
def cut_crops(view):
    """Crops of the golden photographs at the original's size, `PER_IMAGE` of each."""
    crops = CropsConfig(local_number=1)
    size = crops.local_size if view == 2 else crops.global_size
    found = []
    for number in range(8):
        with Image.open(golden.path("aug_images") / f"{number}.png") as file:
            image = np.asarray(file)
        for i in range(PER_IMAGE):
            boxes = draw_boxes(*image.shape[:2], crops, seed=1, epoch=i, example=number)
            found.append(cut(image, [boxes[view]], size)[0])
    return np.stack(found)


def on_the_device(crops, view):
    keys = jax.random.split(jax.random.key(view), (len(crops), 1))
    call = functools.partial(
        photometric.augment, first_view=view, config=CONFIG, mean=MEAN, std=STD
    )
    return np.asarray(jax.jit(call)(crops[:, None], keys))[:, 0]


def on_the_host(crops, view):
    streams = [generator(1, 0, i, view, Purpose.PHOTOMETRIC) for i in range(len(crops))]
    augmented = [
        host.augment(crop, stream, view=view, config=CONFIG)
        for crop, stream in zip(crops, streams, strict=True)
    ]
    return np.asarray(photometric.normalise(jnp.asarray(np.stack(augmented)), MEAN, STD))


@pytest.mark.parametrize("chain", [on_the_device, on_the_host])
@pytest.mark.parametrize("kind", VIEWS)
def test_augmented_views_have_the_originals_statistics(kind, chain):
    theirs = golden.read_json("g_aug_stats.json")[f"view/{kind}"]
    ours = chain(cut_crops(VIEWS[kind]), VIEWS[kind])
    # The golden errors are of `n` views; the difference has both samples'.
    wider = math.sqrt(1 + theirs["n"] / len(ours))
    found = {
        "mean_rgb": ours.mean(axis=(1, 2)).mean(axis=0),
        "std_rgb": ours.std(axis=(1, 2)).mean(axis=0),
        "absgrad_x": np.abs(np.diff(ours, axis=2)).mean(),
    }
    for name, value in found.items():
        distance = np.abs(value - theirs[name]) / np.asarray(theirs[f"{name}_se"])
        assert (distance <= 4 * wider).all(), (name, distance / wider)
    spread = ours.mean(axis=(1, 2)).std(axis=0, ddof=1) / np.asarray(theirs["mean_rgb_sd"])
    assert np.abs(spread - 1).max() <= 4 / math.sqrt(2) * math.sqrt(1 / len(ours) + 1 / 2000)
    levels = ours * np.asarray(STD) + np.asarray(MEAN)
    grey = (np.ptp(levels, axis=-1) < 1e-3).all(axis=(1, 2)).mean()
    error = math.sqrt(0.2 * 0.8 * (1 / len(ours) + 1 / theirs["n"]))
    assert abs(grey - theirs["gray_frac"]) <= 4 * error
