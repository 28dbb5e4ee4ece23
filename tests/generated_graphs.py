"""Random operator graphs, each an ONNX file that onnxruntime runs, with random inputs for it.

A graph grows node by node: an operator of `tests/generated_operators.py` is tried on its own in onnxruntime with the
values that its inputs have at a first random input, and stays if it runs and gives modest numbers.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper

from tests.generated_operators import OPERATORS, RARE, classes, tail
from tests.graph_draft import Draft, UnfitError
from tests.reading import IR, Array, newest_opset

OLDEST_OPSET = 7
MOST_NODES = 6
INPUTS = 4  # random inputs for each graph


@dataclass(frozen=True, eq=False)
class Generated:
    """One random file and inputs for it [B, n]; `values` are what its nodes compute at the first of them."""

    seed: int
    proto: onnx.ModelProto
    inputs: Array
    values: dict[str, Array] = field(repr=False)

    @property
    def operators(self) -> str:
        """What it is made of, in order."""
        return " ".join(node.op_type for node in self.proto.graph.node)


def generate(seed: int, most_inputs: int = 40) -> Generated:
    """The random graph of this seed: the same one again for the same versions of onnxruntime."""
    for attempt in itertools.count():
        try:
            return _generated(seed, np.random.default_rng([seed, attempt]), most_inputs)
        except UnfitError:  # its last value cannot be made class scores
            continue
    raise AssertionError("unreachable")


def _generated(seed: int, rng: np.random.Generator, most_inputs: int) -> Generated:
    opset = int(rng.integers(OLDEST_OPSET, newest_opset() + 1)) if rng.random() < 0.7 else newest_opset()
    draft = Draft(rng, opset, np.dtype(np.float64 if rng.random() < 0.08 else np.float32))
    shape = _input_shape(draft, most_inputs)
    inputs = rng.uniform(-1.0, 1.5, size=(INPUTS, int(np.prod(shape)))).astype(draft.kind)
    draft.values["image"] = inputs[0].reshape(shape)
    wanted, grown = draft.integer(1, MOST_NODES), 0
    for _ in range(4 * MOST_NODES):
        table = RARE if draft.chance(0.03) else OPERATORS
        grown += draft.tried(table[draft.integer(0, len(table) - 1)])
        if grown == wanted:
            break
    open_side = shape[0] == 1 and len(shape) > 1 and draft.chance(0.4)
    result = tail(draft, classes(draft))
    return Generated(seed, _file(draft, shape, result, open_side), inputs, dict(draft.values))


def _input_shape(draft: Draft, most: int) -> tuple[int, ...]:
    """Mostly one sample of one to four axes; rarely no axis for samples at all."""
    while True:
        rank = draft.one_of(1, 1, 2, 2, 3, 3, 3, 4)
        sides = tuple(draft.integer(1, 5 if rank > 1 else 8) for _ in range(rank))
        if 1 <= np.prod(sides) <= most:
            return sides if draft.chance(0.03) else (1, *sides)


def _file(draft: Draft, shape: tuple[int, ...], result: str, open_side: bool) -> onnx.ModelProto:
    of = helper.np_dtype_to_tensor_dtype(draft.kind)
    source = helper.make_tensor_value_info("image", of, ["N", *shape[1:]] if open_side else shape)
    value = draft[result]
    sides: list[Any] = list(value.shape)
    if open_side and sides:
        sides[0] = "N"
    of = helper.np_dtype_to_tensor_dtype(value.dtype)
    output = helper.make_tensor_value_info(result, of, [None] * len(sides) if draft.chance(0.3) else sides)
    old = draft.chance(0.05)  # files of old list their constants among the inputs
    listed = [
        helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        for tensor in draft.initializers
        if old
    ]
    nodes = draft.nodes if old or draft.chance(0.9) else _hidden(draft)
    graph = helper.make_graph(nodes, "generated", [source, *listed], [output], draft.initializers)
    proto = draft.model(graph, 3 if old else IR)
    if draft.chance(0.05) and not old:
        _functional(draft, proto)
    return proto


def _hidden(draft: Draft) -> list[onnx.NodeProto]:
    """One node put into both branches of an If whose condition is constant; the branch not taken changes its sign."""
    place = draft.integer(0, len(draft.nodes) - 1)
    node = draft.nodes[place]
    if len(node.output) > 1 or draft[node.output[0]].dtype != draft.kind:
        return draft.nodes
    kept, turned = onnx.NodeProto(), onnx.NodeProto()
    kept.CopyFrom(node)
    turned.CopyFrom(node)
    kept.output[0], turned.output[0] = "kept", "turning"
    of = helper.np_dtype_to_tensor_dtype(draft.kind)
    side = [helper.make_tensor_value_info(name, of, [None] * draft[node.output[0]].ndim) for name in ("kept", "turned")]
    branches = [
        helper.make_graph([kept], "as it is", [], side[:1]),
        helper.make_graph([turned, helper.make_node("Neg", ["turning"], ["turned"])], "turned", [], side[1:]),
    ]
    taken = draft.chance(0.5)
    yes, no = branches if taken else branches[::-1]
    condition = draft.raw(np.array(taken))
    choice = helper.make_node("If", [condition], node.output, name="choice", then_branch=yes, else_branch=no)
    return [*draft.nodes[:place], choice, *draft.nodes[place + 1 :]]


def _functional(draft: Draft, proto: onnx.ModelProto) -> None:
    """One node made the call of a function in the file, whose body is that node."""
    node = proto.graph.node[draft.integer(0, len(proto.graph.node) - 1)]
    if not node.input or "" in node.input or len(set(node.input)) < len(node.input) or node.op_type == "If":
        return
    body = onnx.NodeProto()
    body.CopyFrom(node)
    inputs, outputs = [f"given{k}" for k in range(len(node.input))], [f"made{k}" for k in range(len(node.output))]
    for k, name in enumerate(inputs):
        body.input[k] = name
    for k, name in enumerate(outputs):
        body.output[k] = name
    opsets = [helper.make_opsetid("", draft.opset)]
    proto.functions.append(helper.make_function("local", "Own", inputs, outputs, [body], opsets))
    proto.opset_import.append(helper.make_opsetid("local", 1))
    node.CopyFrom(helper.make_node("Own", node.input, node.output, name=node.name, domain="local"))
