"""Reads an ONNX file into a layer graph: validated first, constants folded, the rest lowered or refused by name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from encoders.builder import MAX_ELEMENTS, GraphBuilder, View, checked_size
from encoders.errors import ModelError, UnsupportedOperatorError
from encoders.graph import Graph
from encoders.onnx_operators import OPERATORS, Call, Value, split_parts

OLDEST_OPSET = 7
DROPPED_AT_THE_END = {"Softmax", "LogSoftmax", "ArgMax", "Identity", "Flatten", "Squeeze", "Cast"}
CLASS_KEEPING = {"Softmax", "LogSoftmax", "ArgMax"}
WEIGHT_TYPES = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.INT8}
MAY_GROW = {"ConstantOfShape", "Expand", "Tile", "Pad", "Range", "Resize", "Upsample", "OneHot", "EyeLike"}


@dataclass(frozen=True, eq=False)
class Parsed:
    """A model file as read: the graph, and where in the file its input and its scores are."""

    graph: Graph
    proto: onnx.ModelProto
    input_name: str
    feed_shape: tuple[int, ...]  # as onnxruntime is to be fed one sample
    batched: bool  # whether the leading dimension may take any size
    double: bool
    scores_name: str


@dataclass(frozen=True)
class Description:
    """What a model file holds."""

    operators: tuple[tuple[str, int], ...]
    layers: int
    relus: int
    parameters: int
    opset: int
    input_name: str
    input_shape: tuple[int, ...]
    output_name: str
    classes: int | None
    notes: tuple[str, ...]
    unsupported: tuple[str, ...]
    neurons: int = 0  # of a quantised network, in all layers


def read(path: str | Path) -> Graph:
    """The layer graph of an ONNX file."""
    return parse(path).graph


def parse(path: str | Path) -> Parsed:
    """The layer graph and the validated model itself; raises on the first thing it cannot take."""
    reading = Reading(Path(path))
    reading.walk()
    if reading.refused:
        first = reading.refused[0]
        more = f" (and {len(reading.refused) - 1} more; see plumbline inspect)" if len(reading.refused) > 1 else ""
        raise UnsupportedOperatorError(f"{path}: {first}{more}")
    return reading.finish()


def describe(path: str | Path) -> Description:
    """What a file holds and what of it is not supported, node by node."""
    reading = Reading(Path(path))
    reading.walk()
    found = reading.described()
    if reading.refused:
        return replace(found, unsupported=tuple(reading.refused))
    graph = reading.finish().graph
    layers = sum(1 for node in graph.nodes[1:] if node.sources)
    return replace(found, layers=layers, relus=graph.relu_count, classes=graph.classes, notes=graph.notes)


class Reading:
    """One file being read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.proto = self._load()
        self.opset = next((o.version for o in self.proto.opset_import if o.domain in ("", "ai.onnx")), 0)
        if self.opset < OLDEST_OPSET:
            raise ModelError(f"{path}: opset {self.opset} is too old; convert the model to opset 17 and try again")
        self.constants = {t.name: numpy_helper.to_array(t) for t in self.proto.graph.initializer}
        self.refused: list[str] = []
        self.notes: list[str] = []
        self._find_input()
        self.builder = GraphBuilder(self.feed_shape, self.input_name)
        self.values: dict[str, Value] = {**self.constants, self.input_name: self.builder.input}
        self.scores_name = self._scores_name()

    def described(self) -> Description:
        """What the file says of itself, before its nodes are given a meaning."""
        return Description(
            operators=tuple(sorted(Counter(node.op_type for node in self.proto.graph.node).items())),
            layers=0,
            relus=0,
            parameters=sum(int(np.prod(t.dims)) for t in self.proto.graph.initializer if t.data_type in WEIGHT_TYPES),
            opset=self.opset,
            input_name=self.input_name,
            input_shape=self.input_shape,
            output_name=self.proto.graph.output[0].name,
            classes=None,
            notes=(),
            unsupported=(),
        )

    # -- validation -----------------------------------------------------------------------------------------------

    def _load(self) -> onnx.ModelProto:
        path = self.path
        if not path.is_file():
            raise ModelError(f"{path}: no such model file")
        try:
            proto = onnx.load(str(path), load_external_data=False)
        except (DecodeError, ValueError, OSError) as error:
            raise ModelError(f"{path}: not a readable ONNX file ({_first_line(error)})") from None
        if not proto.graph.node or not proto.graph.output:
            raise ModelError(f"{path}: not an ONNX model: it holds no nodes or no outputs; is the file complete?")
        for tensor in _all_tensors(proto):
            self._check_tensor(tensor)
        try:
            onnx.load_external_data_for_model(proto, str(path.parent))
            onnx.checker.check_model(proto)
        except (onnx.checker.ValidationError, ValueError, OSError, RuntimeError) as error:
            raise ModelError(f"{path}: the ONNX checker refuses it: {_first_line(error)}") from None
        return proto

    def _check_tensor(self, tensor: onnx.TensorProto) -> None:
        """Refuse what lies about its size or points out of the model's folder, before anything is allocated."""
        size = 1
        for extent in tensor.dims:
            size *= int(extent)
        where = f"{self.path}: tensor {tensor.name!r} of shape {tuple(tensor.dims)}"
        if size > MAX_ELEMENTS or any(extent < 0 for extent in tensor.dims):
            raise ModelError(f"{where} is larger than the {MAX_ELEMENTS} entries allowed")
        external = {entry.key: entry.value for entry in tensor.external_data}
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            folder = self.path.parent.resolve()
            target = (folder / external.get("location", "")).resolve()
            if not target.is_relative_to(folder):
                raise ModelError(f"{where} points to {external.get('location')!r}, outside the model's folder")
            if not target.is_file():
                raise ModelError(f"{where} lies in {external.get('location')!r}, which is missing")
            have = target.stat().st_size - int(external.get("offset", 0))
            itemsize = int(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize)
            if have < size * itemsize:
                raise ModelError(f"{where} needs {size * itemsize} bytes; {target.name} holds {max(have, 0)}")
            return
        if tensor.data_type == onnx.TensorProto.STRING:
            return
        try:
            numpy_helper.to_array(tensor)
        except (ValueError, TypeError, RuntimeError) as error:
            raise ModelError(f"{where} does not hold as many values as it declares ({_first_line(error)})") from None

    def _find_input(self) -> None:
        inputs = [i for i in self.proto.graph.input if i.name not in self.constants]
        if len(inputs) != 1:
            names = ", ".join(i.name for i in inputs) or "none"
            raise ModelError(f"{self.path}: one input is supported; this model has {len(inputs)} ({names})")
        if len(self.proto.graph.output) != 1:
            names = ", ".join(o.name for o in self.proto.graph.output)
            raise ModelError(f"{self.path}: one output is supported; this model has several ({names})")
        tensor = inputs[0].type.tensor_type
        if tensor.elem_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
            kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
            raise ModelError(f"{self.path}: input {inputs[0].name!r} is {kind}; FLOAT and DOUBLE are supported")
        dims = [int(d.dim_value) if d.HasField("dim_value") and d.dim_value > 0 else None for d in tensor.shape.dim]
        shown = [d.dim_param or str(d.dim_value) for d in tensor.shape.dim]
        if any(d is None for d in dims[1:]):
            raise ModelError(
                f"{self.path}: input {inputs[0].name!r} has the shape [{', '.join(shown)}]; only the leading (batch) "
                "dimension may be left open: export the model with fixed sizes"
            )
        self.input_name = inputs[0].name
        self.double = tensor.elem_type == onnx.TensorProto.DOUBLE
        self.batched = bool(dims) and dims[0] is None
        self.feed_shape = tuple(1 if d is None else d for d in dims)
        checked_size(self.feed_shape, f"{self.path}: input {self.input_name!r}")
        leads = len(dims) > 1 and self.feed_shape[0] == 1
        self.input_shape = self.feed_shape[1:] if leads or self.batched else self.feed_shape
        if len(dims) in (2, 4) and not leads:
            raise ModelError(
                f"{self.path}: input {self.input_name!r} takes {self.feed_shape[0]} samples at a time; export the "
                "model with a batch size of 1 or an open one"
            )

    def _scores_name(self) -> str:
        """The tensor that holds the class scores: the output, or what a trailing Softmax or ArgMax reads."""
        makers = {name: node for node in self.proto.graph.node for name in node.output}
        name = scores = str(self.proto.graph.output[0].name)
        while name in makers and makers[name].op_type in DROPPED_AT_THE_END:
            node = makers[name]
            name = str(node.input[0])
            if node.op_type in CLASS_KEEPING:
                scores = name
                self.notes.append(
                    f"the trailing {node.op_type} is left out: it does not change which class comes first"
                )
        return scores

    # -- lowering -------------------------------------------------------------------------------------------------

    def walk(self) -> None:
        """Lower every node that the scores depend on; what is not supported is collected in `refused`."""
        for node in self.needed():
            inputs = [self.values.get(name) if name else None for name in node.input]
            if any(name and name not in self.values for name in node.input):
                continue  # it reads from a node that was refused
            try:
                outputs = self._lower(node, inputs)
            except UnsupportedOperatorError as error:
                self.refused.append(str(error))
                continue
            except ModelError as error:
                raise ModelError(f"{self.path}: {error}") from None
            except (ValueError, IndexError, KeyError, TypeError) as error:  # shapes or attributes that contradict
                where = f"node {node.name or node.output[0]!r} ({node.op_type})"
                raise ModelError(f"{self.path}: {where} is malformed: {_first_line(error)}") from None
            self.values.update(zip(node.output, outputs, strict=False))

    def finish(self) -> Parsed:
        scores = self.values.get(self.scores_name)
        if not isinstance(scores, View):
            raise ModelError(f"{self.path}: the output does not depend on the input {self.input_name!r}")
        graph = self.builder.finish(scores, self.input_shape, tuple(self.notes))
        return Parsed(graph, self.proto, self.input_name, self.feed_shape, self.batched, self.double, self.scores_name)

    def needed(self) -> list[onnx.NodeProto]:
        wanted, kept = {self.scores_name}, []
        for node in reversed(self.proto.graph.node):
            if wanted.intersection(node.output):
                kept.append(node)
                wanted.update(name for name in node.input if name)
        return kept[::-1]

    def _lower(self, node: onnx.NodeProto, inputs: list[Value | None]) -> list[Value]:
        attributes = {a.name: attribute_of(a) for a in node.attribute}
        call = Call(node, self.opset, inputs, attributes, self.builder)
        if node.domain not in ("", "ai.onnx"):
            raise call.unsupported(f"its operator set {node.domain!r} is unknown; export with standard operators")
        if node.op_type == "Shape" and isinstance(inputs[0], View):
            whole = np.array(inputs[0].shape, dtype=np.int64)
            return [whole[attributes.get("start", 0) : attributes.get("end")]]
        if not any(isinstance(value, View) for value in inputs):
            return self.folded(call)
        if node.op_type == "Split":
            return split_parts(call)
        if node.op_type not in OPERATORS:
            raise call.unsupported(
                "no exact piecewise-linear form is known for it; replace it by a supported operator or drop it"
            )
        return [OPERATORS[node.op_type](call)]

    def folded(self, call: Call) -> list[Value]:
        """A node that reads only constants, computed by ONNX's own reference evaluator."""
        node = call.node
        if any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute):
            raise call.unsupported("control flow is not; export the model without it")
        if node.op_type in MAY_GROW:
            sizes = [
                np.asarray(v).reshape(-1) for v in call.inputs if v is not None and np.asarray(v).dtype == np.int64
            ]
            for size in sizes:
                if size.size and float(np.prod(np.abs(size.astype(np.float64)))) > MAX_ELEMENTS:
                    raise ModelError(f"{call.name}: makes a tensor of more than the {MAX_ELEMENTS} entries allowed")
        known = {name: v for name, v in zip(node.input, call.inputs, strict=True) if name}
        sides = [
            onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(np.asarray(v).dtype), None)
            for n, v in known.items()
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
        try:
            graph = onnx.helper.make_graph([node], "constants", sides, outputs)
            model = onnx.helper.make_model(graph, opset_imports=self.proto.opset_import)
            found: Any = ReferenceEvaluator(model).run(None, known)
        except Exception as error:  # whatever the evaluator raises, the node is named
            raise ModelError(f"{call.name}: its constant inputs cannot be evaluated ({_first_line(error)})") from None
        return [np.asarray(value) for value in found]


def attribute_of(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def _all_tensors(proto: onnx.ModelProto) -> list[onnx.TensorProto]:
    held = [a.t for node in proto.graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
    return [*proto.graph.initializer, *held]


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
