"""Small networks with every tensor away from its initial value, for round trips."""

import dataclasses
import functools
import json

import numpy as np

from dino_jax.config import HeadConfig, ModelConfig
from dino_jax.interop.infer import filled
from dino_jax.interop.network import MOMENTS, Network, Optimiser, Weights
from dino_jax.interop.optimiser import SCALE
from dino_jax.interop.strict import expected_shapes, is_statistic

TINY = ModelConfig(arch="vit_tiny", patch_size=16, depth=1)
RESNET = ModelConfig(arch="resnet50")
XCIT = ModelConfig(arch="xcit_small_12", patch_size=16, width=64, depth=1, heads=4)
HEAD = HeadConfig(prototypes=12, hidden=8, bottleneck=4)


@functools.cache
def _shapes(what: str) -> dict[str, tuple[int, ...]]:
    model, size, head = json.loads(what)
    known = head and HeadConfig(**head)
    return expected_shapes(ModelConfig(**model), tuple(size), known, source="a test")


def network(
    model: ModelConfig = TINY,
    head: HeadConfig | None = HEAD,
    *,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
    classes: int = 0,
) -> Network:
    """A network of random tensors; position tables are of `size`."""
    model = filled(model)
    size = size if model.arch.startswith("vit") else (224, 224)
    random = np.random.default_rng(seed)
    held = {}
    for name, shape in _shapes(json.dumps([vars(model), size, head and vars(head)])).items():
        if name.endswith("num_batches_tracked"):
            held[name] = np.asarray(random.integers(1, 1000))
        else:
            held[name] = random.normal(size=shape).astype(np.float32)
        if name.endswith("running_var"):
            held[name] = np.abs(held[name])
        if head is not None and name == SCALE and head.norm_last_layer:
            held[name] = np.ones(shape, np.float32)
    width = 2048 if model.arch == "resnet50" else model.width
    classifier = {
        "weight": random.normal(size=(classes, width or 0)).astype(np.float32),
        "bias": random.normal(size=classes).astype(np.float32),
    }
    return Network(
        model=model,
        size=size,
        params={name: held[name] for name in held if not is_statistic(name)},
        stats={name: held[name] for name in held if is_statistic(name)},
        head=None if head is None else dataclasses.replace(head),
        classifier=classifier if classes else {},
    )


def optimiser(of: Network, name: str = "adamw", *, frozen: bool = False) -> Optimiser:
    """An optimiser's state of a network; a frozen last layer has been stepped less often."""
    random = np.random.default_rng(7)
    fixed = of.head is not None and of.head.norm_last_layer
    trained = {key: value for key, value in of.params.items() if not (fixed and key == SCALE)}
    if frozen:
        trained = {key: value for key, value in trained.items() if "last_layer" not in key}
    moments = {
        moment: {
            key: np.abs(random.normal(size=value.shape)).astype(np.float32)
            for key, value in trained.items()
        }
        for moment in MOMENTS[name].values()
    }
    steps = {key: 7 if "last_layer" in key else 10 for key in trained} if name == "adamw" else {}
    return Optimiser(name, steps, moments)


def run(
    model: ModelConfig = TINY, head: HeadConfig = HEAD, *, optimiser_name: str = "adamw"
) -> Weights:
    """What a checkpoint of a run holds."""
    student, teacher = network(model, head, seed=1), network(model, head, seed=2)
    centre = np.random.default_rng(3).normal(size=(1, head.prototypes)).astype(np.float32)
    return Weights(
        networks={"student": student, "teacher": teacher},
        centre=centre,
        epoch=7,
        optimiser=optimiser(student, optimiser_name),
        facts={"source": "a test", "steps": 70, "scores": {"knn": 0.5}},
    )


def alike(one: Weights, other: Weights) -> None:
    """Assert that two are the same bit for bit, in everything but where they came from."""
    assert set(one.networks) == set(other.networks)
    for name, mine in one.networks.items():
        theirs = other.networks[name]
        assert (mine.model, mine.size, mine.head) == (theirs.model, theirs.size, theirs.head), name
        for field in ("params", "stats", "classifier"):
            same(getattr(mine, field), getattr(theirs, field))
    assert one.epoch == other.epoch
    same({"centre": one.centre}, {"centre": other.centre})
    assert (one.optimiser is None) == (other.optimiser is None)
    if one.optimiser is not None and other.optimiser is not None:
        assert one.optimiser.name == other.optimiser.name
        assert one.optimiser.steps == other.optimiser.steps
        assert set(one.optimiser.moments) == set(other.optimiser.moments)
        for moment, held in one.optimiser.moments.items():
            same(held, other.optimiser.moments[moment])


def same(mine: dict, theirs: dict) -> None:
    """Assert that two dictionaries hold the same bytes of the same types and shapes."""
    assert set(mine) == set(theirs)
    for name, array in mine.items():
        other = theirs[name]
        if array is None:
            assert other is None, name
            continue
        assert array.dtype == other.dtype, name
        assert array.shape == other.shape, name
        assert array.tobytes() == other.tobytes(), name
