"""What the network sees in training: bilinear crops of each image, told by seed and epoch."""

import numpy as np
from PIL import Image

from dino_jax.data.crops import cut, draw_box
from dino_jax.data.randomness import Purpose, generator
from dino_jax.evals.linear.batches import augmented_batches
from dino_jax.train.sharding import make_mesh
from tests.evals.embed.networks import SIZE, encoder
from tests.evals.sources import Coloured

NUMBER, BATCH = 10, 4


def seen(start, stop, seed=0, damaged=()):
    """Images (steps, batch, ...) as the network gets them, and their labels."""
    source = Coloured(NUMBER, damaged=damaged)
    network = encoder()
    batches = augmented_batches(
        network,
        lambda params, images: images.reshape(len(images), -1),
        source,
        np.arange(NUMBER),
        batch=BATCH,
        seed=seed,
        mesh=make_mesh(2),
        batch_size=2,
    )
    found = list(batches(start, stop))
    images = np.stack([features for features, _ in found]).reshape(-1, BATCH, SIZE, SIZE, 3)
    pixels = images * np.array(network.std) + np.array(network.mean)
    return np.round(pixels * 255).astype(np.int64), np.stack([labels for _, labels in found])


def test_images_are_the_references_crops():
    pixels, labels = seen(0, 4)
    source = Coloured(NUMBER)
    for step, (images, numbers) in enumerate(zip(pixels, labels, strict=True)):
        assert len(set(numbers.tolist())) == BATCH
        for image, example in zip(images, numbers, strict=True):
            whole = source.load(int(example))
            random = generator(0, step // 2, int(example), 0, Purpose.GEOMETRY)
            options = {"scale": (0.08, 1.0), "ratio": (3 / 4, 4 / 3), "flip_probability": 0.5}
            box = draw_box(random, *whole.shape[:2], **options)
            np.testing.assert_array_equal(
                image, cut(whole, [box], SIZE, Image.Resampling.BILINEAR)[0]
            )


def test_a_later_start_gives_the_same_batches_and_another_seed_others():
    pixels, labels = seen(0, 4)
    later, theirs = seen(3, 4)
    np.testing.assert_array_equal(later[0], pixels[3])
    np.testing.assert_array_equal(theirs[0], labels[3])
    other, _ = seen(3, 4, seed=1)
    assert not np.array_equal(other, later)


def test_images_that_cannot_be_read_are_named_once_and_stood_in_for(caplog):
    _, labels = seen(0, 2 * (NUMBER // BATCH) + 1, damaged=(3, 7))
    assert not {3, 7} & set(labels.reshape(-1).tolist())
    assert sorted(record.getMessage() for record in caplog.records) == [
        f"skipped unreadable image image {number} (damaged on purpose)" for number in (3, 7)
    ]
