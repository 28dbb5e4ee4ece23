"""What every regulariser shares: one signature, options that are its fields, and a check of what it returns.

A regulariser is a frozen dataclass; its fields are its options, validated once. The loss of a batch is

    natural weight · cross-entropy  +  Σ over regularisers of strength · penalty
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from encoders.errors import OptionError, TrainingError
from trainers.layers import piecewise_linear, steps_of


@dataclass(frozen=True, eq=False)
class Batch:
    """One step of training: `outputs` are module(inputs), with gradients to `inputs`; progress runs from 0 to 1."""

    module: nn.Module
    inputs: Tensor
    labels: Tensor
    outputs: Tensor
    progress: float = 1.0


@dataclass(frozen=True)
class Regulariser(ABC):
    """One technique. `strength` multiplies its penalty (for dropout it is the rate)."""

    name: ClassVar[str]
    needs_relus: ClassVar[bool] = False  # it speaks of linear pieces, which a smooth net has none of
    strength: float = 1.0

    def __post_init__(self) -> None:
        require(self, "strength", self.strength >= 0 and math.isfinite(self.strength), "a number, zero or more")

    @final
    def prepared(self, module: nn.Module) -> nn.Module:
        """The module to train; one that the technique says nothing of is refused."""
        if self.needs_relus:
            piecewise_linear(steps_of(module), f"regulariser {self.name}")
        return self.prepare(module)

    def prepare(self, module: nn.Module) -> nn.Module:
        """The module to train, where the technique changes it; it must export to the same network."""
        return module

    def natural_weight(self, progress: float) -> float:
        """What the plain cross-entropy is multiplied by."""
        del progress
        return 1.0

    @abstractmethod
    def penalty(self, batch: Batch) -> Tensor:
        """The penalty, a mean over the batch, before the strength; differentiable in the weights."""

    @final
    def term(self, batch: Batch) -> Tensor:
        """strength · penalty; a penalty that is no finite number is refused by name."""
        penalty = self.penalty(batch)
        if penalty.dim() != 0:
            raise TrainingError(
                f"regulariser {self.name} returns a tensor of shape {tuple(penalty.shape)}, not a number"
            )
        if not bool(torch.isfinite(penalty.detach())):
            raise TrainingError(
                f"regulariser {self.name} returns {penalty.item():g}; lower its strength or the learning rate"
            )
        return self.strength * penalty


def require(owner: Regulariser, field: str, holds: bool, wanted: str) -> None:
    """One option's check: OptionError names the regulariser, the option and what it may be."""
    if not holds:
        raise OptionError(f"regulariser {owner.name}: {field} is {getattr(owner, field)!r}; give {wanted}")


def ramp(progress: float, start: float, end: float) -> float:
    """0 until `start`, 1 from `end` on, linear in between: the schedules of certified training."""
    if progress >= end:
        return 1.0
    return max(0.0, (progress - start) / (end - start))


def score_gradients(batch: Batch) -> Tensor:
    """∇f_l(x_i) of every class and sample: [B, K, n], differentiable in the weights.

    One vectorised backward pass over K copies. It takes samples for independent, which BatchNorm in training is not:
    there the gradient is that of the whole batch's scores.
    """
    count, classes = batch.outputs.shape
    seeds = torch.eye(classes, device=batch.outputs.device, dtype=batch.outputs.dtype)
    (found,) = torch.autograd.grad(
        batch.outputs,
        batch.inputs,
        seeds.unsqueeze(1).expand(classes, count, classes),
        create_graph=True,
        is_grads_batched=True,
    )
    return found.flatten(2).transpose(0, 1)


def weights_of(module: nn.Module) -> list[Tensor]:
    """The weight matrices and kernels; no biases, no BatchNorm factors."""
    return [parameter for parameter in module.parameters() if parameter.dim() > 1]
