"""Where a file's class scores are: its output, or what a final Softmax, Sigmoid or ArgMax reads.

The operators at the end, the tail, are left out only where that is proven not to change which class comes first: each
is monotone in each class by itself (Sigmoid), runs along the classes and nothing else (Softmax, LogSoftmax, ArgMax: the
axis has as many entries as the tensor), or only reshapes. That depends on shapes and on the opset, so it is decided
after reading, on the scores themselves; where it does not hold, the file is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from scipy import sparse

from encoders.errors import ModelError, OptionError
from encoders.layer_graph.builder import GraphBuilder, View
from encoders.layer_graph.linear_maps import Sparse
from encoders.onnx.node import attributes_of, node_name

ALONG_CLASSES = ("Softmax", "LogSoftmax", "ArgMax")
MONOTONE = ("Sigmoid",)
RESHAPING = ("Identity", "Flatten", "Squeeze", "Unsqueeze", "Reshape", "Cast")  # none changes an order
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
CLASS_NUMBERS = (*FLOATS, onnx.TensorProto.INT32, onnx.TensorProto.INT64)  # smaller types make two classes one


@dataclass(frozen=True, eq=False)
class Tail:
    """The last nodes of a file, from the first operator that may be left out to the output; and what that one reads."""

    nodes: tuple[onnx.NodeProto, ...]
    scores: str

    @property
    def kinds(self) -> tuple[str, ...]:
        """The operators left out that are no mere reshaping."""
        return tuple(node.op_type for node in self.nodes if node.op_type not in RESHAPING)

    @property
    def rounding(self) -> tuple[str, ...]:
        """Operators left out that may make different scores equal, or take their order, where they are executed."""
        kinds = [node.op_type for node in self.nodes]
        before = kinds[: kinds.index("ArgMax")] if "ArgMax" in kinds else kinds
        return tuple(kind for kind in before if kind in (*ALONG_CLASSES, *MONOTONE, "Cast"))

    @property
    def parameters(self) -> set[str]:
        """What its nodes read besides the scores: shapes and axes."""
        return {name for node in self.nodes for name in node.input[1:] if name}


def tail_of(proto: onnx.ModelProto, output: str) -> Tail:
    """The operators at the end of a file that may be left out; none, where the output is the scores."""
    makers = {name: node for node in proto.graph.node for name in node.output if name}
    name, seen, tail = output, [], Tail((), output)
    while name in makers:
        node = makers[name]
        standard = node.domain in ("", "ai.onnx") and node.input and node.output[0] == name
        if not standard or node.op_type not in (*ALONG_CLASSES, *MONOTONE, *RESHAPING):
            break
        seen.append(node)
        name = str(node.input[0])
        if node.op_type not in RESHAPING:
            tail = Tail(tuple(reversed(seen)), name)
    return tail


def why_not_left_out(
    tail: Tail,
    shape: tuple[int, ...],
    opset: int,
    shape_after: Callable[[onnx.NodeProto, tuple[int, ...]], tuple[int, ...]],
) -> str | None:
    """Why leaving out the tail could change which class comes first; None where it cannot.

    `shape_after(node, shape)` is the shape of what a reshaping node makes of a tensor of that shape.
    """
    chosen = False  # by an ArgMax: what follows is a class, no score
    for node in tail.nodes:
        attributes = attributes_of(node, opset)
        if node.op_type == "Cast":
            if attributes["to"] not in (CLASS_NUMBERS if chosen else FLOATS):
                return refusal(node, "it may make two classes one" if chosen else "it rounds the scores")
        elif node.op_type in RESHAPING:
            shape = shape_after(node, shape)
        elif chosen:
            return refusal(node, "it reads the class that an ArgMax chose")
        elif node.op_type in ALONG_CLASSES:
            why = _not_along_classes(node, attributes, shape, opset)
            if why is not None:
                return refusal(node, why)
            chosen = node.op_type == "ArgMax"
    return None


def _not_along_classes(
    node: onnx.NodeProto, attributes: dict[str, Any], shape: tuple[int, ...], opset: int
) -> str | None:
    axis, rank = int(attributes["axis"]), len(shape)
    if not rank:
        return "it reads a single number, which has no axis of classes"
    if not -rank <= axis < rank:
        return f"its axis {axis} does not exist in a tensor of shape {shape}"
    axis = axis + rank if axis < 0 else axis
    if node.op_type == "ArgMax" and attributes.get("select_last_index", 0):
        return "it takes the last of equal classes"
    # Before opset 13 a Softmax took all axes from its own on as one.
    along = math.prod(shape[axis:]) if node.op_type != "ArgMax" and opset < 13 else shape[axis]
    if along != math.prod(shape):
        return (
            f"it runs along {along} of the {math.prod(shape)} entries of {shape}: its axis is not that of the classes"
        )
    return None


def with_threshold(build: GraphBuilder, output: View, threshold: float, through_sigmoid: bool) -> View:
    """Two scores in place of one output: class 1 where the output is above the threshold, class 0 elsewhere.

    The first score is the threshold, the second the output. Where the output is a Sigmoid's, its logit is compared
    with the logit of the threshold, whose rounding the bias' size and the node's roundings account for.
    """
    bound = score_threshold(threshold, through_sigmoid)
    pick = Sparse(sparse.csr_array(np.array([[0.0], [1.0]])))
    size = np.array([_logit_size(threshold) if through_sigmoid else abs(bound), 0.0])
    return build.affine([(output, pick)], np.array([bound, 0.0]), (1, 2), "threshold", 8, size)


def score_threshold(threshold: float, through_sigmoid: bool) -> float:
    """What a score is compared with: the threshold, moved through the Sigmoid that was left out."""
    if not math.isfinite(threshold):
        raise OptionError(f"threshold {threshold}: give a finite number")
    if not through_sigmoid:
        return threshold
    if not 0.0 < threshold < 1.0:
        raise OptionError(f"threshold {threshold}: the model ends in a Sigmoid; give a number between 0 and 1")
    return math.log(threshold) - math.log1p(-threshold)


def _logit_size(threshold: float) -> float:
    return abs(math.log(threshold)) + abs(math.log1p(-threshold))


def check_output(proto: onnx.ModelProto, path: object, output: str | None) -> str:
    """The name of the output that holds the scores."""
    names = [str(o.name) for o in proto.graph.output]
    if output is not None:
        if output not in names:
            raise OptionError(f"output {output!r}: {path} has {', '.join(names)}")
        return output
    if len(names) > 1:
        raise ModelError(f"{path}: it has {len(names)} outputs ({', '.join(names)}); name the scores with output NAME")
    return names[0]


def one_output(path: object, name: str) -> ModelError:
    """The refusal of a model with one output, of which nothing is the class."""
    return ModelError(
        f"{path}: its output {name!r} is one number, so no class can differ; make it two classes with threshold T: "
        "output > T, or not; or ask distance or verify for a change D of it"
    )


def refusal(node: onnx.NodeProto, why: str) -> str:
    """The line that refuses a final operator."""
    return f"{node_name(node)} is not supported: {why}"
