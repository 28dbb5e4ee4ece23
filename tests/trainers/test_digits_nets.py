"""The nets in the repository: still what the script makes them, and still good at digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from trainers import digits_nets
from trainers.datasets import digits
from trainers.export import export

NAMES = sorted(digits_nets.NETS)


def scores(
    path: Path, x: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input": x})[0])


@pytest.mark.parametrize("name", NAMES)
def test_the_kept_nets_classify_nine_in_ten_test_digits(name: str) -> None:
    path = digits_nets.DIRECTORY / f"{name}.onnx"
    data = digits("test")
    predicted = scores(path, data.x.reshape(-1, *digits_nets.NETS[name][1])).argmax(1)
    assert (predicted == data.y).mean() >= 0.92
    assert path.stat().st_size < 50_000


@pytest.mark.parametrize("name", NAMES)
def test_the_kept_nets_have_the_architecture_of_the_script(name: str) -> None:
    build, input_shape = digits_nets.NETS[name]
    model = onnx.load(digits_nets.DIRECTORY / f"{name}.onnx")
    built = [tuple(parameter.shape) for parameter in build().parameters()]
    assert [tuple(tensor.dims) for tensor in model.graph.initializer] == built
    declared = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    assert tuple(declared) == input_shape


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_export_computes_what_torch_computes(name: str, tmp_path: Path) -> None:
    build, input_shape = digits_nets.NETS[name]
    net = digits_nets.train(build, input_shape, epochs=1)
    path = tmp_path / "deeper" / "net.onnx"
    export(path, net, input_shape)
    x = torch.rand(5, *input_shape)
    with torch.no_grad():
        np.testing.assert_allclose(scores(path, x.numpy()), net(x).numpy(), atol=1e-5)


def test_training_is_repeatable() -> None:
    build, input_shape = digits_nets.NETS["digits-64-32-32-10"]
    first, second = (digits_nets.train(build, input_shape, epochs=1) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
