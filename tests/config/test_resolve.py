"""Epochs into steps, what is picked, and the round trip to JSON."""

import copy
import dataclasses
import json

import pytest

from dino_jax.config import (
    Config,
    UserError,
    from_dict,
    get,
    leaves,
    needs_short_side,
    resolve,
    to_dict,
    validate,
)
from dino_jax.config.auto import AUTO_FIELDS, Facts, pick
from tests.config import recipes

NOT_PICKED = {
    "init_from", "data.val", "data.threads", "eval.knn_bank", "eval.knn_queries",
    "model.width", "model.depth", "model.heads", "loss.chunk",
}  # fmt: skip
"""Where None has a meaning of its own: none, all, or what another field names."""


def test_reference_run_has_the_reference_steps() -> None:
    """Reference 1.6: at batch 512 an epoch is 2502 steps, the warm-up ends after 25,020."""
    run = resolve(Config(), examples=1_281_167, platform="gpu", device_count=8)
    assert (run.steps_per_epoch, run.steps) == (2502, 250_200)
    assert (run.warmup_steps, run.freeze_steps) == (25_020, 2502)
    assert run.learning_rate == 0.001
    assert run.config.precision == "bfloat16"


@pytest.mark.parametrize("name", recipes.NAMES)
def test_recipe_validates_and_resolves(name: str) -> None:
    asked = recipes.load(name)
    before = copy.deepcopy(asked)
    validate(asked)
    run = recipes.resolved(name)
    assert asked == before
    assert run.config.precision == "float32"
    for path in leaves():
        assert (get(run.config, path) is not None) or path in NOT_PICKED, path
    again = resolve(run.config, examples=50_000, platform="cpu")
    assert dataclasses.replace(again, reasons=run.reasons) == run


@pytest.mark.parametrize("name", recipes.NAMES)
def test_recipe_survives_json(name: str) -> None:
    for config in (recipes.load(name), recipes.resolved(name).config):
        back = from_dict(json.loads(json.dumps(to_dict(config))))
        assert back == config
        for path in leaves():
            assert type(get(back, path)) is type(get(config, path)), path


def test_json_of_an_older_version_lacks_fields_of_a_wrong_one_has_strange_ones() -> None:
    assert from_dict({"seed": 3, "crops": {"ratio": [1, 2]}}).crops.ratio == (1.0, 2.0)
    with pytest.raises(UserError, match="no config field colour"):
        from_dict({"colour": 3})


@pytest.mark.parametrize("steps", [1, 137, 80_000])
@pytest.mark.parametrize("name", recipes.NAMES)
def test_steps_keep_every_share(name: str, steps: int) -> None:
    whole = recipes.resolved(name)
    part = recipes.resolved(name, f"steps={steps}")
    assert part.steps == part.config.steps == steps
    assert part.steps_per_epoch == whole.steps_per_epoch
    for field in ("warmup_steps", "freeze_steps"):
        share = getattr(whole, field) / whole.steps
        assert getattr(part, field) == pytest.approx(share * steps, abs=0.5 + steps / whole.steps)
    assert part.config.epochs == whole.config.epochs
    assert part.config.teacher == whole.config.teacher


def test_a_run_of_more_steps_than_can_be_counted_is_refused() -> None:
    asked = recipes.load("vit_s16", "epochs=1e6", "batch_size=8")
    assert resolve(asked, examples=17_000, platform="cpu").steps == 2_125_000_000
    with pytest.raises(
        UserError, match=r"epochs 1e\+06 of 2500 steps .* below 2\^31.*lower epochs"
    ):
        resolve(asked, examples=20_000, platform="cpu")
    whole = recipes.load("vit_s16", "epochs=1e6", "batch_size=8", "steps=5")
    assert resolve(whole, examples=20_000, platform="cpu").steps == 5


def test_intervals_follow_the_length_of_the_run() -> None:
    long = recipes.resolved("vit_s16", "precision=auto", examples=1_281_167).config
    assert (long.checkpoint_every, long.eval_every) == (10_008, 50_040)
    short = recipes.resolved("vit_s16", "steps=2", "batch_size=8").config
    assert (short.checkpoint_every, short.eval_every) == (2, 2)
    asked = recipes.resolved("vit_s16", "eval_every=7", "checkpoint_every=9").config
    assert (asked.checkpoint_every, asked.eval_every) == (9, 7)


def test_resize_is_the_protocols_share() -> None:
    assert recipes.resolved("vit_s16").config.eval.resize == 256
    assert recipes.resolved("vit_s16", "crops.global_size=112").config.eval.resize == 128


FEW = Facts(examples=200, short_side=900, platform="cpu", device_count=1)
CIFAR = Facts(examples=50_000, short_side=32, platform="gpu", device_count=1)
IMAGENET = Facts(examples=1_281_167, short_side=375, platform="gpu", device_count=8)
POD = Facts(examples=30, short_side=20, platform="tpu", device_count=256)


def picked(facts: Facts, *overrides: str) -> Config:
    config = recipes.load("auto", *overrides)
    reasons = pick(config, facts)
    assert len(reasons) == len(AUTO_FIELDS) - sum("=" in o for o in overrides)
    assert all("\n" not in reason for reason in reasons)
    return config


def test_auto_picks_the_reference_for_imagenet() -> None:
    config = picked(IMAGENET)
    assert (config.crops.global_size, config.crops.local_size) == (224, 96)
    assert (config.model.arch, config.model.patch_size) == ("vit_small", 16)
    assert (config.batch_size, config.epochs, config.head.prototypes) == (512, 100, 65536)
    teacher = config.teacher
    assert (teacher.momentum, teacher.temperature) == (0.996, 0.07)
    assert (teacher.warmup_temperature, teacher.warmup_temperature_epochs) == (0.04, 30)
    assert (config.optim.warmup_epochs, config.optim.freeze_last_layer_epochs) == (10, 1)


def test_auto_picks_small_for_small() -> None:
    config = picked(CIFAR)
    assert (config.crops.global_size, config.crops.local_size) == (32, 12)
    assert (config.model.patch_size, config.head.prototypes) == (4, 2048)
    few = picked(FEW)
    assert (few.crops.global_size, few.model.arch, few.head.prototypes) == (64, "vit_tiny", 1024)
    assert (few.teacher.momentum, few.teacher.temperature) == (0.99, 0.02)
    assert few.teacher.warmup_temperature == 0.02
    assert 4 <= few.batch_size <= 25


@pytest.mark.parametrize(
    ("arch", "facts", "patch", "sides"),
    [
        ("resnet50", IMAGENET, 32, (224, 96)),
        ("resnet50", FEW, 32, (64, 24)),
        ("resnet50", CIFAR, 32, (32, 16)),
        ("xcit_small_12", IMAGENET, 16, (224, 96)),
        ("xcit_medium_24", CIFAR, 8, (32, 16)),
    ],
)
def test_auto_follows_the_architecture(
    arch: str, facts: Facts, patch: int, sides: tuple[int, int]
) -> None:
    config = picked(facts, f"model.arch={arch}")
    assert config.model.patch_size == patch
    assert (config.crops.global_size, config.crops.local_size) == sides
    vit = picked(facts, "model.arch=vit_small", f"model.patch_size={16 if patch == 32 else patch}")
    assert config.batch_size == vit.batch_size


@pytest.mark.parametrize("facts", [FEW, CIFAR, IMAGENET])
def test_auto_resolves(facts: Facts) -> None:
    run = resolve(recipes.load("auto"), **facts._asdict())
    assert run.config.epochs <= 800
    assert run.warmup_steps <= 0.1 * run.steps + 1
    assert len(run.reasons) == len(AUTO_FIELDS)


def test_auto_batch_larger_than_the_data_is_the_users_to_solve() -> None:
    with pytest.raises(UserError, match="batch_size 256 is more than the 30 images"):
        resolve(recipes.load("auto"), **POD._asdict())
    assert (
        resolve(recipes.load("auto"), **FEW._replace(examples=3)._asdict()).config.batch_size == 2
    )


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("crops.global_size=160", "crops.global_size", 160),
        ("batch_size=24", "batch_size", 24),
        ("teacher.temperature=0.05", "teacher.temperature", 0.05),
        ("epochs=3", "epochs", 3.0),
    ],
)
def test_an_override_wins_and_the_other_picks_follow_it(
    override: str, path: str, value: float
) -> None:
    config = picked(FEW, override)
    assert get(config, path) == value
    validate(config)
    assert config.crops.global_size % config.model.patch_size == 0
    assert config.optim.warmup_epochs <= 0.1 * config.epochs


def test_any_recipe_may_leave_a_field_to_be_picked() -> None:
    asked = recipes.load("vit_s16", "head.prototypes=None")
    run = resolve(asked, examples=15_000, platform="cpu")
    assert run.config.head.prototypes == 1024
    assert run.reasons == ("head.prototypes = 1024: 15000 images",)


def test_image_size_is_asked_for_only_where_it_is_to_be_picked() -> None:
    assert needs_short_side(recipes.load("auto"))
    assert not needs_short_side(recipes.load("auto", "crops.global_size=64"))
    with pytest.raises(ValueError, match="pass short_side"):
        resolve(recipes.load("auto"), examples=10_000, platform="cpu")


def test_auto_leaves_every_field_that_can_be_picked() -> None:
    asked = recipes.load("auto")
    assert all(get(asked, path) is None for path in AUTO_FIELDS)
    assert all(leaves()[path].optional for path in AUTO_FIELDS)
