"""Train the three small digits nets that the repository holds, plainly: python -m trainers.digits_nets [DIRECTORY]."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from trainers.datasets import digits
from trainers.export import export

DIRECTORY = Path(__file__).parent / "nets"
EPOCHS, BATCH, LEARNING_RATE, SEED = 30, 16, 1e-2, 0


def mlp(*widths: int) -> nn.Sequential:
    """Dense layers of the given widths with a ReLU between each two."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def small_conv() -> nn.Sequential:
    """1x8x8 → 4 maps of 4x4 → 8 maps of 4x4 → 10: 192 ReLUs."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 8, 3, stride=1, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


NETS: dict[str, tuple[Callable[[], nn.Sequential], tuple[int, ...]]] = {
    "digits-64-32-32-10": (lambda: mlp(64, 32, 32, 10), (64,)),
    "digits-64-64-64-10": (lambda: mlp(64, 64, 64, 10), (64,)),
    "digits-conv": (small_conv, (1, 8, 8)),
}


def train(build: Callable[[], nn.Sequential], input_shape: tuple[int, ...], epochs: int = EPOCHS) -> nn.Sequential:
    """Adam on cross-entropy over the train split, from a fixed seed."""
    torch.manual_seed(SEED)
    data = digits("train")
    x, y = torch.from_numpy(data.x).reshape(-1, *input_shape), torch.from_numpy(data.y)
    net = build()
    optimiser = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(x)), BATCH):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return net


def accuracy(net: nn.Sequential, input_shape: tuple[int, ...]) -> float:
    """The share of the test split that the net classifies right."""
    data = digits("test")
    with torch.no_grad():
        predicted = net(torch.from_numpy(data.x).reshape(-1, *input_shape)).argmax(1).numpy()
    return float((predicted == data.y).mean())


def main() -> None:
    """Train, report and save every net."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY
    torch.set_num_threads(1)
    for name, (build, input_shape) in NETS.items():
        net = train(build, input_shape)
        path = directory / f"{name}.onnx"
        export(path, net, input_shape)
        print(f"{path}: {path.stat().st_size:,} bytes, test accuracy {accuracy(net, input_shape):.1%}")


if __name__ == "__main__":
    main()
