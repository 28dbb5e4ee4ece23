"""Reads a quantised MLP (QDQ format) into its exact integer semantics: what onnxruntime computes on a CPU, bit by bit.

At its default optimisation level onnxruntime fuses each DequantizeLinear, Gemm, QuantizeLinear into one QGemm:

    accumulator = Σ (q - zero_in) · weight + bias                               in int32, exact
    next q      = clip(rint(float32(accumulator) · float32(s_in·s_w/s_out)) + zero_out)    halves to even, in float32

Every step of the second line is monotone, so that each next level stands for an interval of accumulators
(`QuantisedLayer.thresholds`). A ReLU between two layers is part of the clip. What has another form is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from encoders.errors import ModelError, UnsupportedOperatorError
from encoders.linear_maps import FloatArray, IntArray

LARGEST_EXACT = 2**24  # float32 holds every integer up to here, and 32 bits hold the accumulator
LARGEST_PAIR = 2**15 - 1  # without VNNI, MLAS adds the products of two neighbours in 16 bits, with saturation


@dataclass(frozen=True)
class Scale:
    """One tensor's quantisation: value = (level - zero) · step; its levels are uint8."""

    step: np.float32
    zero: int

    def levels(self, values: NDArray[np.float32]) -> IntArray:
        """QuantizeLinear: float32 values to levels."""
        with np.errstate(over="ignore"):
            ratio = np.rint(np.asarray(values, dtype=np.float32) / self.step)
        return np.asarray(np.clip(ratio.astype(np.float64) + self.zero, 0, 255).astype(np.int64))


@dataclass(frozen=True, eq=False)
class QuantisedLayer:
    """One fused layer. weight: [outputs, inputs]; both are int64 arrays of whole numbers."""

    weight: IntArray
    bias: IntArray
    source: Scale
    factor: np.float32
    target: Scale

    @property
    def reach(self) -> IntArray:
        """The most that each accumulator, and every partial sum of it, can be in absolute value."""
        return np.asarray(np.abs(self.weight).sum(axis=1) * 255 + np.abs(self.bias))

    def accumulate(self, levels: IntArray) -> IntArray:
        """Accumulators [B, outputs] of input levels [B, inputs]."""
        return np.asarray((levels - self.source.zero) @ self.weight.T + self.bias)

    def requantise(self, accumulators: IntArray) -> IntArray:
        """The next levels, by the same float32 operations as onnxruntime's."""
        scaled = accumulators.astype(np.float32) * self.factor
        clipped = np.clip(scaled, np.float32(-self.target.zero), np.float32(255 - self.target.zero))
        return np.asarray(np.rint(clipped).astype(np.int64) + self.target.zero)

    @cached_property
    def thresholds(self) -> IntArray:
        """thresholds[k]: the least accumulator whose level is more than k, for k = 0 to 254; by bisection.

        2²⁴ + 1 where no accumulator within reach has such a level.
        """
        wanted = np.arange(1, 256)
        low, high = np.full(255, -LARGEST_EXACT - 1), np.full(255, LARGEST_EXACT + 1)
        while (high - low > 1).any():
            middle = (low + high) // 2
            reached = self.requantise(middle) >= wanted
            low, high = np.where(reached, low, middle), np.where(reached, middle, high)
        return np.asarray(high)


@dataclass(frozen=True, eq=False)
class QuantisedNet:
    """Input levels, layers, and the last levels: `scores` are those, dequantised."""

    layers: tuple[QuantisedLayer, ...]
    input_name: str

    def levels(self, inputs: NDArray[np.float32]) -> IntArray:
        """The output levels [B, classes] of float32 inputs [B, n]."""
        levels = self.layers[0].source.levels(inputs)
        for layer in self.layers:
            levels = layer.requantise(layer.accumulate(levels))
        return levels

    def scores(self, inputs: NDArray[np.float32]) -> FloatArray:
        """What onnxruntime's output is, to the bit."""
        last = self.layers[-1].target
        levels = self.levels(inputs) - last.zero
        return np.asarray((levels.astype(np.float32) * last.step).astype(np.float64))


def read_quantised(path: str | Path) -> QuantisedNet:
    """The integer semantics of a file, or an error that says what of it has another form."""
    return _Reading(Path(path)).net()


class _Reading:
    """One file, walked backward from its output."""

    def __init__(self, path: Path) -> None:
        self.path = path
        proto = onnx.load(str(path))
        self.graph = proto.graph
        if len(self.graph.input) != 1 or len(self.graph.output) != 1:
            raise ModelError(f"{path}: a quantised model needs one input and one output")
        self.constants = {t.name: numpy_helper.to_array(t) for t in self.graph.initializer}
        self.makers = {node.output[0]: node for node in self.graph.node}
        self.readers = [name for node in self.graph.node for name in node.input]

    def refuse(self, what: str) -> UnsupportedOperatorError:
        return UnsupportedOperatorError(
            f"{self.path}: {what}; a quantised model is read where each Gemm (transB=1) stands between "
            "DequantizeLinear and QuantizeLinear, per tensor, uint8 levels (quantize_static, QDQ, reduce_range=True)"
        )

    def net(self) -> QuantisedNet:
        name, layers = str(self.graph.output[0].name), list[QuantisedLayer]()
        while True:
            dequantise = self.maker(name, "DequantizeLinear")
            quantise = self.maker(dequantise.input[0], "QuantizeLinear")
            target = self.scale(quantise)
            if self.scale(dequantise) != target:
                raise self.refuse(f"{name!r} is quantised and dequantised by different scales")
            name = quantise.input[0]
            if name == self.graph.input[0].name:
                break
            layer, name = self.layer(name, target)
            layers.append(layer)
        if not layers or layers[-1].source != target:
            raise self.refuse("its input is not quantised as its first layer reads it")
        return QuantisedNet(tuple(layers[::-1]), name)

    def maker(self, name: str, kind: str) -> onnx.NodeProto:
        node: onnx.NodeProto | None = self.makers.get(name)
        if node is None or node.op_type != kind or node.domain not in ("", "ai.onnx"):
            raise self.refuse(f"{name!r} is made by {node.op_type if node else 'nothing'} instead of {kind}")
        if kind != "DequantizeLinear" and self.readers.count(name) > 1:
            raise self.refuse(f"{name!r} is read more than once")
        return node

    def scale(self, node: onnx.NodeProto) -> Scale:
        step, zero = (self.constants.get(n) for n in (*node.input, "", "")[1:3])
        if step is None or zero is None or step.size != 1 or step.dtype != np.float32 or zero.dtype != np.uint8:
            raise self.refuse(f"{node.op_type} of {node.input[0]!r} has no single float32 scale and uint8 zero point")
        if not (np.isfinite(step) & (step > 0)).all():
            raise self.refuse(f"{node.op_type} of {node.input[0]!r} has no positive scale")
        return Scale(np.float32(step.reshape(())), int(zero.reshape(())))

    def constant(self, name: str, kind: type[np.signedinteger]) -> tuple[IntArray, np.float32]:
        """A dequantised constant: its whole numbers and its scale; its zero point must be 0."""
        node = self.maker(name, "DequantizeLinear")
        value, step, zero = (self.constants.get(n) for n in (*node.input, "")[:3])
        if value is None or step is None or value.dtype != kind or step.size != 1 or step.dtype != np.float32:
            raise self.refuse(f"{name!r} is no {np.dtype(kind)} constant with one float32 scale")
        if zero is not None and zero.any():
            raise self.refuse(f"{name!r} has a zero point other than 0")
        return value.astype(np.int64), np.float32(step.reshape(()))

    def layer(self, name: str, target: Scale) -> tuple[QuantisedLayer, str]:
        gemm = self.maker(name, "Gemm")
        given = {a.name: onnx.helper.get_attribute_value(a) for a in gemm.attribute}
        if {"alpha": 1.0, "beta": 1.0, "transA": 0, **given} != {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}:
            raise self.refuse(f"Gemm {gemm.name!r} has attributes {given}")
        if len(gemm.input) != 3:
            raise self.refuse(f"Gemm {gemm.name!r} has no bias")
        source = self.scale(self.maker(gemm.input[0], "DequantizeLinear"))
        weight, step = self.constant(gemm.input[1], np.int8)
        bias, bias_step = self.constant(gemm.input[2], np.int32)
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise self.refuse(f"Gemm {gemm.name!r} has a bias of another size than its outputs")
        product = np.float32(source.step * step)
        if bias_step != product:
            raise self.refuse(f"Gemm {gemm.name!r} has a bias whose scale is not input scale times weight scale")
        factor = np.float32(product / target.step)
        if not factor >= np.finfo(np.float32).tiny or not np.isfinite(factor):
            raise self.refuse(f"Gemm {gemm.name!r} has scales out of float32's range")
        layer = QuantisedLayer(weight, bias, source, factor, target)
        if (layer.reach > LARGEST_EXACT).any():
            raise self.refuse(f"Gemm {gemm.name!r} can sum past 2^24")
        largest = np.sort(np.abs(weight), axis=1)[:, -2:].sum(axis=1)
        if (largest * 255 > LARGEST_PAIR).any():
            raise self.refuse(f"Gemm {gemm.name!r} has 8-bit weights, which mean another result on CPUs without VNNI")
        return layer, gemm.input[0]
