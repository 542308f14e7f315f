"""The pages hold together: links lead somewhere, names exist, the site has every page."""

import json
import pathlib
import re
import runpy

import pytest
import yaml

import dino_jax
from dino_jax.config.fields import find
from dino_jax.config.original import ORIGINAL_FLAGS
from tests.docs.pages import BLOCK, PAGES, ROOT, blocks, name

README = (ROOT / "README.md").read_text()
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
HOOKS = runpy.run_path(str(ROOT / "docs" / "hooks.py"))
UNREAD = ("cifar10/", "development/")
"""Pages of results and of developers, which nobody reads on from."""
LANGUAGES = {"sh", "python", "json", "text", "bibtex"}


def prose(page: pathlib.Path) -> str:
    """A page without its fenced blocks."""
    return BLOCK.sub("", page.read_text())


def documents() -> list[str]:
    """Pages of docs/ as the site calls them."""
    return [name(page).removeprefix("docs/") for page in PAGES if ROOT / "docs" in page.parents]


def listed(nav: object) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in listed(part)]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: pathlib.Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", prose(page)):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_fields_and_files_that_are_named_exist(page: pathlib.Path) -> None:
    text = prose(page)
    for path in re.findall(r"--config\.([a-z_]+(?:\.[a-z_]+)*)", text):
        assert path in ("FIELD", *ORIGINAL_FLAGS) or find(path), path
    for config in re.findall(r"configs/\w+\.py", text):
        assert (ROOT / config).exists(), config


def test_blocks_are_fenced_in_a_language_that_is_checked() -> None:
    for block in blocks():
        assert block.language in LANGUAGES, block.place
        if block.language == "json":
            json.loads(block.text)
    for page in PAGES:
        found = re.search(r"\n\n(    |\t)(\.venv/bin/)?python -m .*", prose(page))
        assert found is None, f"{name(page)}: fence it, so that it is checked: {found[0].strip()}"


def test_version_is_the_one_that_the_readme_names() -> None:
    [named] = re.findall(r"Version (\S+) \(`dino_jax.__version__`\)", README)
    assert f"\nversion = {named}\n" in (ROOT / "setup.cfg").read_text()
    assert dino_jax.__version__ in (named, "unknown")  # unknown: not installed


def test_the_site_has_every_page_once() -> None:
    nav = listed(SITE["nav"])
    assert len(nav) == len(set(nav))
    kept = [page for page in documents() if not page.startswith("cifar10/")]
    outside = {"CONTRIBUTING.md", "experiments/small_imagenette/README.md"}
    assert set(nav) - outside == set(kept)


@pytest.mark.parametrize("page", [p for p in documents() if not p.startswith(UNREAD)])
def test_a_page_says_what_is_next(page: str) -> None:
    assert "\n**Next:** " in (ROOT / "docs" / page).read_text()


def test_the_site_asks_no_other_host() -> None:
    assert SITE["theme"]["font"] is False
    assert "extra_javascript" not in SITE
    assert not any("://" in sheet for sheet in SITE["extra_css"])


def test_links_out_of_the_documents_lead_to_their_place_on_the_site() -> None:
    rewritten, linked = HOOKS["rewritten"], HOOKS["linked"]
    text = (
        "[k](../../benchmarks/results/knn.json) [r](../../README.md#parity) [w](https://a.b/c.md) "
        "[d](../cifar10)\n```sh\n[no](../../README.md)\n```\n[p](knn.md#x) ![i](tsne_images.png)"
    )
    assert rewritten("evaluation/knn.md", text) == (
        "[k](../benchmarks/results/knn.json) [r](../index.md#parity) [w](https://a.b/c.md) "
        "[d](../cifar10/files.md)\n```sh\n[no](../../README.md)\n```\n[p](knn.md#x) "
        "![i](tsne_images.png)"
    )
    assert list(linked("evaluation/knn.md", text)) == [
        "benchmarks/results/knn.json", "docs/cifar10",
    ]  # fmt: skip
    from_outside = "[r](../../docs/results.md) [t](table.md)"
    assert rewritten("experiments/small_imagenette/README.md", from_outside) == (
        "[r](../../results.md) [t](table.md)"
    )


def test_every_picture_of_the_gallery_has_the_command_that_made_it() -> None:
    text = (ROOT / "docs" / "gallery.md").read_text()
    pictures = text.split("\n![")[1:]
    assert len(pictures) >= 5
    assert all("\n```sh\n" in picture for picture in pictures)
