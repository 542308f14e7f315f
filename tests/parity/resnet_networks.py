"""The tiny ResNet of the golden tensors, as ours; its weights, statistics, inputs and steps."""

import functools
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dino_jax.config import HeadConfig, ModelConfig
from dino_jax.config.architectures import ARCHITECTURES, Architecture
from dino_jax.models.backbone import Backbone, build_backbone
from dino_jax.models.build import Model, build
from dino_jax.types import Params, Stats
from tests import golden

FOLDER = pathlib.Path(__file__).parent / "backbones"
META = json.loads((FOLDER / "meta.json").read_text())
SIZES = [tuple(size) for size in META["sizes"]]
PLANES, STAGES = META["resnet"]["planes"], META["resnet"]["layers"]


@functools.cache
def arrays(name: str) -> dict[str, np.ndarray]:
    """Every array of one committed file."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file}


def model_config(patch: pytest.MonkeyPatch) -> ModelConfig:
    """A name for the tiny sizes: a configuration can set a ResNet's width alone."""
    assert PLANES == [4, 8, 16, 32]
    sizes = Architecture("resnet", 128, sum(STAGES), 0, stages=tuple(STAGES))
    patch.setitem(ARCHITECTURES, "tiny_resnet", sizes)
    return ModelConfig(arch="tiny_resnet")


def backbone() -> Backbone:
    with pytest.MonkeyPatch.context() as patch:
        config = model_config(patch)
        return build_backbone(
            config, image_size=META["global_size"], dtype=jnp.float32, drop_path=0.1
        )


def network(*, batch_norm: bool = False, **options: Any) -> Model:
    """With drop path, which it leaves out as the original does."""
    head = HeadConfig(
        prototypes=META["prototypes"],
        hidden=META["head"]["hidden_dim"],
        bottleneck=META["head"]["bottleneck_dim"],
        batch_norm=batch_norm,
    )
    with pytest.MonkeyPatch.context() as patch:
        config = model_config(patch)
        return build(config, head, image_size=META["global_size"], drop_path=0.1, **options)


def filled(made: Backbone | Model, prefix: str = "", *, used: bool = False) -> tuple[Params, Stats]:
    """Parameters by the formula; statistics as they begin, or `used` ones for evaluation."""
    params, stats = jax.eval_shape(made.init, jax.random.key(0))

    def statistic(name: str, leaf: Any) -> np.ndarray:
        if not used:
            return golden.weight(name, leaf.shape)
        if name.endswith("num_batches_tracked"):
            return np.asarray(7)
        u = golden.uniform(name, leaf.shape)
        return 0.2 * u if name.endswith("running_mean") else 1 + 0.5 * u

    return (
        {k: jnp.asarray(golden.weight(prefix + k, leaf.shape)) for k, leaf in params.items()},
        {k: jnp.asarray(statistic(prefix + k, leaf), leaf.dtype) for k, leaf in stats.items()},
    )


def images(name: str, batch: int, height: int, width: int) -> jax.Array:
    """An input of the golden runs, NHWC."""
    x = golden.inputs(f"{META['input_tag']['resnet']}_{name}", (batch, 3, height, width))
    return jnp.asarray(np.moveaxis(x, 1, -1))


def crops(step: int) -> list[jax.Array]:
    """The crops of one step, batch-major: views, then local crops."""
    return [
        jnp.stack(
            [images(f"tr{step}_{mark}{i}", META["batch"], side, side) for i in range(count)], axis=1
        )
        for mark, count, side in (
            ("g", META["views"], META["global_size"]),
            ("l", META["locals"], META["local_size"]),
        )
    ]


def crop_major(x: jax.Array) -> np.ndarray:
    """(B, n, …) as the original lays it out: crop by crop."""
    x = np.asarray(x)
    return x.swapaxes(0, 1).reshape(-1, *x.shape[2:])


def assert_statistics(ours: dict[str, Any], wanted: dict[str, Any]) -> None:
    """The same names; values within 1e-5, counters exact."""
    assert set(ours) == set(wanted)
    for name, value in wanted.items():
        if name.endswith("num_batches_tracked"):
            assert int(ours[name]) == int(value), name
        else:
            assert golden.relative_error(ours[name], value) <= 1e-5, name


def statistics_of(run: dict[str, np.ndarray], step: int, role: str) -> dict[str, Any]:
    """Those after one of five steps, out of the vectors they lie in."""
    values = np.split(run[f"{step}/{role}_stats"], np.cumsum(run["stats_sizes"])[:-1])
    counts = zip(run["tracked_names"], run[f"{step}/{role}_tracked"], strict=True)
    return dict(zip(map(str, run["stats_names"]), values, strict=True)) | {
        str(name): count for name, count in counts
    }
