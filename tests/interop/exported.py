"""Networks with weights of realistic scale, their ONNX files, and what runs those."""

import datetime as dt
import importlib.metadata
import json
import pathlib
import subprocess
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dino_jax.config import HeadConfig, ModelConfig
from dino_jax.interop.formats import onnx
from dino_jax.interop.network import Network, Weights
from dino_jax.interop.onnx.graph import IR_VERSION, OPSET
from dino_jax.models.build import Model, build
from dino_jax.models.naming import BACKBONE
from tests import golden

HEAD = HeadConfig(prototypes=8, hidden=8, bottleneck=8)
Size = tuple[int, int]


def value(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter by the formula of the golden tensors, or a statistic of a used network."""
    if name.endswith("num_batches_tracked"):
        return np.asarray(7, np.int64)
    if name.endswith("running_mean"):
        return (0.2 * golden.uniform(name, shape)).astype(np.float32)
    if name.endswith("running_var"):
        return (1 + 0.5 * golden.uniform(name, shape)).astype(np.float32)
    return golden.weight(name, shape)


def model_of(config: ModelConfig, size: int) -> Model:
    """The model of images of `size`²."""
    return build(config, HEAD, image_size=size)


def network_of(config: ModelConfig, size: int) -> Network:
    """A backbone of random weights, its position table that of `size`²."""
    declared = jax.eval_shape(model_of(config, size).init, jax.random.key(0))
    params, stats = (
        {name: value(name, leaf.shape) for name, leaf in group.items() if name.startswith(BACKBONE)}
        for group in declared
    )
    return Network(config, (size, size), params, stats)


def written(folder: pathlib.Path, network: Network, size: Size | None = None) -> pathlib.Path:
    """The ONNX file of a single network."""
    folder.mkdir(exist_ok=True)
    onnx.save(Weights({"teacher": network}, facts={"source": "formula"}), folder, size=size)
    return folder / onnx.MAIN


def session(path: pathlib.Path) -> Any:
    """Who runs the file, on two threads of the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def images(number: int, size: Size) -> np.ndarray:
    """Normalised images (number, 3, *size); the first ones are those of a smaller number."""
    return golden.inputs("onnx", (number, 3, *size))


class Difference(NamedTuple):
    """The norm of the difference over the norm, and its largest entry."""

    relative: float
    largest: float


def difference(theirs: np.ndarray, ours: Any) -> Difference:
    """How far an output is from ours."""
    ours = np.asarray(ours)
    return Difference(
        golden.relative_error(theirs, ours), float(np.abs(theirs - ours).max(initial=0.0))
    )


def differences(
    path: pathlib.Path, network: Network, model: Model, size: Size
) -> Mapping[str, Difference]:
    """Of `cls` and `patches` at a batch of 1 and of 7, from our features in float32."""
    pixels = images(7, size)
    features = jax.jit(model.features)
    ours = features(network.params | network.stats, jnp.asarray(pixels.transpose(0, 2, 3, 1)))
    runtime, found = session(path), {}
    for number in (1, 7):
        outputs = runtime.run(["cls", "patches"], {"images": pixels[:number]})
        for name, theirs in zip(("cls", "patches"), outputs, strict=True):
            whole = np.asarray(getattr(ours, name))
            found[f"{name}, batch {number}"] = difference(theirs, whole[:number])
    return found


HERE = pathlib.Path(__file__).parent
RESULT = HERE / "results" / "onnx.json"


def leave_result(name: str, sizes: Mapping[str, Any]) -> None:
    """Put what was found of one network into the result file, beside that of the others."""
    head = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(head, cwd=HERE, capture_output=True, text=True, check=False)
    packages = ("onnx", "onnxruntime", "jax", "numpy")
    networks = json.loads(RESULT.read_text())["networks"] if RESULT.exists() else {}
    networks[name] = {
        "commit": commit.stdout.strip() or "unknown",
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "opset": OPSET,
        "ir_version": IR_VERSION,
        "sizes": sizes,
    }
    command = "python -m pytest -m slow tests/interop/test_onnx.py"
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"command": command, "networks": networks}, indent=1) + "\n")
