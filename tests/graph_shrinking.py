"""A smaller file that fails as a failing one does, and how to read it: the node at fault, as a rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.generated_graphs import INPUTS, Generated
from tests.reading import Array


def shrunk(made: Generated, fails: Callable[[onnx.ModelProto, Array], bool]) -> tuple[onnx.ModelProto, Array]:
    """A smaller file that fails as well: the first value that is wrong, made of the last one that is right."""
    floats = [name for name, value in made.values.items() if value.dtype.kind == "f" and name != "image"]
    proto, inputs = _needed(made.proto), made.inputs
    if not fails(proto, inputs):
        proto = made.proto
    for name in floats:
        cut = _ending(made, proto, name)
        if fails(cut, inputs):
            proto = cut
            break
    for name in reversed(floats):
        cut, others = _starting(made, proto, name)
        if fails(cut, others):
            return cut, others
    return proto, inputs


def _ending(made: Generated, proto: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The file up to one value, whose numbers become the scores."""
    cut = onnx.ModelProto()
    cut.CopyFrom(proto)
    value = made.values[name]
    cut.graph.node.extend(_reshaped(name, "scores", (-1, value.size)))
    cut.graph.output[0].CopyFrom(_side("scores", value, [None, value.size]))
    return _needed(cut)


def _starting(made: Generated, proto: onnx.ModelProto, name: str) -> tuple[onnx.ModelProto, Array]:
    """The file from one value on, which becomes the input."""
    cut = onnx.ModelProto()
    cut.CopyFrom(proto)
    value = made.values[name]
    kept = [node for node in cut.graph.node if name not in node.output]
    del cut.graph.node[:]
    cut.graph.node.extend([*_reshaped("start", name, value.shape), *kept])
    cut.graph.input[0].CopyFrom(_side("start", value, [1, value.size]))
    spread = np.random.default_rng(0).normal(size=(INPUTS, value.size))
    return _needed(cut), np.asarray(value.reshape(1, -1) + spread, dtype=value.dtype)


def _reshaped(source: str, result: str, shape: tuple[int, ...]) -> list[onnx.NodeProto]:
    wanted = numpy_helper.from_array(np.array(shape, dtype=np.int64))
    return [
        helper.make_node("Constant", [], [f"{result}_shape"], value=wanted),
        helper.make_node("Reshape", [source, f"{result}_shape"], [result], name=f"{result}_made"),
    ]


def _side(name: str, value: Array, shape: list[int | None]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), shape)


def _needed(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The file without what its output has no need of."""
    wanted = {proto.graph.output[0].name}
    kept = []
    for node in reversed(proto.graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= set(node.input)
            wanted |= {name for attribute in node.attribute for each in attribute.g.node for name in each.input}
    held = [tensor for tensor in proto.graph.initializer if tensor.name in wanted]
    listed = [side for side in proto.graph.input[1:] if side.name in wanted]
    graph = helper.make_graph(kept[::-1], "cut", [proto.graph.input[0], *listed], proto.graph.output, held)
    return helper.make_model(
        graph, opset_imports=proto.opset_import, functions=proto.functions, ir_version=proto.ir_version
    )


def described(proto: onnx.ModelProto) -> str:
    """The file in one line for each node: what to read when it fails."""
    lines = [
        f"opset {proto.opset_import[0].version}, input {[d.dim_value or 'N' for d in _dims(proto.graph.input[0])]}"
    ]
    shapes = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        inputs = ", ".join(f"{name}{list(shapes[name])}" if name in shapes else name or "-" for name in node.input)
        options = ", ".join(f"{each.name}={_shown(each)}" for each in node.attribute)
        lines.append(f"{', '.join(node.output)} = {node.op_type}({inputs}){' ' if options else ''}{options}")
    return "\n  ".join(lines)


def _dims(side: onnx.ValueInfoProto) -> Sequence[Any]:
    return list(side.type.tensor_type.shape.dim)


def _shown(attribute: onnx.AttributeProto) -> str:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return f"{numpy_helper.to_array(value).tolist()}"
    return value.decode() if isinstance(value, bytes) else str(value)
