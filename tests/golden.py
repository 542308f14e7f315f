"""Where the golden tensors lie, and the formula that rebuilds the weights they were made with."""

import json
import os
import pathlib
import zlib
from typing import Any

import numpy as np
import pytest

COMMITTED = pathlib.Path(__file__).parent / "parity" / "data"
OF_EVALUATION = pathlib.Path(__file__).parent / "parity" / "evals"  # complete copies
FOLDER = pathlib.Path(
    os.environ.get(
        "DINO_JAX_GOLDEN", pathlib.Path(__file__).parents[1] / ".." / "shared" / "golden"
    )
)
FORMULA = "formula"


def path(name: str) -> pathlib.Path:
    """Path of a golden file, of the committed part where the folder lacks it; else skip.

    The committed part serves only a folder of the same networks and the same formula, or none.
    """
    if (FOLDER / name).exists():
        return FOLDER / name
    if committed_serves():
        for folder in (COMMITTED, OF_EVALUATION):
            if (folder / name).exists():
                return folder / name
    pytest.skip(f"golden file {name} is not here (set DINO_JAX_GOLDEN to its folder)")


def committed_serves() -> bool:
    """Whether the folder is absent, or was made with the sizes and the prefix of the committed."""
    theirs, ours = FOLDER / "meta.json", COMMITTED / "meta.json"
    return not theirs.exists() or json.loads(theirs.read_text()) == json.loads(ours.read_text())


def arrays(name: str) -> dict[str, np.ndarray]:
    """Every array of one golden `.npz`; what the committed part leaves to the formula is rebuilt.

    The committed `.npz` says under `FORMULA`, for each such key, which function to call with what.
    """
    with np.load(path(name), allow_pickle=False) as file:
        stored = {key: file[key] for key in file}
    calls = json.loads(str(stored.pop(FORMULA, "{}")))
    return stored | {key: from_formula(call) for key, call in calls.items()}


def read_json(name: str) -> Any:
    """The content of one golden `.json`."""
    return json.loads(path(name).read_text())


def from_formula(call: dict[str, Any]) -> np.ndarray:
    """A parameter `{"weight": name, "shape": …, "norm_last_layer": …}` or an `{"input": …}`."""
    shape = tuple(call["shape"])
    if "input" in call:
        return inputs(call["input"], shape)
    return weight(call["weight"], shape, norm_last_layer=call["norm_last_layer"])


def meta() -> dict[str, Any]:
    """Sizes of the tiny ViT and head, and the prefix put before every key."""
    return read_json("meta.json")


def uniform(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The formula's u in [-1, 1), float64, by the flat C-order index and the prefixed key."""
    name = zlib.crc32((meta()["key_prefix"] + key).encode())
    h = np.arange(int(np.prod(shape)), dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(name)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    return ((h >> np.uint32(8)).astype(np.float64) / 2**23 - 1).reshape(shape)


def weight(key: str, shape: tuple[int, ...], *, norm_last_layer: bool = True) -> np.ndarray:
    """The value of one parameter or buffer by its state-dict name."""
    u = uniform(key, shape)
    if key.endswith(("running_mean", "num_batches_tracked")):
        value = np.zeros(shape)
    elif key.endswith("running_var"):
        value = np.ones(shape)
    elif key.endswith("weight_g"):
        value = np.ones(shape) if norm_last_layer else 1 + 0.25 * u
    elif key.endswith(".weight") and ("norm" in key or len(shape) == 1):
        value = 1 + 0.1 * u
    elif key.endswith(".bias"):
        value = 0.1 * u
    elif key.endswith(("pos_embed", "cls_token")):
        value = 0.2 * u
    else:
        value = u * np.sqrt(3 / np.prod(shape[1:]))
    return value.astype(np.float32)


def inputs(name: str, shape: tuple[int, ...], *, scale: float = 1.5) -> np.ndarray:
    """An input of the golden runs, by its name without the `input:` mark."""
    return (scale * uniform(f"input:{name}", shape)).astype(np.float32)


def relative_error(ours: Any, golden: Any) -> float:
    """The norm of the difference over the norm of the golden tensor, in float64."""
    ours, golden = np.asarray(ours, np.float64), np.asarray(golden, np.float64)
    if ours.shape != golden.shape:
        raise ValueError(f"shapes differ: ours {ours.shape}, golden {golden.shape}")
    norm = np.linalg.norm(golden)
    return float(np.linalg.norm(ours - golden) / (norm if norm else 1.0))
