"""A file with one hidden layer of softplus, read as two affine halves around it.

Proofs of distances know two kinds of node, sums of linear maps and ReLUs, and a smooth function between them would have
to be known to every technique. So such a file has no layer graph: what stands before its one Softplus and what stands
behind it are read, and compared with onnxruntime, like any other file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import TensorProto, helper
from scipy.special import expit

from encoders.arrays import FloatArray
from encoders.errors import DataError, ModelError
from encoders.layer_graph.graph import Affine, Graph, affine_chain
from encoders.onnx.model_file import ModelFile
from encoders.onnx.reader import Parsed, parse

SMOOTH = "Softplus"
CANCELLED = 100.0  # times what is left: so much may cancel where layers are folded, and rounding stays allowed for


@dataclass(frozen=True, eq=False)
class SmoothNet:
    """f(x) = output · softplus_κ(hidden · x + hidden_bias) + output_bias."""

    hidden: FloatArray
    hidden_bias: FloatArray
    output: FloatArray
    output_bias: FloatArray
    sharpness: float = 1.0  # κ

    def __post_init__(self) -> None:
        width, classes = len(self.hidden), len(self.output)
        fits = self.output.shape == (classes, width) and self.hidden_bias.shape == (width,)
        if not fits or self.output_bias.shape != (classes,):
            raise DataError(
                f"weights of shapes {self.hidden.shape}, {self.hidden_bias.shape}, {self.output.shape} and "
                f"{self.output_bias.shape} make no net with one hidden layer"
            )
        if not self.sharpness > 0:
            raise DataError(f"sharpness {self.sharpness}: give a number above zero")

    def scores(self, x: FloatArray) -> FloatArray:
        """Class scores [classes] of one input."""
        h = self.sharpness * (self.hidden @ x + self.hidden_bias)
        return np.asarray(self.output @ (np.logaddexp(0.0, h) / self.sharpness) + self.output_bias)

    def slopes(self, h: FloatArray) -> FloatArray:
        """φ' at pre-activations h."""
        return np.asarray(expit(self.sharpness * h))


@dataclass(frozen=True, eq=False)
class SoftplusFile:
    """The net, and the file's halves as they were read; the graph of `whole` is the ReLU net of the same weights."""

    net: SmoothNet
    whole: Parsed
    halves: tuple[Parsed, Parsed]


def is_softplus(file: ModelFile) -> bool:
    """Whether the file has one Softplus."""
    return [node.op_type for node in file.proto.graph.node].count(SMOOTH) == 1


def parse_softplus(file: ModelFile, output: str | None = None) -> SoftplusFile:
    """A file whose Softplus stands between two affine parts; anything else is refused as the reader refuses it."""
    (node,) = (node for node in file.proto.graph.node if node.op_type == SMOOTH)
    first = parse(_ending_at(file, node.input[0]))
    second = parse(_beginning_at(file, node.output[0], first), output)
    (hidden, hidden_bias), (last, last_bias) = (_affine(part.graph, file) for part in (first, second))
    net = SmoothNet(hidden, hidden_bias, last, last_bias)
    graph = affine_chain([hidden, last], [hidden_bias, last_bias])
    whole = replace(
        second, graph=Graph(graph.nodes, first.graph.input_shape, second.graph.notes), file=file, builder=None,
        input_name=first.input_name, feed_shape=first.feed_shape, batched=first.batched, double=first.double, steps=(),
    )  # fmt: skip
    return SoftplusFile(net, whole, (first, second))


def _ending_at(file: ModelFile, tensor: str) -> ModelFile:
    proto = onnx.ModelProto()
    proto.CopyFrom(file.proto)
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_empty_tensor_value_info(tensor))
    _keep_what_is_needed(proto, {tensor})
    return replace(file, proto=proto, given=None)


def _beginning_at(file: ModelFile, tensor: str, first: Parsed) -> ModelFile:
    proto = onnx.ModelProto()
    proto.CopyFrom(file.proto)
    del proto.graph.input[:]
    _keep_what_is_needed(proto, {one.name for one in proto.graph.output}, tensor)
    kind = TensorProto.DOUBLE if first.double else TensorProto.FLOAT
    batch = "batch" if first.batched else 1
    proto.graph.input.append(helper.make_tensor_value_info(tensor, kind, [batch, first.graph.classes]))
    return replace(file, proto=proto, given=None)


def _keep_what_is_needed(proto: onnx.ModelProto, wanted: set[str], given: str = "") -> None:
    kept = []
    for node in reversed(proto.graph.node):
        if wanted.intersection(node.output) and given not in node.output:
            kept.append(node)
            wanted.update(node.input)
    del proto.graph.node[:], proto.graph.value_info[:]
    proto.graph.node.extend(kept[::-1])


def _affine(graph: Graph, file: ModelFile) -> tuple[FloatArray, FloatArray]:
    """Matrix and bias of a graph that is affine as a whole."""
    size = graph.input_size
    values = [(np.eye(size), np.zeros(size), np.eye(size), np.zeros(size))]  # and of what sizes they were summed up
    for node in graph.nodes[1:]:
        if not isinstance(node, Affine):
            raise ModelError(
                f"{file.path}: a net with Softplus is read where it has one hidden layer and no other activation; "
                "train with Relu in its place"
            )
        matrix, sizes = np.zeros((node.size, size)), np.zeros((node.size, size))
        bias, bias_sizes = node.bias.copy(), node.sizes.copy()
        for source, linear in zip(node.sources, graph.matrices(node), strict=True):
            before = values[source]
            matrix, bias = matrix + linear @ before[0], bias + linear @ before[1]
            sizes, bias_sizes = sizes + abs(linear) @ before[2], bias_sizes + abs(linear) @ before[3]
        values.append((matrix, bias, sizes, bias_sizes))
    matrix, bias, sizes, bias_sizes = values[-1]
    left = np.abs(matrix).sum(1) + np.abs(bias)
    if (sizes.sum(1) + bias_sizes > CANCELLED * left).any():
        raise ModelError(f"{file.path}: weights that are folded cancel; export it with one layer before its Softplus")
    return matrix, bias
