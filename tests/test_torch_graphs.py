"""Random torch modules, exported as their users would, are read as torch and onnxruntime compute them."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import verifier
from tests.draws import draws
from tests.reading import Array, Reading, hold

NEEDS_ONNXSCRIPT = pytest.mark.skipif(
    importlib.util.find_spec("onnxscript") is None, reason="torch.onnx.export(dynamo=True) needs onnxscript"
)

# torch's newer exporter takes seconds a module.
MODULES = [
    *(pytest.param(seed, False, id=f"{seed}-torchscript") for seed in range(draws(5, 40))),
    *(pytest.param(seed, True, id=f"{seed}-dynamo", marks=NEEDS_ONNXSCRIPT) for seed in range(draws(1, 20))),
]


class Residual(nn.Module):
    """What a block computes, added to its input."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.block(x))


class Joined(nn.Module):
    """The outputs of two blocks side by side."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.first(x), self.second(x)], dim=1)


def activation(rng: np.random.Generator) -> nn.Module:
    kinds = (
        nn.ReLU(), nn.ReLU(), nn.LeakyReLU(0.2), nn.PReLU(), nn.ReLU6(), nn.Hardtanh(-0.5, 0.7), nn.Hardsigmoid(),
        nn.Identity(), nn.Dropout(0.5), nn.Threshold(0.0, 0.0),
    )  # fmt: skip
    return kinds[int(rng.integers(len(kinds)))]


def image_net(rng: np.random.Generator) -> nn.Module:
    """Convolutions with all their options, batch norm, pools, and a linear layer on a 1 x 7 x 6 image."""
    width = int(rng.integers(2, 5))
    layers: list[nn.Module] = [nn.Conv2d(1, width, int(rng.integers(1, 4)), padding=1, bias=bool(rng.random() < 0.5))]
    for _ in range(int(rng.integers(1, 4))):
        groups = width if rng.random() < 0.3 else 1
        blocks = (
            nn.Conv2d(width, width, 3, padding=2, dilation=2, groups=groups),
            nn.Sequential(nn.BatchNorm2d(width), activation(rng)),
            Residual(nn.Sequential(nn.Conv2d(width, width, 3, padding="same"), nn.BatchNorm2d(width))),
            nn.MaxPool2d(2, stride=1, ceil_mode=bool(rng.random() < 0.5)),
            nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=bool(rng.random() < 0.5)),
            nn.Sequential(Joined(nn.Conv2d(width, 1, 1), nn.Conv2d(width, width - 1, 1)), activation(rng)),
            activation(rng),
        )
        layers.append(blocks[int(rng.integers(len(blocks)))])
    layers.append(nn.AdaptiveAvgPool2d(1) if rng.random() < 0.3 else nn.Identity())
    layers.append(nn.Flatten())
    sides = nn.Sequential(*layers).eval()(torch.zeros(1, 1, 7, 6)).shape[1]
    return nn.Sequential(*layers, nn.Linear(sides, 3))


def dense_net(rng: np.random.Generator) -> nn.Module:
    """Linear layers, residuals and one-dimensional batch norm on a flattened image."""
    width = int(rng.integers(2, 6))
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(42, width), activation(rng)]
    if rng.random() < 0.5:
        layers.append(Residual(nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), activation(rng))))
    layers.append(nn.Linear(width, 3, bias=bool(rng.random() < 0.7)))
    layers.append(
        nn.Identity() if rng.random() < 0.5 else nn.Softmax(dim=1) if rng.random() < 0.5 else nn.LogSoftmax(-1)
    )
    return nn.Sequential(*layers)


def settled(net: nn.Module, rng: np.random.Generator) -> nn.Module:
    """Every parameter and running statistic random, as after a training."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    for name, value in net.state_dict().items():
        if value.dtype == torch.float32:
            drawn = torch.randn(value.shape, generator=generator)
            value.copy_(drawn.abs() + 0.1 if name.endswith("running_var") else 0.6 * drawn)
    return net.eval()


def exported(net: nn.Module, path: Path, dynamo: bool, open_batch: bool, opset: int | None) -> onnx.ModelProto:
    axes = {"image": {0: "N"}} if open_batch and not dynamo else None
    sample = (torch.zeros(1, 1, 7, 6),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, sample, str(path), input_names=["image"], opset_version=opset, dynamo=dynamo, dynamic_axes=axes
        )
    return onnx.load(str(path))


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize(("seed", "dynamo"), MODULES)
@pytest.mark.fewer(5)
def test_an_exported_module_is_read_as_it_is(seed: int, dynamo: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    net = settled(image_net(rng) if rng.random() < 0.7 else dense_net(rng), rng)
    opset = None if dynamo else int(rng.integers(11, 19))
    proto = exported(net, tmp_path / "net.onnx", dynamo, bool(rng.random() < 0.5), opset)
    inputs = rng.uniform(size=(4, 42)).astype(np.float32)
    held = hold(proto, tmp_path, inputs)
    assert held.reading is Reading.AGREED, held
    scores = verifier.load(tmp_path / "net.onnx").scores(inputs)
    assert (scores.argmax(axis=1) == _torch_scores(net, inputs).argmax(axis=1)).all()


def _torch_scores(net: nn.Module, inputs: Array) -> Array:
    with torch.no_grad():
        return np.asarray(net(torch.as_tensor(inputs).reshape(-1, 1, 7, 6)).numpy())
