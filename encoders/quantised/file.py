"""A quantised model file: whether it is one, its integer semantics, and a real network nearly like it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from encoders.errors import UnsupportedOperatorError
from encoders.layer_graph.graph import Graph, affine_chain
from encoders.onnx.model_file import ModelFile, read_model_file
from encoders.onnx.reader import Description, Parsed, Reading
from encoders.quantised.reader import Walk
from encoders.quantised.semantics import QuantisedNet

MARKS = {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "QGemm", "DynamicQuantizeLinear"}
MARKS |= {"ConvInteger", "MatMulInteger", "QLinearAdd", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"}


def is_quantised(file: ModelFile) -> bool:
    """Whether a quantised operator reads what depends on the input; weights alone may be dequantised anywhere."""
    graph = file.proto.graph
    constants = {tensor.name for tensor in graph.initializer}
    moving = {side.name for side in graph.input} - constants
    for node in graph.node:
        if moving.intersection(node.input):
            moving.update(name for name in node.output if name)
            if node.op_type in MARKS:
                return True
    return False


def read_quantised(path: str | Path) -> QuantisedNet:
    """The integer semantics of a file, or an error that says what of it has another form."""
    return parse_quantised(read_model_file(Path(path)))[0]


def parse_quantised(file: ModelFile, output: str | None = None) -> tuple[QuantisedNet, Parsed]:
    """The integer semantics, and the file as read; its graph is `guide`: nearly the same network, proving nothing."""
    reading = Reading(file, output)
    net = Walk(reading).net()
    graph = guide(net, reading.input_shape)
    return net, Parsed(
        graph, file, reading.input_name, reading.feed_shape, reading.batched, reading.double, reading.scores_name,
        reading.output_name,
    )  # fmt: skip


def describe_quantised(file: ModelFile, output: str | None = None) -> Description:
    """What a quantised file holds, and why it is not supported if it is not."""
    reading = Reading(file, output)
    found = reading.described()
    try:
        net = Walk(reading).net()
    except UnsupportedOperatorError as error:
        return replace(found, unsupported=(str(error),))
    neurons = sum(layer.outputs for layer in net.layers)
    note = "quantised: verified as exact integers, as onnxruntime executes them; questions need a grid N"
    return replace(found, layers=len(net.layers), neurons=neurons, classes=net.classes, notes=(note,))


def guide(net: QuantisedNet, shape: tuple[int, ...]) -> Graph:
    """The network without rounding, and without the upper ends of its scales: for attacks to follow."""
    weights, biases = [], []
    for k, layer in enumerate(net.layers):
        # Inputs come as values, hidden layers as levels; hidden layers go on as levels, scores as values.
        unit = 1.0 if k else 1.0 / float(layer.source.step)
        zero = layer.source.zero if k else 0
        gain = layer.factor.astype(np.float64)
        shift = float(layer.target.zero)
        if layer is net.layers[-1]:
            gain, shift = gain * float(layer.target.step), 0.0
        weights.append(unit * gain[:, None] * layer.weight)
        biases.append(gain * (layer.bias - zero * layer.weight.sum(axis=1)) + shift)
    return replace(affine_chain(weights, biases), input_shape=shape)
