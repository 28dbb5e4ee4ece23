"""Writes any layer graph as an ONNX file, so that a test's tiny net goes the whole way through the product."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from encoders.layer_graph.graph import Graph, Input, Relu


def to_onnx(
    graph: Graph, path: Path, shape: tuple[int, ...] | None = None, kind: type[np.floating[Any]] = np.float32
) -> Path:
    """One MatMul per linear map, numbers of one kind; input [N, n], or [N, *shape] flattened. Returns the path."""
    nodes = [helper.make_node("Flatten", ["image"], ["input"])] if shape else []
    constants: list[onnx.TensorProto] = []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype=kind), name))
        return name

    last, number = len(graph.nodes) - 1, helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    names = {k: f"value{k}" for k in range(last)} | {0: "input", last: "scores"}
    for k, node in enumerate(graph.nodes):
        if isinstance(node, Input):
            continue
        if isinstance(node, Relu):
            nodes.append(helper.make_node("Relu", [names[node.source]], [names[k]]))
            continue
        total = ""
        for j, (source, linear) in enumerate(zip(node.sources, node.maps, strict=True)):
            weight = constant(f"weight{k}_{j}", linear.matrix().toarray().T)
            nodes.append(helper.make_node("MatMul", [names[source], weight], [f"term{k}_{j}"]))
            if total:
                nodes.append(helper.make_node("Add", [total, f"term{k}_{j}"], [f"sum{k}_{j}"]))
            total = f"term{k}_{j}" if not total else f"sum{k}_{j}"
        nodes.append(helper.make_node("Add", [total, constant(f"bias{k}", node.bias)], [names[k]]))
    sides = [
        helper.make_tensor_value_info("image" if shape else "input", number, ["N", *(shape or (graph.input_size,))]),
        helper.make_tensor_value_info("scores", number, ["N", graph.classes]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "test", sides[:1], sides[1:], constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, str(path))
    return path
