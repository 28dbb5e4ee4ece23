"""Reads a quantised network node by node, in both formats that onnxruntime's quantiser writes.

QOperator files name what is executed: QGemm, QLinearMatMul, QLinearConv. QDQ files write Gemm, MatMul and Conv between
DequantizeLinear and QuantizeLinear, and onnxruntime fuses those into the same operators at its default level. All
three round alike:  factor = float32(float32(s_in · s_weight) / s_out).

A layer's whole numbers go through the same operators as a float net's weights (`encoders.onnx.operators`), so that
convolutions, transposed weights and reshapes mean what they mean there. What has another form is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from encoders.arrays import IntArray
from encoders.errors import ModelError, UnsupportedOperatorError
from encoders.layer_graph.builder import GraphBuilder, View
from encoders.layer_graph.graph import Affine, Graph
from encoders.onnx.class_scores import MONOTONE
from encoders.onnx.node import Call
from encoders.onnx.operators import operator_for
from encoders.onnx.reader import Reading
from encoders.quantised.semantics import LARGEST_EXACT, TOP, QuantisedLayer, QuantisedNet, Scale

ARRANGING = {"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Identity"}
WEIGHTED = {"Gemm", "MatMul", "Conv"}  # between DequantizeLinear and QuantizeLinear
# Operator, its linear part, and where its weights, bias and output scale are among its inputs.
FUSED = {"QGemm": ("Gemm", 3, 6, 7), "QLinearMatMul": ("MatMul", 3, None, 6), "QLinearConv": ("Conv", 3, 8, 6)}
LARGEST_STEP = np.float32(2.0**120)  # from which what levels mean could be infinite
LARGEST_PAIR = 2**15 - 1  # the products of two neighbours may be added in 16 bits, with saturation, on some CPUs
SHIFT = {np.dtype(np.uint8): 0, np.dtype(np.int8): 128}


@dataclass(frozen=True, eq=False)
class Tensor:
    """What depends on the network's input: a view of the last layer's levels (less their zero), or sums over them."""

    view: View
    scale: Scale | None = None  # None: the input itself
    levels: bool = False  # whole numbers; else their real values
    sums: NDArray[np.float32] | None = None  # the unit of each sum; not quantised yet
    cut: bool = False  # by a ReLU
    maker: onnx.NodeProto | None = None  # of the sums


@dataclass(frozen=True, eq=False)
class Weight:
    """A dequantised constant: whole numbers, and the unit of each along the axis (one for all: size 1)."""

    value: NDArray[Any]
    step: NDArray[np.float32]
    axis: int


class Walk:
    """One file, node by node from its input."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.values: dict[str, Tensor | Weight | NDArray[Any]] = dict(reading.constants)
        self.layers: list[QuantisedLayer] = []
        self.build = GraphBuilder(reading.feed_shape, reading.input_name)
        self.values[reading.input_name] = Tensor(self.build.input)
        self.kinds: set[np.dtype[Any]] = set()  # the types of all levels
        self.forms: set[str] = set()
        self.rearranged = False  # levels, as such

    def net(self) -> QuantisedNet:
        nodes = self.reading.needed()
        readers = [name for node in nodes for name in node.input]
        for node in nodes:
            self.values[node.output[0]] = made = self.node(node)
            if isinstance(made, Tensor) and readers.count(node.output[0]) > 1:
                raise self.refuse(node, f"{node.output[0]!r} is read more than once: branches are not supported")
        end = self.values.get(self.reading.scores_name)
        if not self.layers or not isinstance(end, Tensor) or end.levels or end.sums is not None:
            raise UnsupportedOperatorError(
                f"{self.reading.path}: a quantised model must end in a DequantizeLinear of its last layer's levels"
            )
        if not np.array_equal(end.view.index, np.arange(self.layers[-1].outputs)):
            raise UnsupportedOperatorError(f"{self.reading.path}: its scores are rearranged after the last layer")
        self.reading.check_tail(end.view)
        if set(MONOTONE).intersection(self.reading.tail.kinds):  # a Sigmoid is 1 from 17 on, for every class
            raise UnsupportedOperatorError(
                f"{self.reading.path}: executed, its final Sigmoid may make different scores equal; quantise the model "
                "without it"
            )
        if self.reading.refused:
            raise UnsupportedOperatorError(f"{self.reading.path}: {self.reading.refused[0]}")
        self.refuse_unfused()
        return QuantisedNet(tuple(self.layers))

    def refuse_unfused(self) -> None:
        """What onnxruntime does not fuse it computes in float32, with other roundings than those of whole numbers."""
        signed = self.kinds == {np.dtype(np.int8)} and "QDQ" in self.forms
        if len(self.reading.proto.graph.input) > 1:
            why = "lists constants among its inputs: write them as initializers alone"
        elif len(self.kinds) > 1:
            why = "has levels of uint8 and of int8: quantise all activations to one type"
        elif signed and (len(self.forms) > 1 or self.rearranged):
            why = (
                "has QDQ layers of int8 levels next to QOperator ones, or rearranges int8 levels: write one form, and "
                "rearrange behind the DequantizeLinear"
            )
        else:
            return
        raise UnsupportedOperatorError(
            f"{self.reading.path}: a quantised model {why}; else onnxruntime may execute layers in float32"
        )

    def refuse(self, node: onnx.NodeProto, why: str) -> UnsupportedOperatorError:
        name = f"node {node.name or node.output[0]!r} ({node.op_type})"
        return UnsupportedOperatorError(
            f"{self.reading.path}: {name} of a quantised model is not supported: {why}; what is: chains of Gemm, "
            "MatMul and Conv as quantize_static writes them, QDQ or QOperator, 8-bit activations, int8 weights with "
            "reduce_range=True"
        )

    def node(self, node: onnx.NodeProto) -> Tensor | Weight | NDArray[Any]:
        values = [self.values.get(name) if name else None for name in node.input]
        source = values[0] if values else None
        if isinstance(source, Tensor) and not all(
            node.op_type in WEIGHTED or not isinstance(v, Tensor | Weight) for v in values[1:]
        ):
            raise self.refuse(node, "it joins two values")
        if node.op_type == "QuantizeLinear" and isinstance(source, Tensor):
            return self.quantise(node, source, self.scale(node, 1))
        if node.op_type == "DequantizeLinear":
            return self.dequantise(node, source)
        if isinstance(source, Tensor) and source.sums is None and node.op_type in ARRANGING:
            self.rearranged |= source.levels
            return replace(source, view=self.view(node, [source.view, *values[1:]], node.op_type))
        if node.op_type == "Relu" and isinstance(source, Tensor) and source.sums is not None:
            return replace(source, cut=True)
        if node.op_type in WEIGHTED and isinstance(source, Tensor):
            return self.weighted(node, source, values)
        if node.op_type in FUSED and isinstance(source, Tensor):
            return self.fused(node, source, values)
        if not any(isinstance(v, Tensor | Weight) for v in values):
            return np.asarray(self.reading.folded(self.call(node, values))[0])
        raise self.refuse(node, "it has no known integer form here")

    def call(self, node: onnx.NodeProto, values: list[Any], operator: str | None = None) -> Call:
        """The node over what it reads; with `operator`, its linear part under that name."""
        if operator is not None and operator != node.op_type:
            plain = onnx.helper.make_node(operator, [f"input{k}" for k in range(len(values))], [node.output[0]])
            plain.name = node.name
            known = onnx.defs.get_schema(operator, self.reading.opset).attributes
            plain.attribute.extend(a for a in node.attribute if a.name in known)
            node = plain
        return replace(self.reading.call(node, values), build=self.build)

    def view(self, node: onnx.NodeProto, values: list[Any], operator: str) -> View:
        """What an operator makes of whole numbers."""
        try:
            call = self.call(node, values, operator)
            found = operator_for(call)(call)
            found = found[0] if isinstance(found, tuple) else found
        except UnsupportedOperatorError as error:
            raise self.refuse(node, str(error)) from None
        except (ModelError, ValueError, IndexError, KeyError, TypeError) as error:
            raise ModelError(f"{self.reading.path}: node {node.name or node.output[0]!r}: {error}") from None
        if not isinstance(found, View):
            raise self.refuse(node, "it does not depend on the input")
        return found

    # -- scales ---------------------------------------------------------------------------------------------------

    def scale(self, node: onnx.NodeProto, k: int) -> Scale:
        """Inputs k and k + 1: one float32 scale, and an 8-bit zero point."""
        step, zero = (self.constant(node, k + j) for j in (0, 1))
        if step is None or zero is None or step.size != 1 or zero.size != 1 or step.dtype != np.float32:
            raise self.refuse(node, "an activation needs one float32 scale and one zero point")
        if zero.dtype not in SHIFT:
            raise self.refuse(node, f"its zero point is {zero.dtype}; uint8 and int8 are supported")
        if not ((step < LARGEST_STEP) & (step >= np.finfo(np.float32).tiny)).all():
            raise self.refuse(node, "its scale is not a positive normal number below 2^120")
        self.kinds.add(zero.dtype)
        return Scale(np.float32(step.reshape(())), int(zero.reshape(())) + SHIFT[zero.dtype])

    def constant(self, node: onnx.NodeProto, k: int) -> NDArray[Any] | None:
        value = self.values.get(node.input[k]) if k < len(node.input) and node.input[k] else None
        if isinstance(value, Tensor | Weight):
            raise self.refuse(node, f"its input {node.input[k]!r} is not constant")
        return value

    def quantise(self, node: onnx.NodeProto, source: Tensor, scale: Scale) -> Tensor:
        if source.sums is not None:
            return self.layer(node, source, scale)
        if source.levels or (source.scale is not None and source.scale != scale):
            raise self.refuse(node, f"{node.input[0]!r} is quantised again by another scale")
        return replace(source, scale=scale, levels=True)

    def dequantise(self, node: onnx.NodeProto, source: object) -> Tensor | Weight:
        if isinstance(source, Tensor):
            if not source.levels or source.scale != self.scale(node, 1):
                raise self.refuse(node, f"{node.input[0]!r} is dequantised by another scale than it was quantised by")
            return replace(source, levels=False)
        axis = next((int(a.i) for a in node.attribute if a.name == "axis"), 1)
        return self.weight(node, 0, axis)

    def weight(self, node: onnx.NodeProto, k: int, axis: int) -> Weight:
        """Inputs k to k + 2: whole numbers, scales and zero points that are all 0."""
        value, step, zero = (self.constant(node, k + j) for j in (0, 1, 2))
        if value is None or step is None or value.dtype not in (np.int8, np.int32) or step.dtype != np.float32:
            raise self.refuse(node, f"{node.input[k]!r} is no int8 constant with float32 scales")
        if zero is None and value.dtype == np.int8:
            raise self.refuse(
                node, f"{node.input[k]!r} has no zero points, where onnxruntime may not fuse it: give zeros"
            )
        if zero is not None and zero.any():
            raise self.refuse(node, f"{node.input[k]!r} has a zero point other than 0")
        return Weight(value, np.asarray(step, dtype=np.float32).reshape(-1), axis % max(1, value.ndim))

    # -- layers ---------------------------------------------------------------------------------------------------

    def weighted(self, node: onnx.NodeProto, source: Tensor, values: list[Any]) -> Tensor:
        """Gemm, MatMul or Conv between DequantizeLinear and QuantizeLinear."""
        self.forms.add("QDQ")
        weight, bias = values[1], values[2] if len(values) > 2 else None
        if source.scale is None or source.levels or source.sums is not None or not isinstance(weight, Weight):
            raise self.refuse(node, "its inputs are not dequantised")
        if bias is not None and not (isinstance(bias, Weight) and bias.value.dtype == np.int32):
            raise self.refuse(node, "its bias is no dequantised int32 constant")
        found = self.summed(node, source, node.op_type, weight, None if bias is None else bias.value)
        per_output = self.per_output(node, node.op_type, weight)
        if bias is not None and not (bias.step == np.float32(source.scale.step) * per_output).all():
            raise self.refuse(node, "its bias has another scale than input scale times weight scale")
        return found

    def fused(self, node: onnx.NodeProto, source: Tensor, values: list[Any]) -> Tensor:
        """QGemm, QLinearMatMul or QLinearConv."""
        self.forms.add("QOperator")
        operator, at, bias_at, target_at = FUSED[node.op_type]
        if not source.levels or source.scale != self.scale(node, 1):
            raise self.refuse(node, "it reads its input by another scale than it was quantised by")
        weight = self.weight(node, at, 0)
        bias = None if bias_at is None else self.constant(node, bias_at)
        if bias is not None and bias.dtype != np.int32:
            raise self.refuse(node, "its bias is no int32 constant")
        weight = replace(weight, axis=_output_axis(operator, node))
        found = self.summed(node, replace(source, levels=False), operator, weight, bias)
        return self.layer(node, found, self.scale(node, target_at))

    def summed(
        self, node: onnx.NodeProto, source: Tensor, operator: str, weight: Weight, bias: NDArray[Any] | None
    ) -> Tensor:
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if any(given.get(name, 1.0) != 1.0 for name in ("alpha", "beta")) or given.get("transA", 0):
            raise self.refuse(node, f"its attributes are {given}")
        if weight.value.dtype != np.int8:
            raise self.refuse(node, "its weights are not int8")
        view = self.view(node, [source.view, weight.value, *([] if bias is None else [bias])], operator)
        if weight.value.size and source.scale is not None:
            steps = np.float32(source.scale.step) * self.per_output(node, operator, weight)
            channels = view.shape[1] if len(view.shape) > 1 else view.shape[0]
            if steps.size not in (1, channels):
                raise self.refuse(node, f"it has {steps.size} weight scales for {channels} outputs")
            place = (1, -1, *[1] * (len(view.shape) - 2)) if len(view.shape) > 1 else (-1,)
            spread = np.broadcast_to(steps.reshape(place) if steps.size > 1 else steps, view.shape)
            return Tensor(view, source.scale, sums=np.ascontiguousarray(spread).reshape(-1), maker=node)
        raise self.refuse(node, "its weights are empty")

    def per_output(self, node: onnx.NodeProto, operator: str, weight: Weight) -> NDArray[np.float32]:
        if weight.step.size > 1 and weight.axis != _output_axis(operator, node):
            raise self.refuse(node, "its weights have one scale per input instead of one per output")
        return weight.step

    def layer(self, node: onnx.NodeProto, source: Tensor, target: Scale) -> Tensor:
        """Sums over the last levels become the next ones."""
        assert source.sums is not None
        assert source.scale is not None
        node = source.maker or node
        if source.cut and target.zero != 0:
            raise self.refuse(node, "a ReLU stands before a scale that reaches below zero")
        weight, bias = _matrix(self.build.finish(source.view, source.view.shape, ()))
        with np.errstate(all="ignore"):
            factor = (source.sums / target.step).astype(np.float32)
        if any(not (np.isfinite(one) & (one >= np.finfo(np.float32).tiny)).all() for one in (source.sums, factor)):
            raise self.refuse(node, "its scales are out of float32's range")
        layer = QuantisedLayer(weight, bias, source.scale, factor, target)
        if (layer.reach > LARGEST_EXACT).any():
            raise self.refuse(node, "it can sum past 2^24, where float32 begins to round sums")
        largest = np.sort(np.abs(weight), axis=1)[:, -2:].sum(axis=1)
        if (largest * TOP > LARGEST_PAIR).any():
            raise self.refuse(
                node,
                "its weights need more than 7 bits, and may be computed with saturating 16-bit sums on some CPUs",
            )
        self.layers.append(layer)
        self.build = GraphBuilder(source.view.shape, node.name or node.output[0])
        return Tensor(self.build.input, target, levels=True)


def _output_axis(operator: str, node: onnx.NodeProto) -> int:
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return 0 if operator == "Conv" or transposed else 1


def _matrix(graph: Graph) -> tuple[IntArray, IntArray]:
    """A chain of affine nodes over whole numbers as one matrix and a bias."""
    weight, bias = np.eye(graph.input_size), np.zeros(graph.input_size)
    for position, node in enumerate(graph.nodes[1:], 1):
        if not isinstance(node, Affine) or node.sources != (position - 1,):
            raise ModelError("a quantised layer is no single linear map")
        matrix = graph.matrices(node)[0]
        weight, bias = matrix @ weight, matrix @ bias + node.bias
    return np.rint(weight).astype(np.int64), np.rint(bias).astype(np.int64)
