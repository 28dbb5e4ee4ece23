"""A model file as an `Int8Network` ("Which files" of docs/reference/proof-format-int8.md).

A chain of layers, in one of two forms: QDQ, with Gemm, MatMul and Conv between DequantizeLinear and QuantizeLinear, or
QOperator, with QGemm, QLinearMatMul and QLinearConv. What has another form is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from verifier.checker.errors import UncheckableError
from verifier.checker.graph import Graph, Operation, Wire
from verifier.checker.int8_network import LARGEST_SUM, TOP, Int8Network, Layer, Scale, float32
from verifier.checker.lines import dyadic
from verifier.checker.moving import MOVING
from verifier.checker.network import Affine, Network
from verifier.checker.onnx_file import QUANTISED, Reading, readable
from verifier.checker.operators import OPERATORS

WEIGHTED = ("Conv", "Gemm", "MatMul")
# The plain operator, and where its weights (with scales and zero points behind), its bias and its scale are.
FUSED = {"QGemm": ("Gemm", 3, 6, 7), "QLinearMatMul": ("MatMul", 3, None, 6), "QLinearConv": ("Conv", 3, 8, 6)}
ARRANGING = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
SHIFT = {np.dtype(np.uint8): 0, np.dtype(np.int8): 128}
LARGEST_PAIR = (1 << 15) - 1  # two neighbours' products may be summed in 16 bits
NORMAL = (dyadic(1, -126), dyadic(1, 128))  # positive float32 numbers of 24 bits lie from here to below there
LARGEST_STEP = dyadic(1, 120)  # from which what levels mean could be infinite


@dataclass(frozen=True, eq=False)
class Signal(Wire):
    """What depends on the input: levels less their zero, the numbers that they mean, or sums over those."""

    after: int  # layers
    scale: Scale | None = None  # None: the input itself
    levels: bool = False
    units: Any = None  # what 1 is worth in each sum
    cut: bool = False  # by a Relu


@dataclass(frozen=True, eq=False)
class Weights:
    """A dequantised constant: whole numbers, and what 1 is worth along an axis, or everywhere."""

    numbers: Any
    units: list[Fraction]
    axis: int


def read_int8(data: bytes, external: Mapping[str, bytes]) -> Int8Network:
    """The quantised network that a model file describes."""
    with readable():
        return _Int8Reading(data, external).int8()


class _Int8Reading(Reading):
    """One walk over a file's graph, layer by layer: `graph` holds the affine values of the layer that is read."""

    types = (TensorProto.FLOAT, TensorProto.INT64, *QUANTISED)
    others = (("com.microsoft", "QGemm"),)

    def __init__(self, data: bytes, external: Mapping[str, bytes]) -> None:
        super().__init__(data, external)
        self.layers: list[Layer] = []
        self.source: Scale | None = None
        self.kinds: set[Any] = set()  # the types of all levels
        self.forms: set[str] = set()
        self.rearranged = False  # levels, as such

    def int8(self) -> Int8Network:
        """The whole network."""
        end = self.walk()
        if not isinstance(end, Signal) or not 0 < len(self.layers) == end.after or end.levels or end.units is not None:
            raise UncheckableError("the model does not end in a DequantizeLinear of its last layer's levels")
        if end.places.size != self.layers[-1].size or (end.places.reshape(-1) != np.arange(end.places.size)).any():
            raise UncheckableError("the model's scores are rearranged after the last layer")
        assert self.source is not None
        self._refuse_unfused()
        return Int8Network(self.source, tuple(self.layers))

    def _refuse_unfused(self) -> None:
        """What a runtime does not fuse it computes in float32, with other roundings than those of whole numbers."""
        if len(self.kinds) != 1:
            raise UncheckableError("the model has levels of uint8 and of int8, which a runtime may not fuse")
        if self.kinds == {np.dtype(np.int8)} and "QDQ" in self.forms and (len(self.forms) > 1 or self.rearranged):
            raise UncheckableError(
                "the model has QDQ layers of int8 levels next to QOperator ones, or rearranges int8 levels, where a "
                "runtime may not fuse them: rearrange what they mean, behind the DequantizeLinear"
            )

    def input(self, declared: onnx.ValueInfoProto) -> Signal:
        """The model's input, which is all that the file lists as one."""
        if len(self.proto.input) != 1:
            raise UncheckableError("the model lists constants among its inputs, where a runtime does not fuse them")
        if declared.type.tensor_type.elem_type != TensorProto.FLOAT:
            raise UncheckableError("the input of a quantised model is not of float32")
        wire = super().input(declared)
        return Signal(wire.value, wire.places, 0)

    def apply(self, operation: Operation) -> Any:
        """One node of the file."""
        first = operation.tensor(0) if operation.has(0) else None
        if any(isinstance(one, Wire) for one in operation.inputs[1:]):
            raise operation.refuse("it joins two values")
        if operation.kind == "DequantizeLinear" and not isinstance(first, Wire):
            return self._weights(operation, 0, operation.integer("axis", 1))
        if not isinstance(first, Signal):
            if operation.kind == "Constant":
                return MOVING["Constant"](self.graph, operation)
            raise operation.refuse("it does not read what depends on the input, for which alone it is known here")
        if first.after != len(self.layers):
            raise operation.refuse("it reads what lies before the last layer: branches are not known here")
        if operation.kind in ARRANGING and first.units is None:
            self.rearranged |= first.levels
            return replace(first, places=_moved(self.graph, operation).places)
        if operation.kind == "Relu" and first.units is not None:
            return replace(first, cut=True)
        if operation.kind == "QuantizeLinear":
            return self._quantised(operation, first, self._scale(operation, 1))
        if operation.kind == "DequantizeLinear":
            if not first.levels or first.scale != self._scale(operation, 1):
                raise operation.refuse("it reads levels by another scale than they were made by")
            return replace(first, levels=False)
        if operation.kind in WEIGHTED:
            return self._between(operation, first)
        if operation.kind in FUSED:
            return self._fused(operation, first)
        raise operation.refuse("the operator is not known here, in a quantised model")

    # Scales and weights

    def _scale(self, operation: Operation, at: int) -> Scale:
        """Inputs at two places: one float32 scale, and one zero point of 8 bits."""
        operation.attribute("axis", int, 1)  # of one scale it says nothing
        step, zero = operation.constant(at), operation.tensor(at + 1)
        if isinstance(zero, Wire) or step.size != 1 or zero.size != 1 or zero.dtype not in SHIFT:
            raise operation.refuse("levels need one scale and one zero point, of uint8 or int8")
        found = Fraction(float(step.reshape(())))
        if not NORMAL[0] <= found < LARGEST_STEP:
            raise operation.refuse("its scale is no positive normal float32 number below 2^120")
        self.kinds.add(zero.dtype)
        return Scale(found, int(zero.reshape(())) + SHIFT[zero.dtype])

    def _weights(self, operation: Operation, at: int, axis: int) -> Weights:
        """Inputs at three places: int8 or int32 constants, float32 scales, and zero points that are all 0."""
        numbers, steps = operation.tensor(at), operation.constant(at + 1)
        if not operation.has(at + 2) and isinstance(numbers, np.ndarray) and numbers.dtype == np.int8:
            raise operation.refuse("its weights have no zero points, where a runtime does not fuse them: give zeros")
        zero = operation.tensor(at + 2) if operation.has(at + 2) else np.zeros(1)
        if isinstance(numbers, Wire) or isinstance(zero, Wire) or numbers.dtype not in (np.int8, np.int32):
            raise operation.refuse("its weights are no int8 or int32 constants")
        if zero.any() or steps.ndim > 1 or not numbers.size:
            raise operation.refuse("its weights have zero points other than 0, or scales that are no list, or are none")
        return Weights(numbers, [Fraction(float(one)) for one in steps.reshape(-1)], axis % max(1, numbers.ndim))

    # Layers

    def _quantised(self, operation: Operation, signal: Signal, scale: Scale) -> Signal:
        if signal.units is not None:
            return self._layer(operation, signal, scale)
        if signal.levels or (signal.scale is not None and signal.scale != scale):
            raise operation.refuse("it quantises again by another scale")
        if signal.scale is None and self.source is not None:
            raise operation.refuse("it quantises the input a second time")
        self.source = scale if self.source is None else self.source
        return replace(signal, scale=scale, levels=True)

    def _between(self, operation: Operation, signal: Signal) -> Signal:
        """Gemm, MatMul or Conv between DequantizeLinear and QuantizeLinear."""
        self.forms.add("QDQ")
        weights: Any = operation.tensor(1)
        bias: Any = operation.tensor(2) if operation.has(2) else None
        if not isinstance(weights, Weights) or not isinstance(bias, Weights | None):
            raise operation.refuse("its weights or its bias are not dequantised constants")
        found = self._summed(operation, operation.kind, signal, weights, None if bias is None else bias.numbers)
        assert signal.scale is not None
        own = [float32(signal.scale.step * unit) for unit in weights.units]
        if bias is not None and (bias.units if len(bias.units) > 1 else bias.units * len(own)) != own:
            raise operation.refuse("its bias has other scales than input scale times weight scale")
        return found

    def _fused(self, operation: Operation, signal: Signal) -> Signal:
        """QGemm, QLinearMatMul or QLinearConv."""
        self.forms.add("QOperator")
        kind, at, bias_at, scale_at = FUSED[operation.kind]
        if not signal.levels or signal.scale != self._scale(operation, 1):
            raise operation.refuse("it reads levels by another scale than they were made by")
        weights = self._weights(operation, at, 0)
        weights = replace(weights, axis=_output_axis(kind, operation))
        bias: Any = operation.tensor(bias_at) if bias_at is not None and operation.has(bias_at) else None
        scale = self._scale(operation, scale_at)
        return self._layer(
            operation, self._summed(operation, kind, replace(signal, levels=False), weights, bias), scale
        )

    def _summed(self, operation: Operation, kind: str, signal: Signal, weights: Weights, bias: Any) -> Signal:
        """The linear part, over whole numbers."""
        if signal.scale is None or signal.levels or signal.units is not None:
            raise operation.refuse("what it reads is not dequantised")
        if weights.numbers.dtype != np.int8 or (bias is not None and bias.dtype != np.int32):
            raise operation.refuse("its weights are not int8, or its bias is not int32")
        if _largest_pair(weights.numbers, _output_axis(kind, operation)) > LARGEST_PAIR:
            raise operation.refuse("two of its weights are so large that some processors cut off their sum")
        if len(weights.units) > 1 and weights.axis != _output_axis(kind, operation):
            raise operation.refuse("its weights have a scale for each of something else than outputs")
        attributes = {k: v for k, v in operation.attributes.items() if k != "axis"}
        if any(attributes.get(name, 1.0) != 1.0 for name in ("alpha", "beta")) or attributes.get("transA", 0):
            raise operation.refuse("alpha, beta or transA is not what alone is known here: 1, 1, 0")
        operation.attributes.clear()
        inputs = (signal, weights.numbers.astype(np.float64), *([] if bias is None else [bias.astype(np.float64)]))
        plain = Operation(operation.where, kind, inputs, operation.outputs, attributes)
        found = OPERATORS[kind](self.graph, plain)
        plain.done()
        assert isinstance(found, Wire)
        units = np.array([float32(signal.scale.step * unit) for unit in weights.units], dtype=object)
        channels = -1 if kind == "MatMul" else 1
        spread = [1] * found.places.ndim
        spread[channels] = -1
        if units.size not in (1, found.places.shape[channels]):
            raise operation.refuse("it has not one scale for each output")
        return Signal(
            found.value, found.places, signal.after, signal.scale,
            units=np.broadcast_to(units.reshape(spread), found.places.shape),
        )  # fmt: skip

    def _layer(self, operation: Operation, signal: Signal, scale: Scale) -> Signal:
        """Sums become the next levels."""
        if signal.cut and scale.zero != 0:
            raise operation.refuse("a Relu stands before levels that reach below zero")
        linear = _whole(self.graph.network(self.graph.flat(signal)))
        units = signal.units.reshape(-1)
        factors = [float32(unit / scale.step) for unit in units]
        if not all(NORMAL[0] <= one < NORMAL[1] for one in (*units, *factors)):
            raise operation.refuse("its scales' product or quotient is no normal float32 number")
        distinct = sorted(set(factors))
        of = np.array([distinct.index(factor) for factor in factors])
        layer = Layer(linear, tuple(distinct), of, scale)
        if layer.reach.max() > LARGEST_SUM:
            raise operation.refuse("its sums can pass 2^24, where float32 has not every whole number")
        self.layers.append(layer)
        self.graph = Graph(self.opset)
        wire = self.graph.input(signal.places.shape)
        return Signal(wire.value, wire.places, len(self.layers), scale, levels=True)


def _moved(graph: Graph, operation: Operation) -> Wire:
    found = MOVING[operation.kind](graph, operation)
    assert isinstance(found, Wire)
    return found


def _largest_pair(weights: Any, outputs: int) -> int:
    """What the two largest weights of an output can sum up to, or more."""
    sizes = np.moveaxis(abs(weights.astype(np.int64)), outputs, 0)
    return int(np.sort(sizes.reshape(len(sizes), -1), axis=1)[:, -2:].sum(axis=1).max()) * TOP


def _output_axis(kind: str, operation: Operation) -> int:
    return 0 if kind == "Conv" or operation.attributes.get("transB", 0) else 1


def _whole(network: Network) -> Network:
    """The same affine values with weights of int64, which they are: 8 bits, and biases of 32."""
    values = [
        replace(
            value,
            terms=tuple((replace(part, weights=part.weights.astype(np.int64)), source) for part, source in value.terms),
            bias=None if value.bias is None else value.bias.astype(np.int64),
        )
        if isinstance(value, Affine)
        else value
        for value in network.values
    ]
    return replace(network, values=tuple(values))
