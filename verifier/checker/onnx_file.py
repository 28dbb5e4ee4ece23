"""A model file as a `Network`: the walk over its graph ("The network's reading" of docs/reference/proof-format.md).

Refusing is always right and misreading never, so whatever is not known here, an operator, an attribute, an element
type or an opset, is refused by name. A file's constants stay the float64 and int64 numbers that they are: they are
moved, never computed with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, numpy_helper

from verifier.checker.errors import UncheckableError
from verifier.checker.graph import Constant, Graph, Operation, Tensor, Wire
from verifier.checker.network import Network
from verifier.checker.operators import OPERATORS, SOFTMAX

OPSETS = range(7, 25)
QUANTISED = (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32)  # of levels and weights, and their sums
FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
TYPED = ("float_data", "double_data", "int32_data", "int64_data", "uint64_data", "string_data")
ATTRIBUTES = {
    AttributeProto.INT: "i",
    AttributeProto.FLOAT: "f",
    AttributeProto.STRING: "s",
    AttributeProto.TENSOR: "t",
    AttributeProto.INTS: "ints",
    AttributeProto.FLOATS: "floats",
}


def read_network(data: bytes, external: Mapping[str, bytes]) -> Network:
    """The network that a model file describes; external data by the names under which the file refers to it."""
    with readable():
        return Reading(data, external).network()


@contextmanager
def readable() -> Iterator[None]:
    """Whatever a file holds, `UncheckableError` alone is raised while it is read."""
    try:
        yield
    except (ValueError, IndexError, TypeError, KeyError, OverflowError) as error:
        raise UncheckableError(f"the model holds what has no meaning ({' '.join(str(error).split())[:200]})") from None


class Reading:
    """One walk over a file's graph; `names` holds what is known so far."""

    types: tuple[int, ...] = (*FLOATS, TensorProto.INT64, TensorProto.BOOL)  # of constants
    others: tuple[tuple[str, str], ...] = ()  # operators of other domains than ONNX's

    def __init__(self, data: bytes, external: Mapping[str, bytes]) -> None:
        try:
            model = onnx.ModelProto.FromString(data)
        except Exception as error:  # protobuf's own, which is no class of onnx
            raise UncheckableError(f"the model is no ONNX file ({type(error).__name__})") from None
        self.proto, self.external = model.graph, external
        self.opset = _opset(model)
        if model.functions or model.training_info or model.graph.sparse_initializer:
            raise UncheckableError("the model holds local functions, training or sparse initializers, not known here")
        self.names: dict[str, Tensor] = {}
        self.graph = Graph(self.opset)

    def network(self) -> Network:
        """The whole graph."""
        scores = self.walk()
        return self.graph.network(self.graph.flat(scores))

    def walk(self) -> Wire:
        """From the input to the class scores."""
        for tensor in self.proto.initializer:
            self._name(tensor.name, self._constant(tensor))
        inputs = [one for one in self.proto.input if one.name not in self.names]
        if len(inputs) != 1 or len(self.proto.output) != 1:
            raise UncheckableError("the model has not exactly one input and one output")
        self._name(inputs[0].name, self.input(inputs[0]))
        end = self.proto.output[0].name
        for node in self.proto.node:
            operation = self._operation(node)
            if node.op_type in SOFTMAX and operation.outputs == (end,):
                self._name(end, self._without_softmax(operation))
                self.names = {end: self.names[end]}  # nothing may read it, or come after it
                continue
            found = self.apply(operation)
            operation.done()
            self._name(operation.outputs[0], found)
        scores = self.names.get(end)
        if not isinstance(scores, Wire):
            raise UncheckableError("the model's output is no function of its input")
        if scores.places.size != max(scores.places.shape, default=1):
            raise UncheckableError(f"the output has the shape {scores.places.shape}, no list of class scores")
        return scores

    def input(self, declared: onnx.ValueInfoProto) -> Wire:
        """The model's input."""
        return self.graph.input(_shape(declared))

    def apply(self, operation: Operation) -> Tensor:
        """What a node of the file makes of what it reads."""
        if operation.kind not in OPERATORS:
            raise UncheckableError(f"{operation}: the operator is not known here")
        return OPERATORS[operation.kind](self.graph, operation)

    def _name(self, name: str, found: Tensor) -> None:
        if not name or name in self.names:
            raise UncheckableError(f"the name {name[:80]!r} is given to two tensors, or to none")
        self.names[name] = found

    def _without_softmax(self, operation: Operation) -> Wire:
        """The class scores before a Softmax over all of them."""
        wire = operation.wire(0)
        shape = wire.places.shape
        axis = operation.integer("axis", -1 if self.opset >= 13 else 1)
        operation.done()
        if not -len(shape) <= axis < len(shape):
            raise UncheckableError(f"{operation}: axis {axis} of {len(shape)} dimensions")
        together = shape[axis] if self.opset >= 13 else int(np.prod(shape[axis:]))
        if together != wire.places.size:
            raise UncheckableError(f"{operation}: it does not run over all of the output")
        return wire

    def _operation(self, node: onnx.NodeProto) -> Operation:
        where = f"{node.op_type[:40]} {node.name[:80] or node.output[0][:80] if node.output else ''}"
        if (node.domain not in ("", "ai.onnx") and (node.domain, node.op_type) not in self.others) or node.overload:
            raise UncheckableError(f"{where}: the operator is of the domain {node.domain[:40]!r}, not known here")
        inputs: list[Tensor | None] = []
        for name in node.input:
            if name and name not in self.names:
                raise UncheckableError(f"{where}: it reads {name[:80]!r}, which nothing before it gives")
            inputs.append(self.names[name] if name else None)
        attributes: dict[str, Any] = {}
        for one in node.attribute:
            if one.name in attributes or one.ref_attr_name or one.type not in ATTRIBUTES:
                raise UncheckableError(f"{where}: its attribute {one.name[:40]!r} is not known here")
            found = getattr(one, ATTRIBUTES[one.type])
            if isinstance(found, TensorProto):
                found = self._constant(found)
            attributes[one.name] = found if isinstance(found, int | float | bytes | np.ndarray) else list(found)
        return Operation(where, node.op_type, tuple(inputs), tuple(node.output), attributes)

    def _constant(self, tensor: onnx.TensorProto) -> Constant:
        """A tensor of the file as float64 or int64, exactly; those of quantised models as they are."""
        if tensor.data_type not in self.types:
            raise UncheckableError(f"the constant {tensor.name[:80]!r} has an element type that is not known here")
        if tensor.HasField("segment") or (tensor.raw_data and any(getattr(tensor, kind) for kind in TYPED)):
            raise UncheckableError(f"the constant {tensor.name[:80]!r} holds its numbers twice, or in segments")
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor = self._loaded(tensor)
        array = np.asarray(numpy_helper.to_array(tensor))
        if tensor.data_type in QUANTISED:
            return array
        if tensor.data_type not in FLOATS:
            return array.astype(np.int64)
        found: NDArray[np.float64] = array.astype(np.float64)
        if not np.isfinite(found).all():
            raise UncheckableError(f"the constant {tensor.name[:80]!r} holds an infinity, or what is no number")
        return found

    def _loaded(self, tensor: onnx.TensorProto) -> onnx.TensorProto:
        """A tensor with its numbers from external data."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        unknown = set(entries) - {"location", "offset", "length", "checksum"}
        if unknown or len(entries) < len(tensor.external_data) or entries.get("location") not in self.external:
            raise UncheckableError(f"the constant {tensor.name[:80]!r} lies in a file that the proof does not name")
        data = self.external[entries["location"]]
        start = _size(entries.get("offset", "0"))
        length = _size(entries["length"]) if "length" in entries else len(data) - start
        if start + length > len(data):
            raise UncheckableError(f"the constant {tensor.name[:80]!r} reaches beyond its file's end")
        found = onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
        found.raw_data = data[start : start + length]
        return found


def _size(text: str) -> int:
    if re.fullmatch("[0-9]{1,18}", text) is None:
        raise UncheckableError("external data at a place that is no number")
    return int(text)


def _opset(model: onnx.ModelProto) -> int:
    found = [one.version for one in model.opset_import if one.domain in ("", "ai.onnx")]
    if len(found) != 1 or found[0] not in OPSETS:
        raise UncheckableError(f"opsets {OPSETS.start} to {OPSETS.stop - 1} are known here, the model has {found}")
    return int(found[0])


def _shape(declared: onnx.ValueInfoProto) -> tuple[int, ...]:
    """The input's shape, in which the batch counts as 1."""
    if declared.type.tensor_type.elem_type not in FLOATS:
        raise UncheckableError("the input's element type is not known here")
    dimensions = declared.type.tensor_type.shape.dim
    sizes = [one.dim_value if one.HasField("dim_value") else 0 for one in dimensions]
    if not sizes or sizes[0] not in (0, 1) or any(one < 1 for one in sizes[1:]):
        raise UncheckableError("the input's first dimension is no batch of 1 or any size, or another one is not fixed")
    return (1, *sizes[1:])
