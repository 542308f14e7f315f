"""The pages name every field and every flag, as they are."""

import pathlib
import re

import pytest

from dino_jax.config import Config, compare, kinds, leaves, set_value
from dino_jax.config.auto import AUTO_FIELDS
from dino_jax.config.fields import from_text
from dino_jax.config.original import ORIGINAL_FLAGS
from tests.config import recipes

DOCS = pathlib.Path(__file__).parents[2] / "docs"

# The released runs in the original's own flags (reference 1.12), batch over all devices.
CROPS = "--global_crops_scale 0.25,1 --local_crops_scale 0.05,0.25 --local_crops_number 10"
CONVOLUTIONAL = "--global_crops_scale 0.14,1 --local_crops_scale 0.05,0.14"
SMALL = (
    "--batch_size_per_gpu 1024 --epochs 800 --min_lr 1e-5 --clip_grad 0 --norm_last_layer false "
    f"--teacher_temp 0.07 --warmup_teacher_temp_epochs 30 --use_fp16 float32 {CROPS}"
)
BOOSTED = (
    "--batch_size_per_gpu 1024 --epochs 300 --teacher_temp 0.07 --warmup_teacher_temp_epochs 30 "
    "--norm_last_layer false"
)
RELEASED = {
    "vit_s16": SMALL,
    "vit_s8": f"{SMALL} --patch_size 8",
    "vit_b16": (
        "--arch vit_base --batch_size_per_gpu 1024 --epochs 400 --lr 0.00075 --min_lr 2e-6 "
        "--clip_grad 0.3 --freeze_last_layer 3 --teacher_temp 0.07 "
        f"--warmup_teacher_temp_epochs 50 --use_fp16 float32 {CROPS}"
    ),
    "vit_b8": (
        "--arch vit_base --patch_size 8 --batch_size_per_gpu 1056 --epochs 300 --min_lr 2e-6 "
        "--freeze_last_layer 3 --warmup_teacher_temp 0.03 --teacher_temp 0.07 "
        f"--warmup_teacher_temp_epochs 50 --use_fp16 float32 {CROPS}"
    ),
    "vit_s16_100ep": "--batch_size_per_gpu 512 --epochs 100",
    "vit_s16_300ep": BOOSTED,
    "vit_s16_gldv2": BOOSTED,
    "vit_ti16": "--arch vit_tiny --batch_size_per_gpu 512 --epochs 100",
    "resnet50": (
        "--arch resnet50 --optimizer lars --lr 0.2 --min_lr 0.0048 --weight_decay 1e-4 "
        "--weight_decay_end 1e-6 --clip_grad 0 --out_dim 60000 --use_bn_in_head true "
        "--teacher_temp 0.07 --warmup_teacher_temp_epochs 50 --use_fp16 float32 "
        f"--batch_size_per_gpu 4080 --epochs 800 {CONVOLUTIONAL} --local_crops_number 6"
    ),
    "resnet50_100ep": (
        "--arch resnet50 --optimizer sgd --lr 0.03 --weight_decay 1e-4 --weight_decay_end 1e-4 "
        f"--batch_size_per_gpu 512 --epochs 100 {CONVOLUTIONAL}"
    ),
}


def rows(page: str) -> list[list[str]]:
    lines = (DOCS / page).read_text().splitlines()
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if "|" in line
    ]


def shown(value: object) -> str:
    return ",".join(map(repr, value)) if isinstance(value, tuple) else str(value)


def test_configuration_page_lists_every_field_as_it_is() -> None:
    told = {row[0].strip("| "): row[1:3] for row in rows("configuration.md") if "`" in row[0]}
    truth = {
        f"`{path}`": [f"`{shown(leaf.default)}`", kind + (" *" if path in AUTO_FIELDS else "")]
        for (path, leaf), kind in zip(leaves().items(), kinds().values(), strict=True)
    }
    assert told == truth


def test_from_the_original_names_every_flag_and_a_field_that_is() -> None:
    told = {}
    for row in rows("from_the_original.md"):
        if found := re.fullmatch(r"\|?\s*`--(\w+)`", row[0]):
            told[found[1]] = row[2].strip("`")
    assert told.keys() == ORIGINAL_FLAGS.keys()
    for flag, field in ORIGINAL_FLAGS.items():
        assert told[flag] == (field or {"output_dir": "--workdir"}.get(flag, "none"))
        assert field is None or field in leaves()


def test_defaults_are_the_originals() -> None:
    for row in rows("from_the_original.md"):
        flag = re.fullmatch(r"\|?\s*`--(\w+)`", row[0])
        field = flag and ORIGINAL_FLAGS[flag[1]]
        if field in (None, "precision", "batch_size", "data.train", "checkpoint_every"):
            continue
        if field == "data.workers":
            continue
        theirs, ours = row[1].strip("`"), leaves()[str(field)].default
        if isinstance(ours, tuple):
            assert tuple(map(float, theirs.split())) == ours
        elif isinstance(ours, bool):
            assert theirs == str(ours).lower()
        elif isinstance(ours, str):
            assert theirs == ours
        else:
            assert float(theirs) == ours, field


@pytest.mark.parametrize("name", RELEASED)
def test_released_recipe_is_the_defaults_with_the_released_flags(name: str) -> None:
    config, expected = recipes.load(name), Config()
    words = RELEASED[name].split()
    for flag, text in zip(words[::2], words[1::2], strict=True):
        path = str(ORIGINAL_FLAGS[flag[2:]])
        set_value(expected, path, from_text(path, text))
    assert {change.path for change in compare(expected, config)} <= {"data.train", "data.val"}


@pytest.mark.parametrize("name", recipes.NAMES)
def test_docstring_says_where_from_how_and_what_comes_of_it(name: str) -> None:
    text = (recipes.FOLDER / f"{name}.py").read_text().split('"""')[1]
    for line in ("Paper: ", "Hardware: ", "Command: ", "Expected: "):
        assert re.search(f"^{line}", text, flags=re.MULTILINE), line
    assert f"configs/{name}.py" in text or name == "quickstart"
