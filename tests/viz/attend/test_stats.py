"""The table, the file and the figure of `--stats` hold the measures of the library."""

import json

import numpy as np
from PIL import Image

from dino_jax.viz.attend.maps import projections
from dino_jax.viz.attend.measures import mean_of, measured
from dino_jax.viz.attend.picture import Picture
from dino_jax.viz.attend.stats import write_stats
from tests.viz.attend.networks import fine, vit


def picture(seed, patch, columns=4):
    pixels = np.random.default_rng(seed).integers(0, 256, (3 * patch, columns * patch, 3), np.uint8)
    return Picture(f"{seed}.png", pixels, pixels)


def test_means_over_pictures_of_every_weights(tmp_path):
    encoders = [vit(), fine()]
    rows = [(picture(seed, 8, 3 + seed), picture(seed, 4)) for seed in range(2)]
    files, said = write_stats(tmp_path, rows, encoders)
    assert [path.name for path in files] == ["stats.json", "stats.png"]
    told = json.loads(files[0].read_text())
    assert told["images"] == ["0.png", "1.png"]
    for number, (encoder, of_one) in enumerate(zip(encoders, told["weights"], strict=True)):
        wanted = mean_of(
            [measured(projections(encoder, row[number].pixels), encoder.patch_size) for row in rows]
        )
        for name, values in wanted._asdict().items():
            np.testing.assert_allclose(of_one[name], values)
        line = f"    0     1  {wanted.distance[0, 1]:11.1f}  {wanted.entropy[0, 1]:12.3f}"
        assert line in said
    assert told["weights"][0]["sizes"] == [[24, 24], [24, 32]]
    with Image.open(files[1]) as page:
        assert page.width == 2000


def test_what_there_is_none_of_is_null(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    write_stats(tmp_path, [(Picture("dot", pixels, pixels),)], [vit()])
    (told,) = json.loads((tmp_path / "stats.json").read_text())["weights"]
    assert told["similarity"] == [[None, None]] * 2
    assert told["distance"] == [[0.0, 0.0]] * 2
