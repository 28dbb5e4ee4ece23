"""The table of architectures: a new one is a function and a line here, or a plugin (`plumbline.architectures`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import nn

from encoders.errors import OptionError
from encoders.plugins import Table
from trainers.layers import Residual, Subsampled

Shape = tuple[int, ...]
Builder = Callable[[Shape, int, tuple[int, ...]], nn.Module]
Shortcut = Callable[[int, int, int], nn.Module]
SHARPNESS = 10.0  # of a softplus, log(1 + exp(κt)) / κ


def dense(shape: Shape, classes: int, widths: tuple[int, ...]) -> nn.Module:
    """Hidden layers of the given widths, a ReLU after each."""
    return _dense(shape, classes, widths, nn.ReLU)


def dense_softplus(shape: Shape, classes: int, widths: tuple[int, ...]) -> nn.Module:
    """The same with a softplus after each: bounds and attacks for one hidden layer, no exact distance."""
    return _dense(shape, classes, widths, lambda: nn.Softplus(SHARPNESS))


def _dense(shape: Shape, classes: int, widths: tuple[int, ...], activation: Callable[[], nn.Module]) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    size = math.prod(shape)
    for width in widths:
        layers += [nn.Linear(size, width), activation()]
        size = width
    return nn.Sequential(*layers, nn.Linear(size, classes))


def lenet_small(shape: Shape, classes: int, widths: tuple[int, ...]) -> nn.Module:
    """Two convolutions 4x4 of stride 2 and one hidden layer, as in the papers on provable robustness."""
    first, second, hidden = widths
    channels, height, width = shape
    image = (height // 4) * (width // 4) * second  # a kernel of 4, stride 2 and padding 1 halves each side
    return nn.Sequential(
        nn.Conv2d(channels, first, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(first, second, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(image, hidden),
        nn.ReLU(),
        nn.Linear(hidden, classes),
    )


def convolved(inputs: int, outputs: int, stride: int) -> nn.Module:
    """A 1x1 convolution with BatchNorm: the shortcut that is trained."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))


def residual_block(inputs: int, outputs: int, stride: int, shortcut: Shortcut) -> nn.Module:
    """Two 3x3 convolutions with BatchNorm around a shortcut, which is the identity unless the shape changes."""
    main = nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
    )
    if stride == 1 and inputs == outputs:
        return nn.Sequential(Residual(main), nn.ReLU())
    return nn.Sequential(Residual(main, shortcut(inputs, outputs, stride)), nn.ReLU())


def residual_net(blocks: int, shortcut: Shortcut = convolved) -> Builder:
    """`blocks` residual blocks a stage, the image halved from stage to stage, the mean of each map at the end."""

    def build(shape: Shape, classes: int, widths: tuple[int, ...]) -> nn.Module:
        first = widths[0]
        layers: list[nn.Module] = [
            nn.Conv2d(shape[0], first, 3, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
        ]
        inputs = first
        for stage, outputs in enumerate(widths):
            for block in range(blocks):
                layers.append(residual_block(inputs, outputs, 2 if stage and not block else 1, shortcut))
                inputs = outputs
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))

    return build


class Architecture(NamedTuple):
    """How a network is built, for an input shape, a number of classes and widths; and its widths unless others are."""

    build: Builder
    widths: tuple[int, ...]


OWN: Mapping[str, Architecture] = {
    "fc1": Architecture(dense, (1024,)),
    "fc2": Architecture(dense, (256, 256)),
    "fc4": Architecture(dense, (256,) * 4),
    "fc6": Architecture(dense, (256,) * 6),
    "fc1-softplus": Architecture(dense_softplus, (1024,)),
    "lenet-small": Architecture(lenet_small, (16, 32, 100)),
    "resnet-small": Architecture(residual_net(1), (8, 16)),
    "resnet32": Architecture(residual_net(5), (16, 32, 64)),
    "resnet32-a": Architecture(residual_net(5, Subsampled), (16, 32, 64)),
}
ARCHITECTURES: Table[Architecture] = Table("plumbline.architectures", "model", Architecture, OWN)


def build(name: str, shape: Shape, classes: int, widths: tuple[int, ...] = ()) -> nn.Module:
    """A fresh module for inputs [B, channels, height, width]; its weights come from torch's random state."""
    builder, usual = check(name, widths)
    if name in ARCHITECTURES and builder not in (dense, dense_softplus) and (len(shape) != 3 or min(shape[1:]) < 4):
        raise OptionError(f"model {name} reads images of at least 4x4 pixels, not inputs of shape {shape}; use fc1")
    module = builder(shape, classes, widths or usual)
    if not isinstance(module, nn.Module):
        raise OptionError(f"model {name} builds a {type(module).__name__}; have it build a torch module")
    return module


def check(name: str, widths: tuple[int, ...]) -> Architecture:
    """The table's entry; an unknown name or widths that do not fit it are refused."""
    found = ARCHITECTURES.found(name)
    usual = found.widths
    if widths and (len(widths) != len(usual) or min(widths) < 1):
        raise OptionError(
            f"model {name} has {len(usual)} width{'s' * (len(usual) > 1)}, such as "
            f"{','.join(map(str, usual))}; not {','.join(map(str, widths))}"
        )
    return found
