"""Writes small int8 networks as ONNX files, number by number: both formats, signed and unsigned levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

KINDS = {"uint8": np.uint8, "int8": np.int8}


@dataclass(frozen=True, eq=False)
class Int8Layer:
    """Whole numbers [outputs, inputs], one scale or one per output, and how the layer's levels are counted."""

    weight: NDArray[Any]
    bias: NDArray[Any]
    weight_scale: NDArray[np.float32]
    scale: float
    zero: int = 0


def write_int8(
    layers: Sequence[Int8Layer], path: Path, scale: float, zero: int = 0, form: str = "QDQ", kind: str = "uint8",
    relu: bool = False,
) -> Path:  # fmt: skip
    """Gemm layers in `form` (QDQ, or QOperator with QGemm); input scale and zero first. Returns the path."""
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, Any] = {"s0": np.float32(scale), "z0": KINDS[kind](zero)}
    nodes.append(helper.make_node("QuantizeLinear", ["input", "s0", "z0"], ["q0"]))
    for k, layer in enumerate(layers, 1):
        source = np.float32(constants[f"s{k - 1}"])
        steps = np.asarray(layer.weight_scale, dtype=np.float32)
        steps = steps if steps.size > 1 else np.asarray(steps.reshape(()))
        constants[f"s{k}"], constants[f"z{k}"] = np.float32(layer.scale), KINDS[kind](layer.zero)
        constants[f"W{k}"], constants[f"u{k}"] = layer.weight.astype(np.int8), steps
        constants[f"v{k}"] = np.zeros(steps.shape, np.int8)
        constants[f"B{k}"] = layer.bias.astype(np.int32)
        before = [f"q{k - 1}", f"s{k - 1}", f"z{k - 1}"]
        if form == "QOperator":
            inputs = [*before, f"W{k}", f"u{k}", f"v{k}", f"B{k}", f"s{k}", f"z{k}"]
            nodes.append(helper.make_node("QGemm", inputs, [f"q{k}"], domain="com.microsoft", transB=1))
            continue
        constants[f"c{k}"] = np.asarray(source * steps, dtype=np.float32)
        constants[f"d{k}"] = np.zeros(steps.shape, np.int32)
        axis: dict[str, Any] = {"axis": 0} if steps.size > 1 else {}
        nodes += [
            helper.make_node("DequantizeLinear", before, [f"x{k - 1}"]),
            helper.make_node("DequantizeLinear", [f"W{k}", f"u{k}", f"v{k}"], [f"w{k}"], **axis),
            helper.make_node("DequantizeLinear", [f"B{k}", f"c{k}", f"d{k}"], [f"b{k}"], **axis),
            helper.make_node("Gemm", [f"x{k - 1}", f"w{k}", f"b{k}"], [f"g{k}"], transB=1),
        ]
        if relu and k < len(layers):
            nodes.append(helper.make_node("Relu", [f"g{k}"], [f"r{k}"]))
        made = f"r{k}" if relu and k < len(layers) else f"g{k}"
        nodes.append(helper.make_node("QuantizeLinear", [made, f"s{k}", f"z{k}"], [f"q{k}"]))
    end = len(layers)
    nodes.append(helper.make_node("DequantizeLinear", [f"q{end}", f"s{end}", f"z{end}"], ["scores"]))
    sides = [
        helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", layers[0].weight.shape[1]]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", layers[-1].weight.shape[0]]),
    ]
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "int8", sides[:1], sides[1:], held),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
        ir_version=9,
    )
    onnx.save(model, str(path))
    return path


def random_int8(rng: np.random.Generator, path: Path) -> Path:
    """A few inputs, one or two hidden layers, coarse scales: halves, ties, saturation at both ends, dead neurons."""
    widths = [int(rng.integers(2, 5)), *rng.integers(1, 6, rng.integers(0, 3)).tolist(), int(rng.integers(2, 4))]
    kind, form = str(rng.choice(["uint8", "int8"])), str(rng.choice(["QDQ", "QOperator"]))
    lowest = 0 if kind == "uint8" else -128
    powers = rng.random() < 0.5  # of two: accumulators lie halfway between levels
    layers, scale = [], float(rng.choice([1 / 255, 1 / 256, 1 / 64, 1 / 16]))
    before = scale
    for k, (inputs, outputs) in enumerate(pairwise(widths)):
        last = k == len(widths) - 2
        weight = rng.integers(-64, 65, (outputs, inputs))
        weight[rng.random(weight.shape) < 0.2] = 0
        bias = rng.integers(-6000, 6000, outputs) if rng.random() < 0.8 else np.zeros(outputs)
        count = outputs if rng.random() < 0.4 else 1
        step = 2.0 ** rng.integers(-7, -3, count) if powers else rng.uniform(0.005, 0.1, count)
        rise = float(rng.choice([1 / 256, 1 / 64, 1 / 16, 1 / 1024]))  # levels an accumulator's unit is worth
        target = before * float(np.max(step)) / rise * (1.0 if powers else rng.uniform(0.5, 2.0))
        middle = rng.random() < 0.4 or last
        zero = lowest + (int(rng.integers(60, 200)) if middle else 0)
        layers.append(Int8Layer(weight, bias, np.asarray(step, dtype=np.float32), target, zero))
        before = target
    relu = all(layer.zero == lowest for layer in layers[:-1])
    return write_int8(layers, path, scale, lowest, form, kind, relu)
