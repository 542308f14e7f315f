"""The recipes of full fine-tuning: those of the authors, and a small one."""

import dataclasses
from collections.abc import Mapping

from dino_jax.config import UserError
from dino_jax.config.protocol_options import FinetuneOptions
from dino_jax.data.randaugment import parse_policy
from dino_jax.ops.mixing import FILLS

NONE = "none"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One way of training on labels; the defaults are DeiT's, as DINO's authors used them.

    Issue 31 of the original: ImageNet by DeiT's training, base rate 0.0005, a smaller classifier
    to begin with. The fields are told in `config.protocols.FinetuneOptions`.
    """

    epochs: float = 300.0
    batch_size: int = 1024
    optimiser: str = "adamw"
    learning_rate: float = 5e-4
    rate_of: int = 512
    warmup_rate: float = 1e-6
    final_rate: float = 1e-5
    warmup_epochs: float = 5.0
    weight_decay: float = 0.05
    clip: float = 0.0
    layer_decay: float = 1.0
    drop_path: float = 0.1
    head_scale: float = 0.001
    smoothing: float = 0.1
    mixup: float = 0.8
    cutmix: float = 1.0
    mix_probability: float = 1.0
    switch: float = 0.5
    mix_group: int = 64
    randaugment: str = "rand-m9-mstd0.5-inc1"
    jitter: float = 0.0
    least_area: float = 0.08
    flip: float = 0.5
    erasing: float = 0.25
    fill: str = "pixel"
    repeats: int = 3
    ema: float = 0.99996

    @property
    def peak_rate(self) -> float:
        """The learning rate after the warm-up."""
        return self.learning_rate * self.batch_size / self.rate_of

    @property
    def groups(self) -> int:
        """Into how many groups, each mixed by one draw, a batch falls."""
        return self.batch_size // self.mix_group if self.mix_group else 1


_TRANSFER = Recipe(epochs=1000, batch_size=768, rate_of=768, erasing=0.0, head_scale=1.0, ema=0.0)
_SGD = dataclasses.replace(
    _TRANSFER,
    optimiser="sgd",
    learning_rate=0.01,
    weight_decay=1e-4,
    drop_path=0.0,
)
RECIPES: Mapping[str, Recipe] = {
    "imagenet": Recipe(),
    # The floor of DeiT, 1e-5, would lie above these rates.
    "cifar10": dataclasses.replace(_TRANSFER, learning_rate=7.5e-6, final_rate=1e-6),
    "cifar100": dataclasses.replace(_TRANSFER, learning_rate=5e-6, final_rate=1e-6),
    "inat": Recipe(learning_rate=5e-5, head_scale=1.0),
    "flowers": _SGD,
    "cars": _SGD,
    "small": Recipe(
        epochs=60,
        batch_size=64,
        learning_rate=5e-4,
        rate_of=64,
        head_scale=1.0,
        clip=1.0,
        drop_path=0.05,
        mixup=0.2,
        cutmix=0.5,
        mix_probability=0.5,
        mix_group=0,
        randaugment="rand-m6-mstd0.5-inc1",
        least_area=0.25,
        erasing=0.0,
        repeats=1,
        ema=0.0,
    ),
}
"""By name. What the authors said: issues 31, 81, 144 and 171 of the original, 45 of DeiT."""

_RANGES: Mapping[str, tuple[float, float]] = {
    "warmup_epochs": (0, float("inf")), "clip": (0, float("inf")), "layer_decay": (1e-6, 1),
    "drop_path": (0, 0.999), "head_scale": (0, float("inf")), "smoothing": (0, 0.999),
    "mixup": (0, float("inf")), "cutmix": (0, float("inf")), "mix_probability": (0, 1),
    "switch": (0, 1), "jitter": (0, 1), "flip": (0, 1), "erasing": (0, 1),
    "ema": (0, 0.9999999), "least_area": (1e-6, 1),
    "learning_rate": (0, float("inf")), "warmup_rate": (0, float("inf")),
    "final_rate": (0, float("inf")), "weight_decay": (0, float("inf")), "repeats": (1, 1000),
    "mix_group": (0, float("inf")), "batch_size": (1, float("inf")), "rate_of": (1, float("inf")),
}  # fmt: skip


def recipe_of(options: FinetuneOptions) -> Recipe:
    """The named recipe with every option that was given in its place.

    Raises:
        UserError: no such recipe, or a value out of its range.
    """
    if options.recipe not in RECIPES:
        raise UserError(f"--recipe={options.recipe}: expected one of {', '.join(RECIPES)}")
    names = [field.name for field in dataclasses.fields(Recipe)]
    given = {name: getattr(options, name) for name in names}
    found = dataclasses.replace(
        RECIPES[options.recipe], **{k: v for k, v in given.items() if v is not None}
    )
    _check(found)
    return found


def _check(recipe: Recipe) -> None:
    for name, (low, high) in _RANGES.items():
        value = getattr(recipe, name)
        if not low <= value <= high:
            limit = f"{low:g} or more" if high == float("inf") else f"{low:g} to {high:g}"
            raise UserError(f"{_flag(name)}={value}: expected {limit}")
    if not recipe.epochs > 0:
        raise UserError(f"--epochs={recipe.epochs:g}: expected more than 0")
    if recipe.warmup_epochs > recipe.epochs:
        raise UserError(
            f"--epochs={recipe.epochs:g} with --warmup-epochs={recipe.warmup_epochs:g}: the "
            f"warm-up is longer than the run; add --warmup-epochs={recipe.epochs / 2:g}, say"
        )
    if recipe.optimiser not in ("adamw", "sgd", "lars"):
        raise UserError(f"--optimiser={recipe.optimiser}: expected adamw, sgd or lars")
    if recipe.fill not in FILLS:
        raise UserError(f"--fill={recipe.fill}: expected one of {', '.join(FILLS)}")
    if recipe.mix_group and recipe.batch_size % recipe.mix_group:
        raise UserError(
            f"--batch-size={recipe.batch_size} is not divisible by --mix-group="
            f"{recipe.mix_group}: set it to a multiple, or --mix-group=0 for one group"
        )
    if recipe.randaugment != NONE:
        parse_policy(recipe.randaugment)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def described(recipe: Recipe) -> str:
    """The recipe in a line, for the log and the report."""
    told = dataclasses.asdict(recipe)
    return ", ".join(f"{name.replace('_', ' ')} {_said(value)}" for name, value in told.items())


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return "-".join(map(_said, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
