"""Pictures of attention: the right row of the matrix, honest colours, a file that opens."""

import jax
import numpy as np
import pytest
from PIL import Image

from dino_jax.config import DataConfig, HeadConfig, ModelConfig
from dino_jax.data.sources import open_source
from dino_jax.models.build import build
from dino_jax.viz import held_out
from dino_jax.viz.attention import cls_attention, write_attention_picture
from dino_jax.viz.held_out import write_held_out_attention
from dino_jax.viz.report.looks import chosen
from tests.data.fakes import FakeSource
from tests.evals.sources import Coloured


def picture(height=24, width=32, channels=3):
    shape = (height, width, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_maps_are_the_cls_row_without_cls_in_row_major_order():
    attention = np.random.default_rng(0).random((2, 3, 7, 7)).astype(np.float32)
    maps = cls_attention(attention, 2, 3)
    assert maps.shape == (2, 3, 2, 3)
    assert maps[1, 2, 1, 0] == attention[1, 2, 0, 1 + 3]
    with pytest.raises(ValueError, match="7 tokens are not CLS and 3 x 3 patches"):
        cls_attention(attention, 3, 3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_a_picture_is_written(tmp_path, channels, suffix):
    path = tmp_path / "new" / f"attention.{suffix}"
    maps = [np.random.default_rng(i).random((2, 3, 4)).astype(np.float32) for i in range(2)]
    images = [picture(channels=channels)] * 2
    write_attention_picture(path, images, maps, before=maps, names=["a", "$5_{$"], title="t")
    assert path.stat().st_size > 2000
    if suffix == "png":
        with Image.open(path) as written:
            width, height = written.size
        assert width > height  # five columns, two rows


def test_held_out_images_are_chosen_by_contrast_alone_one_of_a_class(tmp_path):
    source = Coloured(30)
    assert source.labels[chosen(source, 2)].tolist() == [0, 2]
    assert len(chosen(Coloured(30, labelled=False), 4)) == 4
    model = build(
        ModelConfig(width=16, depth=2, heads=2, patch_size=8),
        HeadConfig(prototypes=8, hidden=16),
        image_size=16,
    )
    params, _ = model.init(jax.random.key(0))
    path = tmp_path / "attention.png"
    options = {"data": DataConfig(), "number": 2, "patches": 4}
    assert write_held_out_attention(path, model, params, source, **options)
    assert path.stat().st_size > 2000


def test_a_model_without_attention_leaves_a_line_and_no_picture(tmp_path, caplog):
    model = build(
        ModelConfig(arch="resnet50", width=32), HeadConfig(prototypes=8, hidden=16), image_size=32
    )
    path = tmp_path / "attention.png"
    with caplog.at_level("INFO", logger="dino_jax"):
        assert not write_held_out_attention(path, model, {}, Coloured(9), data=DataConfig())
    assert [record.message for record in caplog.records] == [
        "no picture of attention: the model has none"
    ]
    assert not path.exists()


def test_unreadable_images_are_not_shown():
    found = chosen(FakeSource(6, damaged=(0, 1, 2)), 3)
    assert set(found) <= {3, 4, 5}
    assert len(found) == 2


def test_the_picture_has_the_images_of_the_report_and_none_that_may_not_be_shown(
    tmp_path, monkeypatch, caplog
):
    """Of the embedded photographs two may not be passed on."""
    source, said = open_source("embedded:photos:val", channels=3), {}
    model = build(
        ModelConfig(width=16, depth=2, heads=2, patch_size=8),
        HeadConfig(prototypes=8, hidden=16),
        image_size=16,
    )
    maps = np.zeros((16, 2, 16, 16), np.float32)
    monkeypatch.setattr(held_out, "_maps", lambda model, params, images, data: maps[: len(images)])
    monkeypatch.setattr(held_out, "write_attention_picture", lambda *_, **more: said.update(more))
    rest = tmp_path / "a.png", model, {}
    assert write_held_out_attention(*rest, source, data=DataConfig(), number=99)
    assert said["names"] == [source.name(i).split("@")[0] for i in chosen(source, 99)]
    assert not {"moon", "motorcycle_left"} & set(said["names"])
    with caplog.at_level("INFO", logger="dino_jax"):
        nothing = FakeSource(2, damaged=(0, 1))
        assert not write_held_out_attention(*rest, nothing, data=DataConfig())
    assert "no held-out image can be shown" in caplog.text
