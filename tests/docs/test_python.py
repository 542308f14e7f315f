"""Every block of Python in the pages runs, as printed, where what it names is at hand."""

import pathlib
import runpy
import shutil
from typing import Any

import numpy as np
import pytest

from dino_jax.config import from_dict
from dino_jax.data.evaluation import eval_batches
from dino_jax.data.sources import open_source
from dino_jax.evals.features import Extractor, normaliser
from dino_jax.evals.suite import cls_features
from dino_jax.interop.checkpoint import load_network
from dino_jax.interop.convert import convert
from dino_jax.interop.formats import torchvision
from dino_jax.models.build import build
from tests.docs import world
from tests.docs.pages import Block, blocks
from tests.interop.networks import RESNET, network, weights

IMAGES = "import jax.numpy as jnp\nimages = jnp.full((2, 16, 16, 3), 0.5)\n"
TENSOR = "import torch\nimages = x = torch.full((2, 3, 16, 16), 0.5)\n"
PREAMBLES = {
    "dino_jax.interop.spec import load_model\n\nmodel, params, stats, config": IMAGES,
    "from_pretrained": TENSOR,
    'timm.create_model("local': TENSOR,
    "onnxruntime": "import numpy as np\nimages = np.full((2, 3, 16, 16), 0.5, np.float32)\n",
    "model.forward_intermediates": "import timm, torch\ni, maps = -1, []\n"
    "x = torch.zeros(1, 3, 32, 32)\n"
    "model = timm.create_model('vit_tiny_patch16_224', img_size=32).eval()\n",
}
"""What a block leaves to its reader, by words that only it has."""
FOREIGN = ("import timm", "import torch", "transformers", "onnxruntime", "model.forward_inter")
"""What is installed with the [torch] extra alone."""
EXPORTS = {"timm": "timm", "from_pretrained": "transformers", "onnxruntime": "onnx"}
"""What `exports/a` has to be for a block; otherwise safetensors."""


def is_foreign(block: Block) -> bool:
    return any(word in block.text for word in FOREIGN)


def place(block: Block) -> str:
    return block.place


EACH = {block.text: block for block in blocks("python")}.values()
"""Of the same text one, wherever it stands."""
OURS = [block for block in EACH if not is_foreign(block)]
THEIRS = [block for block in EACH if is_foreign(block)]
HELD_TO_MORE = ("def train_step", "skimage.data_dir", "print(centre)")
"""Words of the blocks that have a test of their own below."""


@pytest.fixture(autouse=True)
def home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world.make(tmp_path)
    monkeypatch.chdir(tmp_path)


def run(block: Block) -> dict[str, Any]:
    before = "".join(text for words, text in PREAMBLES.items() if words in block.text)
    script = pathlib.Path("block.py")
    script.write_text(before + block.text)
    return runpy.run_path(str(script))


def only(words: str) -> Block:
    """The one block with these words."""
    [found] = [block for block in OURS if words in block.text]
    return found


def is_held_to_more(block: Block) -> bool:
    return any(words in block.text for words in HELD_TO_MORE)


@pytest.mark.parametrize("block", [b for b in OURS if not is_held_to_more(b)], ids=place)
def test_block_runs(block: Block) -> None:
    if "exports/a" in block.text:
        convert("runs/mine", "safetensors", "exports/a")
    assert run(block)


@pytest.mark.interop
@pytest.mark.parametrize("block", THEIRS, ids=place)
def test_block_of_another_library_runs(block: Block) -> None:
    kind = next((to for words, to in EXPORTS.items() if words in block.text), "torchvision")
    if "exports/a" in block.text:
        if kind == "torchvision":
            pathlib.Path("exports/a").mkdir(parents=True)
            torchvision.save(weights(network(RESNET)), pathlib.Path("exports/a"))
        else:
            convert("runs/mine", kind, "exports/a")
    assert run(block)


def test_a_step_of_the_method_trains() -> None:
    after = run(only("def train_step"))
    first = after["head"].init(after["key"])[0]
    assert 0 < float(after["loss"]) < 2 * np.log(512)
    teacher, centre, _ = after["rest"]
    assert float(np.abs(centre).max()) > 0
    moved = {name: float(np.abs(teacher[name] - first[name]).max()) for name in first}
    assert moved.pop("last_layer.weight_g") == 0  # norm_last_layer: not trained
    assert min(moved.values()) > 0, moved


def test_asking_the_teacher_gives_the_features_of_the_evaluations() -> None:
    after = run(only("skimage.data_dir"))
    photographs = pathlib.Path("photographs")
    photographs.mkdir()
    shutil.copy(after["photograph"], photographs)
    wanted = evaluated(photographs)
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(after["found"].cls, wanted, rtol=1e-5, atol=1e-5)
    assert after["found"].patches.shape == (1, 4, 8)
    attention = np.asarray(after["found"].attention)[:, :, 0, 1:]
    assert attention.shape == (1, 1, 4)
    assert attention.min() > 0
    assert 0 < attention.sum() < 1  # the rest CLS gives to itself


def evaluated(photographs: pathlib.Path) -> np.ndarray:
    """The features that the evaluations of that run compare."""
    params, _, made_by = load_network(world.CHECKPOINT)
    run = from_dict(made_by)
    model = build(run.model, run.head, image_size=run.crops.global_size)
    extract = Extractor(cls_features(model), normaliser(run.data.mean, run.data.std), batch_size=1)
    source = open_source(f"folder:{photographs}")
    batches = eval_batches(
        source, [0], size=run.crops.global_size, resize=run.eval.resize, batch_size=1
    )
    return extract(params, ({"images": batch.images} for batch in batches))


def test_the_centre_is_what_the_page_says() -> None:
    after = run(only("print(centre)"))
    np.testing.assert_allclose(after["centre"], [[0.15, 0, 0, 0]], atol=1e-7)
