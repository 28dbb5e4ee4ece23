"""Write a trained module to ONNX, layer by layer: no tracing, no extra package, and nothing in the file but the net."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from encoders.errors import ModelError
from trainers.layers import Subsampled, steps_of, values_of

OPSET = 17
IR_VERSION = 8
END = np.iinfo(np.int32).max  # of a Slice: as far as there is


class _File:
    """The nodes and tensors written so far."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def tensor(self, name: str, values: Tensor | None, size: int) -> str:
        """A constant in float32; zeros where the layer has none."""
        held = np.zeros(size, np.float32) if values is None else values.detach().cpu().numpy().astype(np.float32)
        self.tensors.append(numpy_helper.from_array(held, name))
        return name

    def whole(self, name: str, *values: int) -> str:
        """A constant of whole numbers: axes, strides, pads."""
        self.tensors.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))


def _dense(file: _File, layer: nn.Module, source: str, output: str) -> None:
    layer = cast(nn.Linear, layer)
    weight = file.tensor(f"{output}.weight", layer.weight, 0)
    bias = file.tensor(f"{output}.bias", layer.bias, layer.out_features)
    file.node("Gemm", [source, weight, bias], output, transB=1)


def _convolution(file: _File, layer: nn.Module, source: str, output: str) -> None:
    layer = cast(nn.Conv2d, layer)
    if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        raise ModelError(f"{output}: only zero padding given in numbers is exported")
    weight = file.tensor(f"{output}.weight", layer.weight, 0)
    bias = file.tensor(f"{output}.bias", layer.bias, layer.out_channels)
    file.node(
        "Conv", [source, weight, bias], output,
        strides=list(layer.stride), pads=list(layer.padding) * 2, dilations=list(layer.dilation), group=layer.groups,
    )  # fmt: skip


def _batch_norm(file: _File, layer: nn.Module, source: str, output: str) -> None:
    layer = cast(nn.BatchNorm2d, layer)
    held = {"scale": layer.weight, "shift": layer.bias, "mean": layer.running_mean, "variance": layer.running_var}
    names = [file.tensor(f"{output}.{name}", values, layer.num_features) for name, values in held.items()]
    file.node("BatchNormalization", [source, *names], output, epsilon=layer.eps)


def _average_pool(file: _File, layer: nn.Module, source: str, output: str) -> None:
    layer = cast(nn.AvgPool2d, layer)
    kernel, stride, padding = (
        [size] * 2 if isinstance(size, int) else list(size) for size in (layer.kernel_size, layer.stride, layer.padding)
    )
    file.node(
        "AveragePool", [source], output,
        kernel_shape=kernel, strides=stride, pads=padding * 2, count_include_pad=int(layer.count_include_pad),
    )  # fmt: skip


def _mean_of_maps(file: _File, layer: nn.Module, source: str, output: str) -> None:
    if cast(nn.AdaptiveAvgPool2d, layer).output_size not in (1, (1, 1)):
        raise ModelError(f"{output}: only the mean over a whole map is exported")
    file.node("GlobalAveragePool", [source], output)


def _flatten(file: _File, layer: nn.Module, source: str, output: str) -> None:
    del layer
    file.node("Flatten", [source], output, axis=1)


def _relu(file: _File, layer: nn.Module, source: str, output: str) -> None:
    del layer
    file.node("Relu", [source], output)


def _softplus(file: _File, layer: nn.Module, source: str, output: str) -> None:
    """log(1 + exp(κt)) / κ, with κ before and behind ONNX's own."""
    layer = cast(nn.Softplus, layer)
    sharpness = file.tensor(f"{output}.sharpness", torch.tensor(layer.beta), 0)
    file.node("Mul", [source, sharpness], f"{output}.in")
    file.node("Softplus", [f"{output}.in"], f"{output}.out")
    file.node("Div", [f"{output}.out", sharpness], output)


def _subsampled(file: _File, layer: nn.Module, source: str, output: str) -> None:
    layer = cast(Subsampled, layer)
    starts, ends = file.whole(f"{output}.starts", 0, 0), file.whole(f"{output}.ends", END, END)
    axes, steps = file.whole(f"{output}.axes", 2, 3), file.whole(f"{output}.steps", layer.stride, layer.stride)
    pads = file.whole(f"{output}.pads", 0, 0, 0, 0, 0, layer.added, 0, 0)
    file.node("Slice", [source, starts, ends, axes, steps], f"{output}.pixels")
    file.node("Pad", [f"{output}.pixels", pads], output)


Writer = Callable[[_File, nn.Module, str, str], None]
WRITERS: Mapping[type[nn.Module], tuple[str, Writer]] = {
    nn.Linear: ("dense", _dense),
    nn.Conv2d: ("convolution", _convolution),
    nn.BatchNorm2d: ("norm", _batch_norm),
    nn.AvgPool2d: ("pool", _average_pool),
    nn.AdaptiveAvgPool2d: ("pool", _mean_of_maps),
    nn.Flatten: ("flatten", _flatten),
    nn.ReLU: ("relu", _relu),
    nn.Softplus: ("softplus", _softplus),
    Subsampled: ("shortcut", _subsampled),
}


def export(path: Path, module: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Save the module as one ONNX file: input `input` [batch, *input_shape], output `scores` [batch, classes]."""
    steps = steps_of(module)
    parameter = next(module.parameters())
    scores = values_of(steps, parameter.new_zeros(1, *input_shape))[-1]
    file = _File()
    names = ["input"]
    for number, step in enumerate(steps, start=1):
        kind, write = ("sum", None) if step.module is None else WRITERS[type(step.module)]
        output = "scores" if number == len(steps) else f"{kind}{number}"
        if write is None or step.module is None:
            file.node("Add", [names[k] for k in step.sources], output)
        else:
            write(file, step.module, names[step.sources[0]], output)
        names.append(output)
    graph = helper.make_graph(
        file.nodes,
        path.stem,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *input_shape])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", scores.shape[1]])],
        file.tensors,
    )
    model = helper.make_model(
        graph, producer_name="plumbline", ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
    )
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
