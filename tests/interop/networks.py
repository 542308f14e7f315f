"""Networks with weights as a used network has them, and how two of them are compared."""

import pathlib
import zlib
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from dino_jax.config import HeadConfig, ModelConfig
from dino_jax.config.architectures import architecture_of
from dino_jax.interop.infer import filled, model_of
from dino_jax.interop.network import Arrays, Network, Weights
from dino_jax.interop.strict import expected_shapes, is_statistic
from dino_jax.models.vit import Features

VIT = ModelConfig(arch="vit_tiny", patch_size=8, width=32, depth=2, heads=4)
RESNET = ModelConfig(arch="resnet50")
XCIT = ModelConfig(arch="xcit_small_12", patch_size=8, width=32, depth=2, heads=4)
HEAD = HeadConfig(prototypes=24, hidden=20, bottleneck=12, layers=2)
Size = tuple[int, int]


def network(
    model: ModelConfig,
    size: Size = (224, 224),
    *,
    head: HeadConfig | None = None,
    classes: int = 0,
    inputs: int | None = None,
) -> Network:
    """A network of random weights; with `classes` it has a classifier of `inputs` features."""
    model = filled(model)
    shapes = expected_shapes(model, size, head, source="a test's network")
    held = {name: value(name, shape) for name, shape in shapes.items()}
    width = inputs or architecture_of(model).width
    classifier = {"weight": (classes, width), "bias": (classes,)} if classes else {}
    return Network(
        model,
        size,
        {name: tensor for name, tensor in held.items() if not is_statistic(name)},
        {name: tensor for name, tensor in held.items() if is_statistic(name)},
        head,
        {name: value(name, shape) for name, shape in classifier.items()},
    )


def weights(network: Network, **facts: Any) -> Weights:
    """That network alone."""
    return Weights({"teacher": network}, facts=facts)


def value(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values of the size they have after training, all but the counters far from how they begin.

    Norms scale by 0.5 to 1.5, biases reach ±0.5, and what batch norms counted is no unit normal.
    """
    draw = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return np.asarray(draw.integers(1, 1 << 31), np.int64)
    if name.endswith("weight_g"):
        return np.ones(shape, np.float32)
    if name.endswith(("running_var", "temperature")) or (
        len(shape) == 1 and not name.endswith(("bias", "running_mean"))
    ):
        return draw.uniform(0.5, 1.5, shape).astype(np.float32)
    if len(shape) == 1:
        return draw.uniform(-0.5, 0.5, shape).astype(np.float32)
    scale = 0.2 if name.endswith(("pos_embed", "cls_token")) else np.prod(shape[1:]) ** -0.5
    return (scale * draw.standard_normal(shape, np.float32)).astype(np.float32)


def features(one: Network, images: np.ndarray, **options: Any) -> Features:
    """What our model of the network says of normalised images (batch, height, width, channels)."""
    held = {
        name: jnp.asarray(tensor.astype(np.int32) if tensor.dtype.kind == "i" else tensor)
        for name, tensor in {**one.params, **one.stats}.items()
    }
    run = jax.jit(partial(model_of(one).features, **options))
    return cast(Features, run(held, jnp.asarray(images)))


def differences(found: Network, expected: Network) -> list[str]:
    """What is not the same to the bit, one line each."""
    lines = [
        f"{name}: {getattr(found, name)} != {getattr(expected, name)}"
        for name in ("model", "size", "head")
        if getattr(found, name) != getattr(expected, name)
    ]
    for group in ("params", "stats", "classifier"):
        ours, theirs = getattr(found, group), getattr(expected, group)
        lines += [f"{group}: {name} on one side" for name in ours.keys() ^ theirs.keys()]
        lines += [
            name for name in ours.keys() & theirs.keys() if not _same(ours[name], theirs[name])
        ]
    return lines


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    alike = (one.dtype, one.shape) == (other.dtype, other.shape)
    return alike and one.flags.c_contiguous and one.tobytes() == other.tobytes()


def same_tensors(found: Arrays, expected: Arrays) -> bool:
    """Whether both hold the same names and, to the bit, the same values."""
    return found.keys() == expected.keys() and all(
        _same(np.asarray(found[name]), np.asarray(expected[name])) for name in expected
    )


def names_in(folder: pathlib.Path) -> list[str]:
    """The names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir())
