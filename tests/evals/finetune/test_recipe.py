"""Recipes, the options over them, and the learning rates of layers."""

import dataclasses
import math

import pytest

from dino_jax.config import ModelConfig, UserError
from dino_jax.config.architectures import architecture_of
from dino_jax.config.protocol_options import FinetuneOptions
from dino_jax.evals.finetune.layers import depth_of, rate_factors
from dino_jax.evals.finetune.recipe import RECIPES, Recipe, described, recipe_of
from dino_jax.interop.strict import expected_shapes, is_statistic
from tests.interop import networks


def test_the_authors_rates() -> None:
    """Issue 31: 0.001 at 1024; issues 81 and 144; issue 171: 5e-5 before scaling by 512."""
    peaks = {name: recipe.peak_rate for name, recipe in RECIPES.items()}
    assert peaks["imagenet"] == pytest.approx(0.001)
    assert (peaks["cifar10"], peaks["cifar100"]) == pytest.approx((7.5e-6, 5e-6))
    assert peaks["inat"] == pytest.approx(1e-4)
    assert peaks["flowers"] == peaks["cars"] == pytest.approx(0.01)
    doubled = recipe_of(FinetuneOptions(batch_size=2048))
    assert doubled.peak_rate == pytest.approx(0.002)


def test_options_replace_what_the_recipe_says() -> None:
    plain = recipe_of(FinetuneOptions(recipe="cifar10"))
    assert plain == RECIPES["cifar10"]
    changed = recipe_of(FinetuneOptions(recipe="cifar10", epochs=3, warmup_epochs=0, mixup=0))
    assert changed == dataclasses.replace(plain, epochs=3, warmup_epochs=0, mixup=0)
    assert "mixup 0.8" in described(plain)
    assert recipe_of(FinetuneOptions()) == Recipe()


def test_every_field_of_a_recipe_is_an_option_and_every_recipe_is_sound() -> None:
    options = {field.name: field for field in dataclasses.fields(FinetuneOptions)}
    assert {field.name for field in dataclasses.fields(Recipe)} <= set(options)
    assert set(options["recipe"].metadata["choices"]) == set(RECIPES)
    for name in RECIPES:
        assert recipe_of(FinetuneOptions(recipe=name)) == RECIPES[name]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"recipe": "mnist"}, "--recipe=mnist: expected one of imagenet"),
        ({"epochs": 0}, "--epochs=0"),
        ({"epochs": 2, "warmup_epochs": 3}, "--warmup-epochs=3"),
        ({"recipe": "small", "epochs": 2}, "longer than the run; add --warmup-epochs=1, say"),
        ({"optimiser": "adam"}, "--optimiser=adam: expected adamw, sgd or lars"),
        ({"smoothing": 1.2}, "--smoothing=1.2: expected 0 to 0.999"),
        ({"layer_decay": 0}, "--layer-decay=0"),
        ({"learning_rate": float("nan")}, "--learning-rate=nan: expected 0 or more"),
        ({"fill": "black"}, "--fill=black: expected one of pixel"),
        ({"batch_size": 100}, "--batch-size=100 is not divisible by --mix-group=64"),
        ({"randaugment": "auto"}, "--randaugment=auto"),
        ({"least_area": 0}, "--least-area=0"),
    ],
)
def test_mistakes_are_named(options: dict, said: str) -> None:
    with pytest.raises(UserError, match=said.replace("(", r"\(")):
        recipe_of(FinetuneOptions(**options))


XCIT = ModelConfig(arch="xcit_small_12", patch_size=8)
MODELS = (ModelConfig(), networks.RESNET, XCIT)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.arch)
def test_every_parameter_has_a_layer(model: ModelConfig) -> None:
    shapes = expected_shapes(model, (224, 224), None, source="a test's")
    names = [name for name in shapes if not is_statistic(name)]
    names += ["classifier.weight", "classifier.bias"]
    sizes = architecture_of(model)
    factors = rate_factors(names, sizes, 0.5)
    assert set(factors) == set(names)
    assert factors["classifier.weight"] == 1
    assert min(factors.values()) == 0.5 ** depth_of(sizes)
    assert set(rate_factors(names, sizes, 1.0).values()) == {1.0}
    layers = {round(-math.log2(factor)) for factor in factors.values()}
    assert layers == set(range(depth_of(sizes) + 1)), "no layer is left out"


def test_the_layers_of_a_vit_are_its_blocks() -> None:
    sizes = architecture_of(ModelConfig())
    names = ["backbone.pos_embed", "backbone.cls_token", "backbone.patch_embed.proj.bias"]
    names += ["backbone.blocks.1.norm1.weight", "backbone.blocks.11.attn.qkv.weight"]
    names += ["backbone.norm.weight"]
    factors = rate_factors(names, sizes, 0.75)
    assert list(factors.values()) == pytest.approx([0.75**13] * 3 + [0.75**11, 0.75, 1.0])
    with pytest.raises(ValueError, match=r"no rule covers backbone\.register"):
        rate_factors(["backbone.register"], sizes, 0.75)
