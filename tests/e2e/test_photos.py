"""A folder of a user's own photographs: mixed sizes, no labels, one of them corrupt."""

import json
import pathlib

import pytest

from tests.config.recipes import FOLDER
from tests.data.images import encoded, write_folder
from tests.e2e.command import figures, leave_result, photograph, train

NUMBER = 200
SIZES = ((96, 144), (150, 100), (64, 64), (121, 87), (90, 200))
SMALL = (
    "steps=14", "log_every=2", "eval_every=14", "devices=1",
    "model.width=16", "model.depth=1", "model.heads=2", "head.hidden=32", "head.prototypes=32",
)  # fmt: skip


def folder(root: pathlib.Path, *, corrupt: int) -> str:
    """Photographs in two nested heaps, one of them cut off in the middle of the file."""
    files = {}
    for i in range(NUMBER):
        suffix, name = (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"))[i % 3]
        heap = "2019/summer" if i % 2 else "2024"
        content = encoded(photograph(i, *SIZES[i % len(SIZES)]), suffix)
        files[f"{heap}/img_{i:03}.{name}"] = (
            content[: len(content) // 3] if i == corrupt else content
        )
    return f"folder:{write_folder(root, files)}"


def test_one_override_trains_and_the_corrupt_file_is_named_once(tmp_path: pathlib.Path) -> None:
    spec = folder(tmp_path / "photos", corrupt=57)
    ended = train(tmp_path / "run", f"data.train={spec}", *SMALL, config=FOLDER / "auto.py")
    assert ended.code == 0
    assert ended.err.count("img_057") == 1
    assert "batch_size = 16: " in ended.err  # what was picked is said
    lines = figures(tmp_path / "run")
    assert [line["step"] for line in lines] == [*range(0, 15, 2)]
    assert "view_retrieval_top1" in lines[-1]
    assert "knn_top1" not in lines[-1]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["unreadable_images"] == ["2019/summer/img_057.jpg"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_recipe_as_it_is(tmp_path: pathlib.Path) -> None:
    """The networks and sizes that auto.py picks, for one epoch of them."""
    spec = folder(tmp_path / "photos", corrupt=57)
    ended = train(tmp_path / "run", f"data.train={spec}", "steps=12", config=FOLDER / "auto.py")
    assert ended.code == 0
    assert ended.err.count("img_057") == 1
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    leave_result(
        "auto_on_200_photographs",
        "tests/e2e/test_photos.py",
        unreadable_images=summary["unreadable_images"],
        steps=summary["steps"],
        seconds=summary["seconds"],
    )
