"""What is said of images that are much larger than those a network was trained on."""

from dino_jax.evals.dense.waiting import say_patches, with_bar
from dino_jax.interop.encoder import open_encoder
from tests.evals.finetune import tiny


def test_many_patches_are_said_once_and_a_size_is_named(tmp_path, caplog):
    network = tiny.encoder(tmp_path)
    side, patch = network.network.size[0], network.patch_size
    say_patches(network, 3 * side, 3 * side)
    say_patches(open_encoder("pixels"), 4800, 4800)
    assert not caplog.records
    say_patches(network, 8 * side, 4 * side)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{4 * side} x {8 * side} pixels: ")
    assert f"{32 * (side // patch) ** 2:,} patches" in record.getMessage()
    assert f"--size={3 * side} is quicker" in record.getMessage()


def test_a_bar_passes_everything_on(capsys):
    assert list(with_bar(iter("abc"), 3, "learning", unit="letter")) == ["a", "b", "c"]
    assert "learning: 100%" in capsys.readouterr().err
