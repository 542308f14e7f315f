"""What README.md says can be done: its Python runs, and what it names exists."""

import pathlib
import re
import runpy

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_python_block_trains(tmp_path: pathlib.Path) -> None:
    [source] = blocks("python")
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
