"""One node of a file with what it reads: what every operator is given, and how it refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from encoders.arrays import FloatArray
from encoders.errors import ModelError, UnsupportedOperatorError
from encoders.layer_graph.builder import GraphBuilder, View

Array = NDArray[Any]
Value = View | Array


@dataclass(frozen=True, eq=False)
class Call:
    """One node of the file, its inputs, and its attributes with ONNX's own defaults for the file's opset."""

    node: onnx.NodeProto
    opset: int
    inputs: list[Value | None]
    attributes: Mapping[str, Any]
    build: GraphBuilder
    double: bool = False  # whether the file computes in float64

    @property
    def name(self) -> str:
        return node_name(self.node)

    def view(self, k: int = 0) -> View:
        """Input k, which depends on the network's input."""
        value = self.inputs[k] if k < len(self.inputs) else None
        if value is None:
            raise ModelError(f"{self.name}: its input {k} is missing")
        if not isinstance(value, View):
            raise self.unsupported(f"its input {self.node.input[k]!r} is a constant")
        return value

    def maybe(self, k: int) -> Array | None:
        """Input k as a constant; None where it is left out."""
        value = self.inputs[k] if k < len(self.inputs) else None
        if isinstance(value, View):
            raise self.unsupported(f"its input {self.node.input[k]!r} depends on the network's input")
        return value

    def constant(self, k: int) -> Array:
        """Input k as a constant."""
        value = self.maybe(k)
        if value is None:
            raise ModelError(f"{self.name}: its input {k} is missing")
        return value

    def weights(self, k: int) -> FloatArray:
        """A constant input as float64; NaN and infinity are refused."""
        value = np.array(self.constant(k), dtype=np.float64)
        if not np.isfinite(value).all():
            raise ModelError(
                f"{self.name}: tensor {self.node.input[k]!r} holds NaN or infinite values; repair the model file"
            )
        return value

    def constants(self) -> dict[str, Array]:
        """All constant inputs by name."""
        pairs = zip(self.node.input, self.inputs, strict=False)
        return {name: value for name, value in pairs if name and isinstance(value, np.ndarray)}

    def unsupported(self, why: str) -> UnsupportedOperatorError:
        """The error that refuses this node."""
        inputs = ", ".join(self.node.input)
        return UnsupportedOperatorError(f"{self.name} with inputs [{inputs}] is not supported: {why}")


Operator = Callable[[Call], Value | tuple[Value, ...]]
"""What an operator makes of its inputs: its output, or all of its outputs."""


def node_name(node: onnx.NodeProto) -> str:
    """How a node is named in errors."""
    output = next((name for name in node.output if name), "")
    return f"node {node.name or output!r} ({node.op_type})"


def attributes_of(node: onnx.NodeProto, opset: int) -> dict[str, Any]:
    """A node's attributes; those left out have the defaults of the file's opset, as the numbers that ONNX means.

    ONNX's defaults are float32 numbers: 0.01 stands for 0.00999999977648…
    """
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        raise UnsupportedOperatorError(
            f"{node_name(node)} is not supported: opset {opset} knows no such operator"
        ) from None
    found = {
        name: _value(attribute.default_value)
        for name, attribute in schema.attributes.items()
        if attribute.default_value.type != onnx.AttributeProto.UNDEFINED
    }
    return {**found, **{a.name: _value(a) for a in node.attribute}}


def _value(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value
