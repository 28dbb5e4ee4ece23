"""Write a small sequential net to ONNX, from its weights alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8

Weights = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """scores = weight · x + bias; an image is flattened first."""

    weight: Weights
    bias: Weights


@dataclass(frozen=True, eq=False)
class ConvolutionLayer:
    """A 2-D convolution; weight: [out_channels, in_channels, kernel_h, kernel_w]."""

    weight: Weights
    bias: Weights
    stride: int = 1
    padding: int = 0


Layer = DenseLayer | ConvolutionLayer


def export(path: Path, input_shape: tuple[int, ...], layers: Sequence[Layer]) -> None:
    """Save `layers` with a ReLU between each two, as one ONNX file with a free batch dimension."""
    nodes: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []
    value, is_image = "input", len(input_shape) == 3
    for number, layer in enumerate(layers, start=1):
        if isinstance(layer, DenseLayer) and is_image:
            nodes.append(helper.make_node("Flatten", [value], ["flat"], name="flatten", axis=1))
            value, is_image = "flat", False
        weight, bias = f"weight{number}", f"bias{number}"
        tensors += [numpy_helper.from_array(layer.weight, weight), numpy_helper.from_array(layer.bias, bias)]
        last = number == len(layers)
        output = "scores" if last else f"sum{number}"
        if isinstance(layer, DenseLayer):
            name = f"dense{number}"
            nodes.append(helper.make_node("Gemm", [value, weight, bias], [output], name=name, transB=1))
        else:
            stride, padding = [layer.stride] * 2, [layer.padding] * 4
            name = f"convolution{number}"
            nodes.append(
                helper.make_node("Conv", [value, weight, bias], [output], name=name, strides=stride, pads=padding)
            )
        if not last:
            nodes.append(helper.make_node("Relu", [output], [f"relu{number}"], name=f"relu{number}"))
            value = f"relu{number}"
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *input_shape])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", layers[-1].bias.size])],
        tensors,
    )
    model = helper.make_model(
        graph, producer_name="plumbline", ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
    )
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
