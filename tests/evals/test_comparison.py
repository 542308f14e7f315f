"""The table that ends a run on labelled and on unlabelled images, as text, Markdown and names."""

import jax.numpy as jnp
import pytest

from dino_jax.config import AugmentConfig, Config
from dino_jax.evals.comparison import baselines
from dino_jax.evals.descriptors import DESCRIPTORS
from dino_jax.evals.table import Row, Table, best
from tests.evals.sources import Coloured


def mean_colour(params, images):
    return images.mean(axis=(1, 2)) * params["backbone.scale"]


@pytest.fixture
def config():
    config = Config()
    config.crops.global_size = 32
    config.augment = AugmentConfig(
        jitter_probability=0.0,
        blur_probability=(0.0, 0.0, 0.0),
        solarize_probability=(0.0, 0.0, 0.0),
    )
    config.eval.retrieval_images = 8
    return config


NETWORKS = {
    "untrained": {"backbone.scale": jnp.float32(0)},
    "student": {"backbone.scale": jnp.float32(1)},
    "teacher": {"backbone.scale": jnp.float32(1)},
}


def test_labelled_images_get_k_nn_over_raw_pixels_and_networks(config):
    table = baselines(mean_colour, config, Coloured(30), Coloured(12, seed=1), NETWORKS)
    assert [row.title for row in table.rows] == [
        "chance",
        "raw pixels",
        "untrained network",
        "trained student",
        "trained teacher",
    ]
    values = table.values()
    assert values["knn_top1"] == values["student_knn_top1"] == values["pixels_knn_top1"] == 100
    assert values["untrained_knn_top1"] == values["chance_knn_top1"] == pytest.approx(100 / 3)
    assert values["untrained_view_retrieval_top1"] == 100 / 8


def test_unlabelled_images_get_view_retrieval_over_every_description(config):
    train, held_out = (Coloured(12, seed=seed, labelled=False) for seed in (0, 1))
    table = baselines(mean_colour, config, train, held_out, {"teacher": NETWORKS["teacher"]})
    assert len(table.rows) == 2 + len(DESCRIPTORS)
    assert list(table.columns) == ["view_retrieval_top1"]


TABLE = Table(
    "Title",
    {"x_top1": "first", "y_top1": "the second"},
    (Row("chance", "chance_", {"x_top1": 1.25, "y_top1": 0.0}), Row("net", "", {"y_top1": 100.0})),
    ("A note.",),
)


def test_text_is_aligned():
    assert TABLE.text().splitlines() == [
        "Title",
        "",
        "        first  the second",
        "------  -----  ----------",
        "chance    1.2         0.0",
        "net         –       100.0",
        "",
        "A note.",
    ]


def test_markdown_and_names():
    assert TABLE.markdown().splitlines()[2:6] == [
        "|  | first | the second |",
        "| --- | ---: | ---: |",
        "| chance | 1.2 | 0.0 |",
        "| net | – | 100.0 |",
    ]
    assert TABLE.values() == {"chance_x_top1": 1.25, "chance_y_top1": 0.0, "y_top1": 100.0}


def test_without_figures_there_are_the_notes():
    bare = Table("Title", {}, (Row("net", "", {}),), ("A note.",))
    assert bare.text() == "Title\n\nA note."
    assert bare.markdown() == "**Title**\n\n- A note."


def test_a_path_in_a_note_is_in_one_piece():
    path = f"runs/{'a-b-' * 40}/model.safetensors"
    table = Table("Title", {}, (), (f"Many words before it: use it as --weights={path}",))
    assert f"--weights={path}" in table.text().splitlines()


def test_best_is_measure_by_measure():
    assert best([{"x": 1.0, "y": 5.0}, {"x": 2.0, "y": 4.0}]) == {"x": 2.0, "y": 5.0}


def test_a_wide_table_is_shown_in_blocks_that_fit():
    titles = {f"m{i}": f"measure {i}" for i in range(12)}
    table = Table("Title", titles, (Row("a network", "", dict.fromkeys(titles, 12.5)),))
    lines = table.text().splitlines()
    assert max(map(len, lines)) <= 100
    heads = [line for line in lines if "measure" in line]
    assert len(heads) == 2
    assert " ".join(heads).split() == " ".join(titles.values()).split()
    assert sum(line.startswith("a network") for line in lines) == 2
    assert " ".join(lines).count("12.5") == 12
