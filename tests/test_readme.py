"""What README.md says can be done: its Python runs, and what it names exists."""

import pathlib
import re
import runpy
import shutil

import numpy as np
import pytest

import dino_jax
from dino_jax.config import from_dict
from dino_jax.data.evaluation import eval_batches
from dino_jax.data.sources import open_source
from dino_jax.evals.features import Extractor, normaliser
from dino_jax.evals.suite import cls_features
from dino_jax.interop.checkpoint import load_network
from dino_jax.models.build import build

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
CHECKPOINT = ROOT / "tests" / "train" / "data" / "checkpoint_v1" / "3"
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_python_block_trains(tmp_path: pathlib.Path) -> None:
    _, source = blocks("python")
    script = tmp_path / "readme.py"
    script.write_text(source)
    after = runpy.run_path(str(script))
    first = after["head"].init(after["key"])[0]
    assert 0 < float(after["loss"]) < 2 * np.log(512)
    teacher, centre, _ = after["rest"]
    assert float(np.abs(centre).max()) > 0
    moved = {name: float(np.abs(teacher[name] - first[name]).max()) for name in first}
    assert moved.pop("last_layer.weight_g") == 0  # norm_last_layer: not trained
    assert min(moved.values()) > 0, moved


def test_python_block_asks_the_teacher(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block as printed, a small run of ours standing where the quickstart leaves its own."""
    source, _ = blocks("python")
    assert len([line for line in source.splitlines() if line]) <= 15
    script = tmp_path / "readme.py"
    script.write_text(source)
    shutil.copytree(CHECKPOINT, tmp_path / "runs" / "quickstart" / "checkpoints" / "3")
    monkeypatch.chdir(tmp_path)
    after = runpy.run_path(str(script))
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    shutil.copy(after["photograph"], photographs)
    wanted = evaluated(photographs)
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(after["found"].cls, wanted, rtol=1e-5, atol=1e-5)
    assert after["found"].patches.shape == (1, 4, 8)
    attention = np.asarray(after["attention"])
    assert attention.shape == (1, 1, 4)
    assert attention.min() > 0
    assert 0 < attention.sum() < 1  # the rest CLS gives to itself


def evaluated(photographs: pathlib.Path) -> np.ndarray:
    """The features that the evaluations of that run compare."""
    params, _, made_by = load_network(CHECKPOINT)
    run = from_dict(made_by)
    model = build(run.model, run.head, image_size=run.crops.global_size)
    extract = Extractor(cls_features(model), normaliser(run.data.mean, run.data.std), batch_size=1)
    source = open_source(f"folder:{photographs}")
    batches = eval_batches(
        source, [0], size=run.crops.global_size, resize=run.eval.resize, batch_size=1
    )
    return extract(params, ({"images": batch.images} for batch in batches))


def test_version_is_the_one_that_the_readme_names() -> None:
    [named] = re.findall(r"Version (\S+) \(`dino_jax.__version__`\)", README)
    assert f"\nversion = {named}\n" in (ROOT / "setup.cfg").read_text()
    assert dino_jax.__version__ in (named, "unknown")  # unknown: not installed


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    called = set(re.findall(r"^make ([\w-]+)", "\n".join(blocks("sh")), flags=re.MULTILINE))
    assert {"quickstart", "test"} <= called
    for target in called:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_configs_exist() -> None:
    for config in set(re.findall(r"configs/\w+\.py", README)):
        assert (ROOT / config).exists(), config


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: pathlib.Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target
