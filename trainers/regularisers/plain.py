"""The classics: nothing at all, small weights, few weights, and neurons dropped at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from trainers.layers import ACTIVATIONS, Residual
from trainers.regularisers.base import Batch, Regulariser, require, weights_of


@dataclass(frozen=True)
class Nothing(Regulariser):
    """The plainly trained network that every other is compared with."""

    name: ClassVar[str] = "none"

    def penalty(self, batch: Batch) -> Tensor:
        return batch.outputs.new_zeros(())


@dataclass(frozen=True)
class WeightDecay(Regulariser):
    """Σ w²/2 over all weights, biases left out."""

    name: ClassVar[str] = "weight-decay"
    strength: float = 1e-3

    def penalty(self, batch: Batch) -> Tensor:
        return torch.stack([weight.square().sum() for weight in weights_of(batch.module)]).sum() / 2


@dataclass(frozen=True)
class WeightSparsity(Regulariser):
    """Σ |w| over all weights, biases left out."""

    name: ClassVar[str] = "l1-sparsity"
    strength: float = 1e-4

    def penalty(self, batch: Batch) -> Tensor:
        return torch.stack([weight.abs().sum() for weight in weights_of(batch.module)]).sum()


@dataclass(frozen=True)
class Dropout(Regulariser):
    """Each hidden neuron is left out of a step with probability `strength` (Srivastava et al., 2014).

    In a residual net only what is between the convolutions of a block: what a shortcut carries on stays whole
    (Zagoruyko & Komodakis, Wide residual networks, 2016).
    """

    name: ClassVar[str] = "dropout"
    strength: float = 0.5

    def __post_init__(self) -> None:
        require(self, "strength", 0 <= self.strength < 1, "a rate of at least 0 and less than 1")

    def prepare(self, module: nn.Module) -> nn.Module:
        """A dropout layer after every activation; of a residual net, after those within a block alone."""
        return self._dropped(module, not any(isinstance(part, Residual) for part in module.modules()))

    def _dropped(self, module: nn.Module, here: bool) -> nn.Module:
        if isinstance(module, nn.Sequential):
            return nn.Sequential(*(self._dropped(child, here) for child in module))
        if isinstance(module, Residual):
            return Residual(self._dropped(module.main, True), module.shortcut)
        drops = here and isinstance(module, ACTIVATIONS)
        return nn.Sequential(module, nn.Dropout(self.strength)) if drops else module

    def penalty(self, batch: Batch) -> Tensor:
        return batch.outputs.new_zeros(())
