"""Reads an ONNX file into a layer graph: constants computed by onnxruntime, operators lowered or refused by name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from encoders.errors import ModelError, UnsupportedOperatorError
from encoders.layer_graph.builder import GraphBuilder, View, checked_size
from encoders.layer_graph.graph import Graph
from encoders.onnx.class_scores import (
    MONOTONE,
    Tail,
    check_output,
    score_threshold,
    tail_of,
    why_not_left_out,
    with_threshold,
)
from encoders.onnx.model_file import ModelFile, first_line, read_model_file
from encoders.onnx.movement import check_growth
from encoders.onnx.node import Array, Call, Value, attributes_of, node_name
from encoders.onnx.operators import operator_for
from encoders.onnx.runtime import ExecutionError, run_node

OLDEST_OPSET = 7
WEIGHT_TYPES = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.INT8}
RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
CONTROL = {"If", "Loop", "Scan"}


@dataclass(frozen=True, eq=False)
class Step:
    """One node of the file as it was read: the graph nodes that were appended for it, and its outputs as views."""

    node: onnx.NodeProto
    first: int
    outputs: tuple[tuple[str, View], ...]


@dataclass(frozen=True, eq=False)
class Parsed:
    """A model file as read: the graph, and where in the file its input and its scores are."""

    graph: Graph
    file: ModelFile
    input_name: str
    feed_shape: tuple[int, ...]  # as onnxruntime is to be fed one sample
    batched: bool  # whether the leading dimension may take any size
    double: bool
    scores_name: str
    output_name: str
    threshold: float | None = None  # of the scores tensor: a Sigmoid that was left out is accounted for
    left_out: tuple[str, ...] = ()  # operators at the end
    rounding: tuple[str, ...] = ()  # those of them that round where they are executed
    builder: GraphBuilder | None = None  # with every node, before neighbours were merged
    steps: tuple[Step, ...] = ()

    @property
    def proto(self) -> onnx.ModelProto:
        return self.file.proto


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
    files: tuple[tuple[str, str], ...] = ()


def read(path: str | Path) -> Graph:
    """The layer graph of an ONNX file."""
    return parse(read_model_file(Path(path))).graph


def parse(file: ModelFile, output: str | None = None, threshold: float | None = None) -> Parsed:
    """The layer graph and the validated model itself; raises on the first thing it cannot take."""
    reading = Reading(file, output, threshold)
    reading.walk()
    if reading.refused:
        first = reading.refused[0]
        more = f" (and {len(reading.refused) - 1} more; see plumbline inspect)" if len(reading.refused) > 1 else ""
        raise UnsupportedOperatorError(f"{file.path}: {first}{more}")
    return reading.finish()


def describe(file: ModelFile, output: str | None = None, threshold: float | None = None) -> Description:
    """What a file holds and what of it is not supported, node by node."""
    reading = Reading(file, output, threshold)
    reading.walk()
    found = reading.described()
    if reading.refused:
        return replace(found, unsupported=tuple(reading.refused))
    graph = reading.finish().graph
    layers = sum(1 for node in graph.nodes[1:] if node.sources)
    return replace(found, layers=layers, relus=graph.relu_count, classes=graph.classes, notes=graph.notes)


class Reading:
    """One file being read."""

    def __init__(self, file: ModelFile, output: str | None = None, threshold: float | None = None) -> None:
        self.file, self.path, self.proto = file, file.path, file.proto
        self.threshold = threshold
        opsets = {o.version for o in self.proto.opset_import if o.domain in ("", "ai.onnx")}
        if len(opsets) > 1:
            told = " and ".join(map(str, sorted(opsets)))
            raise ModelError(f"{self.path}: it imports opsets {told} at once; export it with one opset")
        self.opset = max(opsets, default=0)
        if self.opset < OLDEST_OPSET:
            raise ModelError(f"{self.path}: opset {self.opset} is too old; convert the model to opset 17 and try again")
        if self.proto.graph.sparse_initializer:
            raise ModelError(f"{self.path}: it holds sparse initializers; export it with dense ones")
        self.constants: dict[str, Array] = {t.name: numpy_helper.to_array(t) for t in self.proto.graph.initializer}
        self.refused: list[str] = []
        self.notes: list[str] = []
        self.steps: list[Step] = []
        self._find_input()
        self.output_name = check_output(self.proto, self.path, output)
        self.builder = GraphBuilder(self.feed_shape, self.input_name)
        self.values: dict[str, Value] = {**self.constants, self.input_name: self.builder.input}
        self.tail: Tail = tail_of(self.proto, self.output_name)
        self.scores_name = self.tail.scores

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
            output_name=self.output_name,
            classes=None,
            notes=(),
            unsupported=(),
            files=self.file.files,
        )

    def _find_input(self) -> None:
        inputs = [i for i in self.proto.graph.input if i.name not in self.constants]
        if len(inputs) != 1:
            names = ", ".join(i.name for i in inputs) or "none"
            raise ModelError(f"{self.path}: one input is supported; this model has {len(inputs)} ({names})")
        tensor = inputs[0].type.tensor_type
        if tensor.elem_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
            kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
            raise ModelError(f"{self.path}: input {inputs[0].name!r} is {kind}; FLOAT and DOUBLE are supported")
        if not tensor.HasField("shape"):
            raise ModelError(f"{self.path}: input {inputs[0].name!r} has no shape; export the model with one")
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

    # -- lowering -------------------------------------------------------------------------------------------------

    def walk(self) -> None:
        """Lower every node that the scores depend on; what is not supported is collected in `refused`."""
        for node in self.needed():
            if any(name and name not in self.values for name in node.input):
                if not self.refused:
                    missing = next(name for name in node.input if name and name not in self.values)
                    raise ModelError(f"{self.path}: {node_name(node)} reads {missing!r}, which nothing makes")
                continue  # it reads from a node that was refused
            inputs = [self.values.get(name) if name else None for name in node.input]
            first = len(self.builder.nodes)
            try:
                outputs = self._lower(node, inputs)
            except UnsupportedOperatorError as error:
                self.refused.append(str(error))
                continue
            except ModelError as error:
                raise ModelError(f"{self.path}: {error}") from None
            except (ValueError, IndexError, KeyError, TypeError) as error:  # shapes or attributes that contradict
                raise ModelError(f"{self.path}: {node_name(node)} is malformed: {first_line(error)}") from None
            named = dict(zip([name for name in node.output if name], outputs, strict=False))
            self.values.update(named)
            views = tuple((name, value) for name, value in named.items() if isinstance(value, View))
            if views:
                self.steps.append(Step(node, first, views))
        scores = self.values.get(self.scores_name)
        if isinstance(scores, View):
            self.check_tail(scores)

    def check_tail(self, scores: View) -> None:
        """A tail that is not proven to keep the classes' order is refused."""
        if not self.tail.nodes:
            return

        def shape_after(node: onnx.NodeProto, shape: tuple[int, ...]) -> tuple[int, ...]:
            probe: list[Value | None] = [self.builder.zeros(shape)]
            probe += [self.values.get(name) for name in node.input[1:]]
            found = operator_for(self.call(node, probe))(self.call(node, probe))
            return found[0].shape if isinstance(found, tuple) else found.shape

        why = why_not_left_out(self.tail, scores.shape, self.opset, shape_after)
        if why is None and self.threshold is not None and self.tail.kinds != MONOTONE:
            ends = " and ".join(self.tail.kinds)
            why = f"a threshold is for a model that ends in one score or its Sigmoid, not in {ends}"
        if why is not None:
            self.refused.append(why)
            return
        told = " and ".join(self.tail.kinds)
        self.notes.append(f"the trailing {told} is left out: it does not change which class comes first")

    def finish(self) -> Parsed:
        """The graph, once every node was given a meaning."""
        scores = self.values.get(self.scores_name)
        if not isinstance(scores, View):
            raise ModelError(f"{self.path}: the output does not depend on the input {self.input_name!r}")
        threshold = None
        if self.threshold is not None:
            if scores.index.size != 1:
                raise ModelError(
                    f"{self.path}: it has {scores.index.size} scores; a threshold is for a model with one output"
                )
            through = self.tail.kinds == MONOTONE
            threshold = score_threshold(self.threshold, through)
            scores = with_threshold(self.builder, scores, self.threshold, through)
        try:
            graph = self.builder.finish(scores, self.input_shape, tuple(self.notes))
        except ModelError as error:
            raise ModelError(f"{self.path}: {error}") from None
        return Parsed(
            graph, self.file, self.input_name, self.feed_shape, self.batched, self.double, self.scores_name,
            self.output_name, threshold, self.tail.kinds, self.tail.rounding, self.builder, tuple(self.steps),
        )  # fmt: skip

    def needed(self) -> list[onnx.NodeProto]:
        """The nodes that the scores depend on, in the file's order."""
        wanted, kept = {self.scores_name, *self.tail.parameters}, []
        for node in reversed(self.proto.graph.node):
            if wanted.intersection(node.output):
                kept.append(node)
                wanted.update(name for name in node.input if name)
        return kept[::-1]

    def call(self, node: onnx.NodeProto, inputs: list[Value | None]) -> Call:
        """A node with what it reads; refused at once where its answer is not a function of that alone."""
        if node.domain not in ("", "ai.onnx"):
            raise UnsupportedOperatorError(
                f"{node_name(node)} is not supported: its operator set {node.domain!r} is unknown; export with "
                "standard operators"
            )
        call = Call(node, self.opset, inputs, attributes_of(node, self.opset), self.builder, self.double)
        if node.op_type in RANDOM:
            raise call.unsupported("it is random: two runs of the file give two networks")
        if node.op_type in CONTROL:
            raise call.unsupported("control flow is not; export the model without it")
        training = call.attributes.get("training_mode", 0)
        if node.op_type == "Dropout" and len(inputs) > 2 and inputs[2] is not None:
            training = bool(np.any(call.constant(2)))
        if node.op_type == "BatchNormalization" and self.opset < 14 and sum(bool(name) for name in node.output) > 1:
            training = True
        if training:
            raise call.unsupported("it is in training mode; export the model for inference")
        return call

    def _lower(self, node: onnx.NodeProto, inputs: list[Value | None]) -> tuple[Value, ...]:
        call = self.call(node, inputs)
        source = inputs[0] if inputs else None
        if node.op_type == "Shape" and isinstance(source, View):
            whole = np.array(source.shape, dtype=np.int64)
            return (whole[call.attributes.get("start", 0) : call.attributes.get("end")],)
        if node.op_type == "Size" and isinstance(source, View):
            return (np.array(source.index.size, dtype=np.int64),)
        if not any(isinstance(value, View) for value in inputs):
            return self.folded(call)
        found = operator_for(call)(call)
        return found if isinstance(found, tuple) else (found,)

    def folded(self, call: Call) -> tuple[Array, ...]:
        """A node that reads only constants, computed by onnxruntime in the file's own opset."""
        value = next((a for a in call.node.attribute if a.name == "value"), None)
        if call.node.op_type == "Constant" and value is not None and value.type == onnx.AttributeProto.TENSOR:
            return (numpy_helper.to_array(value.t),)
        check_growth(call)
        try:
            return tuple(run_node(call.node, self.opset, call.constants()))
        except ExecutionError as error:
            raise ModelError(f"{call.name}: its constant inputs cannot be evaluated: {error}") from None
