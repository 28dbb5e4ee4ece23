"""The exported file computes what the module computes, in onnxruntime and in the layer graph that proofs are about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from encoders.errors import ModelError, OptionError
from encoders.onnx.reader import read
from trainers.architectures import ARCHITECTURES, build
from trainers.export import export
from trainers.layers import Residual, Subsampled, steps_of, values_of

NARROW = {
    "fc1": (7,), "fc2": (6, 5), "fc4": (6, 5, 4, 3), "fc6": (6, 5, 4, 5, 4, 3),
    "fc1-softplus": (7,), "lenet-small": (2, 3, 6), "resnet-small": (2, 4),
    "resnet32": (1, 2, 2), "resnet32-a": (1, 2, 3),
}  # fmt: skip


def scores(path: Path, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input": x})[0])


def shaken(module: nn.Module) -> nn.Module:
    """BatchNorm with statistics of its own: fresh ones would hide a mean, a variance or a factor left out."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None and layer.running_var is not None:
            for tensor in (layer.running_mean, layer.weight.data, layer.bias.data):
                tensor.add_(0.3 * torch.randn(tensor.shape))
            layer.running_var.uniform_(0.5, 2.0)
    return module.eval()


@pytest.mark.parametrize("name", list(ARCHITECTURES))
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 8)])
def test_every_architecture_agrees_with_its_file_and_its_graph(
    name: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    torch.manual_seed(1)
    module = shaken(build(name, shape, 5, NARROW[name]))
    path = tmp_path / "net.onnx"
    export(path, module, shape)
    x = torch.rand(4, *shape)
    with torch.no_grad():
        expected = module(x).numpy()
        np.testing.assert_allclose(values_of(steps_of(module), x)[-1].numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(scores(path, x.numpy()), expected, atol=1e-5)
    if name == "fc1-softplus":
        return  # no layer graph: tests/encoders/test_softplus_file.py
    graph = read(path)
    assert graph.input_shape == shape
    np.testing.assert_allclose(graph.evaluate(x.numpy().reshape(4, -1).astype(np.float64)), expected, atol=1e-5)


def test_the_usual_widths_are_those_of_the_papers() -> None:
    assert ARCHITECTURES["fc1"][1] == (1024,)
    convolutions = [layer for layer in build("lenet-small", (1, 28, 28), 10) if isinstance(layer, nn.Conv2d)]  # type: ignore[attr-defined]
    assert [(c.out_channels, c.kernel_size, c.stride) for c in convolutions] == [
        (16, (4, 4), (2, 2)),
        (32, (4, 4), (2, 2)),
    ]
    deep = build("resnet32", (3, 32, 32), 10)
    layers = [
        m for m in deep.modules() if isinstance(m, nn.Linear) or (isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1))
    ]
    assert len(layers) == 32


def test_the_parameters_of_resnet_32_without_weights_in_its_shortcuts_are_as_many_as_the_paper_counts() -> None:
    assert sum(p.numel() for p in build("resnet32-a", (3, 32, 32), 10).parameters()) == 464_154


def test_a_shortcut_without_weights_by_hand() -> None:
    # Every second pixel of a 3x3 map, and a map of zeros behind it.
    found = Subsampled(1, 2, 2)(torch.arange(9.0).reshape(1, 1, 3, 3))
    assert found.tolist() == [[[[0.0, 2.0], [6.0, 8.0]], [[0.0, 0.0], [0.0, 0.0]]]]


def test_export_by_hand(tmp_path: Path) -> None:
    # 1x2x2 image, one 1x1 filter of weight 2 and bias -1, then a dense layer that adds up: for the image
    # [[0, 1], [2, 3]] the filter gives [-1, 1, 3, 5], the ReLU [0, 1, 3, 5], the sum 9, and the bias 0.5 makes 9.5.
    module = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4, 1))
    for parameter, value in zip(module.parameters(), (2.0, -1.0, 1.0, 0.5), strict=True):
        parameter.data.fill_(value)
    path = tmp_path / "deeper" / "net.onnx"
    export(path, module, (1, 2, 2))
    assert scores(path, np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)).tolist() == [[9.5]]


def test_a_residual_sum_by_hand(tmp_path: Path) -> None:
    # relu(3x - 1) + x, at x = 1: 2 + 1 = 3; at x = 0: 0 + 0.
    module = nn.Sequential(Residual(nn.Sequential(nn.Linear(1, 1), nn.ReLU())))
    for parameter, value in zip(module.parameters(), (3.0, -1.0), strict=True):
        parameter.data.fill_(value)
    path = tmp_path / "net.onnx"
    export(path, module, (1,))
    assert scores(path, np.array([[1], [0]], np.float32)).tolist() == [[3.0], [0.0]]


def test_dropout_and_identity_leave_no_trace_and_no_bias_is_a_bias_of_zero(tmp_path: Path) -> None:
    module = nn.Sequential(
        nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Dropout(0.5), nn.Identity(), nn.Linear(3, 2)
    ).eval()
    path = tmp_path / "net.onnx"
    export(path, module, (2,))
    x = torch.rand(3, 2)
    with torch.no_grad():
        np.testing.assert_allclose(scores(path, x.numpy()), module(x).numpy(), atol=1e-6)


def test_what_is_not_known_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Sigmoid"):
        export(tmp_path / "net.onnx", nn.Sequential(nn.Linear(2, 2), nn.Sigmoid()), (2,))
    with pytest.raises(OptionError, match=r"'fc9'.*fc1"):
        build("fc9", (1, 8, 8), 10)
    with pytest.raises(OptionError, match="lenet-small has 3 widths"):
        build("lenet-small", (1, 8, 8), 10, (4,))
    with pytest.raises(OptionError, match="at least 4x4"):
        build("lenet-small", (64,), 10)
