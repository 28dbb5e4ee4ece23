"""A module as a list of steps, and what each kind of layer does to values, to differences and to widths of intervals.

Exporters, interval bounds, linear relaxations and Jacobians are all walks over the same steps, so that a new layer is
one branch in each of the three functions below and one line in the exporter. BatchNorm means what it means after
training (running statistics), and dropout nothing: that is the network whose robustness is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders.errors import ModelError


class Residual(nn.Module):
    """main(x) + shortcut(x)."""

    def __init__(self, main: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.main = main
        self.shortcut = nn.Identity() if shortcut is None else shortcut

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.main(x) + self.shortcut(x))


class Subsampled(nn.Module):
    """Every `stride`-th pixel of each map, and maps of zeros behind them up to `outputs`: a shortcut without weights.

    Option A of He et al., Deep residual learning for image recognition, 2016.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.added = outputs - inputs
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))


AFFINE = (nn.Linear, nn.Conv2d, nn.BatchNorm2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, Subsampled)
ACTIVATIONS = (nn.ReLU, nn.Softplus)
"""All of them rise, entry by entry; only a ReLU has linear pieces."""


@dataclass(frozen=True, eq=False)
class Step:
    """One layer: `module` applied to value sources[0], or the sum of its sources where there is no module.

    Value 0 is the input; step k makes value k + 1.
    """

    module: nn.Module | None
    sources: tuple[int, ...]


def steps_of(module: nn.Module) -> tuple[Step, ...]:
    """The steps of a module made of Sequential, Residual and the layers known here; anything else is refused."""
    steps: list[Step] = []
    _walk(module, 0, steps)
    return tuple(steps)


def _walk(module: nn.Module, source: int, steps: list[Step]) -> int:
    """Append the module's steps; returns the position of its value."""
    if isinstance(module, nn.Sequential):
        for child in module:
            source = _walk(child, source, steps)
        return source
    if isinstance(module, nn.Identity | nn.Dropout):
        return source
    if isinstance(module, Residual):
        sources = (_walk(module.main, source, steps), _walk(module.shortcut, source, steps))
        steps.append(Step(None, sources))
    elif isinstance(module, (*AFFINE, *ACTIVATIONS)):
        steps.append(Step(module, (source,)))
    else:
        known = ", ".join(kind.__name__ for kind in (*AFFINE, *ACTIVATIONS, nn.Dropout, nn.Identity, nn.Sequential))
        raise ModelError(f"a layer {type(module).__name__} is not known to the trainers; use {known} or Residual")
    return len(steps)


def piecewise_linear(steps: tuple[Step, ...], what: str) -> tuple[Step, ...]:
    """The same steps; a net with a smooth activation is refused, in the name of what needs linear pieces."""
    if any(isinstance(step.module, nn.Softplus) for step in steps):
        raise ModelError(f"{what} needs a net of ReLUs, and this one has Softplus; choose another model")
    return steps


def affine(module: nn.Module, x: Tensor) -> Tensor:
    """The layer itself, BatchNorm by its running statistics."""
    if isinstance(module, nn.BatchNorm2d):
        mean, variance = cast(Tensor, module.running_mean), cast(Tensor, module.running_var)
        return functional.batch_norm(x, mean, variance, module.weight, module.bias, False, 0.0, module.eps)
    return cast(Tensor, module(x))


def linear(module: nn.Module, x: Tensor, absolute: bool = False) -> Tensor:
    """The layer without its bias; with `absolute`, by the absolute values of its weights."""

    def weights(weight: Tensor) -> Tensor:
        return weight.abs() if absolute else weight

    if isinstance(module, nn.Linear):
        return functional.linear(x, weights(module.weight))
    if isinstance(module, nn.Conv2d):
        return functional.conv2d(
            x, weights(module.weight), None, module.stride, module.padding, module.dilation, module.groups
        )
    if isinstance(module, nn.BatchNorm2d):
        factor = module.weight / (cast(Tensor, module.running_var) + module.eps).sqrt()
        return x * weights(factor)[:, None, None]
    return cast(Tensor, module(x))


def adjoint(module: nn.Module, y: Tensor, input_shape: tuple[int, ...]) -> Tensor:
    """The transpose of `linear` applied to each row of y; differentiable in the weights."""
    zeros = y.new_zeros(len(y), *input_shape).requires_grad_()
    (found,) = torch.autograd.grad(linear(module, zeros), zeros, y, create_graph=True)
    return found


def constant(module: nn.Module, input_shape: tuple[int, ...], like: Tensor) -> Tensor:
    """The layer's bias as a value [1, …]."""
    return affine(module, like.new_zeros(1, *input_shape))


def values_of(steps: tuple[Step, ...], x: Tensor) -> list[Tensor]:
    """Every value of a batch, as the exported network computes it."""
    values = [x]
    for step in steps:
        inputs = [values[k] for k in step.sources]
        if step.module is None:
            values.append(inputs[0] + inputs[1])
        elif isinstance(step.module, ACTIVATIONS):
            values.append(step.module(inputs[0]))
        else:
            values.append(affine(step.module, inputs[0]))
    return values
