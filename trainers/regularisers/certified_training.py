"""Regularisers that train through bounds over the L∞ ball: stable ReLUs, and certified training with its schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.certified import Interval, box_around, crown_margins, interval_margins, intervals
from trainers.layers import Step, steps_of
from trainers.regularisers.base import Batch, Regulariser, ramp, require


@dataclass(frozen=True)
class _InABall(Regulariser):
    """`radius` of the L∞ ball, in input units."""

    radius: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "radius", self.radius > 0, "a radius above zero")


@dataclass(frozen=True)
class ReluStability(_InABall):
    """-Σ over ReLUs of tanh(1 + l·u), a mean over the batch: few phases stay open, which makes verifying cheap.

    l and u are interval bounds on the ball. Xiao et al., Training for faster adversarial robustness verification via
    inducing ReLU stability, 2019.
    """

    name: ClassVar[str] = "relu-stability"
    needs_relus: ClassVar[bool] = True
    strength: float = 1e-3

    def penalty(self, batch: Batch) -> Tensor:
        steps = steps_of(batch.module)
        known = intervals(steps, box_around(batch.inputs.detach(), self.radius))
        total = batch.outputs.new_zeros(())
        for step in steps:
            if isinstance(step.module, nn.ReLU):
                bounds = known[step.sources[0]]
                total = total - torch.tanh(1.0 + bounds.low * bounds.high).flatten(1).sum(1).mean()
        return total


@dataclass(frozen=True)
class IntervalTraining(_InABall):
    """Cross-entropy of the worst scores that interval bounds allow on the ball; its radius grows over the training.

    Until `start` (share of the training) only the plain loss; from `start` to `end` the radius grows to `radius` and
    the plain loss' weight falls to `last_natural_weight`, the bound's rises to one minus that.
    """

    name: ClassVar[str] = "ibp"
    start: float = 0.1
    end: float = 0.7
    last_natural_weight: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "start", 0 <= self.start < 1, "a share of the training, 0 or more")
        require(self, "end", self.start < self.end <= 1, "a share of the training after start, at most 1")
        require(self, "last_natural_weight", 0 <= self.last_natural_weight < 1, "a number from 0, less than 1")

    def natural_weight(self, progress: float) -> float:
        return 1.0 - (1.0 - self.last_natural_weight) * ramp(progress, self.start, self.end)

    def penalty(self, batch: Batch) -> Tensor:
        grown = ramp(batch.progress, self.start, self.end)
        if grown == 0.0:
            return batch.outputs.new_zeros(())
        steps = steps_of(batch.module)
        known = intervals(steps, box_around(batch.inputs.detach(), grown * self.radius))
        margins = self.margins(steps, known, batch.labels, grown)
        return (1.0 - self.natural_weight(batch.progress)) * functional.cross_entropy(-margins, batch.labels)

    def margins(self, steps: tuple[Step, ...], known: list[Interval], labels: Tensor, grown: float) -> Tensor:
        """Lower bounds [B, K] of f_y - f_j on the ball."""
        del grown
        return interval_margins(steps, known, labels)


@dataclass(frozen=True)
class CrownIntervalTraining(IntervalTraining):
    """Like ibp, with a backward linear relaxation over the intervals, which fades into them as the radius grows."""

    name: ClassVar[str] = "crown-ibp"
    needs_relus: ClassVar[bool] = True
    last_crown_share: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "last_crown_share", 0 <= self.last_crown_share <= 1, "a share from 0 to 1")

    def margins(self, steps: tuple[Step, ...], known: list[Interval], labels: Tensor, grown: float) -> Tensor:
        share = 1.0 + (self.last_crown_share - 1.0) * grown
        plain = interval_margins(steps, known, labels)
        return plain if share == 0.0 else share * crown_margins(steps, known, labels) + (1.0 - share) * plain
