"""An ONNX graph in the making: operations, constants and weights, each named once."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dino_jax.config import UserError
from dino_jax.interop.network import Arrays

OPSET = 17
"""The first with LayerNormalization; any later one would shut out runtimes and gain nothing."""

IR_VERSION = 8
"""The file format that came with opset 17. The package's own default is its newest."""

BATCH = "batch"
"""The name of the axis of any length."""

LIMIT = 2**31 - 1
"""Bytes in one protobuf message."""


def require_onnx() -> Any:
    """The onnx package.

    Raises:
        UserError: it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise UserError("writing ONNX needs the onnx package: pip install onnx") from error
    return onnx


class Graph:
    """Nodes in order over the tensors of one backbone, which must all be used.

    `weights` are the tensors by their names without `backbone.`.
    """

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        self._onnx = require_onnx()
        self._weights = weights
        self._unused = set(weights)
        self._stored: Arrays = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._nodes: list[Any] = []

    def has(self, name: str) -> bool:
        """Whether the backbone has a tensor of this name."""
        return name in self._weights

    def take(self, name: str) -> np.ndarray:
        """A tensor of the backbone, float32.

        Raises:
            UserError: the backbone has none of this name.
        """
        if name not in self._weights:
            raise UserError(f"cannot write ONNX: the network has no tensor backbone.{name}")
        self._unused.discard(name)
        return np.asarray(self._weights[name], np.float32)

    def ignore(self, name: str) -> None:
        """Leave out a tensor that has no part in the outputs."""
        self._unused.discard(name)

    def store(self, name: str, value: np.ndarray) -> str:
        """Put a weight into the file under its own name.

        Raises:
            ValueError: there already is one of this name.
        """
        if name in self._stored:
            raise ValueError(f"two tensors of the graph are named {name}")
        # Not ascontiguousarray, which makes (1,) of a scalar's shape.
        self._stored[name] = np.asarray(value, order="C")
        return name

    def weight(self, name: str) -> str:
        """Put a tensor of the backbone into the file as it is."""
        return self.store(name, self.take(name))

    def constant(self, value: Sequence[int] | float) -> str:
        """A scalar float32 (rank 0), or a list of int64; equal ones are stored once."""
        kind = np.float32 if isinstance(value, float) else np.int64
        array = np.asarray(value, kind)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.store(f"constant_{len(self._constants)}", array)
        return self._constants[key]

    def op(self, kind: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """Add an operation with one output, called `out` or by its kind and number."""
        return self._node(kind, inputs, [out or f"{kind}_{len(self._nodes)}"], attributes)[0]

    def split(
        self, x: str, sizes: Sequence[int], *, axis: int, last: str | None = None
    ) -> list[str]:
        """Cut a tensor along one axis into pieces of these sizes; the last one may have a name."""
        names = [f"Split_{len(self._nodes)}_{index}" for index in range(len(sizes))]
        names[-1] = last or names[-1]
        return self._node("Split", [x, self.constant(sizes)], names, {"axis": axis})

    def reshape(self, x: str, *shape: int, out: str | None = None) -> str:
        """Reshape; 0 keeps the length of that axis, which is how the batch stays any."""
        return self.op("Reshape", x, self.constant(shape), out=out)

    def _node(
        self, kind: str, inputs: Sequence[str], outputs: list[str], attributes: dict[str, Any]
    ) -> list[str]:
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(
            self._onnx.helper.make_node(kind, list(inputs), outputs, name=name, **attributes)
        )
        return outputs

    def serialise(
        self,
        inputs: Mapping[str, Sequence[int]],
        outputs: Mapping[str, Sequence[int]],
        *,
        name: str,
        text: str,
        facts: Mapping[str, str],
    ) -> bytes:
        """The checked file; shapes are those behind the batch axis, everything float32.

        To be called once: the graph is empty afterwards.

        Raises:
            UserError: a tensor of the backbone found no place, or the file would be too large.
        """
        if self._unused:
            first = ", ".join(f"backbone.{name}" for name in sorted(self._unused)[:4])
            raise UserError(
                f"cannot write ONNX: {len(self._unused)} tensors of the network have no place in "
                f"the graph of a {name}: {first}"
            )
        size = sum(array.nbytes for array in self._stored.values())
        if size > LIMIT - 2**20:  # the nodes are a few hundred kB
            raise UserError(f"cannot write ONNX: {size} bytes of weights, but a file holds {LIMIT}")
        content = self._filled(inputs, outputs, name=name, text=text, facts=facts)
        self._onnx.checker.check_model(content, full_check=True)
        return content

    def _filled(
        self,
        inputs: Mapping[str, Sequence[int]],
        outputs: Mapping[str, Sequence[int]],
        *,
        name: str,
        text: str,
        facts: Mapping[str, str],
    ) -> bytes:
        """The file's bytes; the weights are handed over one by one, not held twice."""
        helper = self._onnx.helper
        kind = self._onnx.TensorProto.FLOAT
        declared = [
            [
                helper.make_tensor_value_info(key, kind, [BATCH, *shape])
                for key, shape in group.items()
            ]
            for group in (inputs, outputs)
        ]
        model = helper.make_model(
            helper.make_graph(self._nodes, name, *declared),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="dino_jax",
            doc_string=text,
        )
        helper.set_model_props(model, dict(facts))
        for key in list(self._stored):
            value = self._stored.pop(key)
            model.graph.initializer.append(self._onnx.numpy_helper.from_array(value, key))
        return bytes(model.SerializeToString(deterministic=True))
