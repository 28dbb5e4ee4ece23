"""Adam on what a node's bound may be tuned by, projected to what is valid: nothing here can make a bound wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bounds.nodes.records import N, Nodes, Pass
from bounds.reduced_net.stacked_nets import Stack

TRUST = 1.0
FIRST_MOMENT, SECOND_MOMENT = 0.8, 0.95


@dataclass(eq=False)
class SlopeAscent:
    """Adam on the slopes, multipliers and row weights of a batch of nodes."""

    unit: Tensor  # [N, 1] the size of the goal's coefficients
    logits: Tensor  # [N, J]
    moments: list[Tensor]  # mean and square for slopes, multipliers and weights
    taken: int = 0

    @classmethod
    def start(cls, stack: Stack, nodes: Nodes) -> SlopeAscent:
        """At the nodes as they are."""
        unit = stack.goal_z[nodes.goal].abs().amax((-1, -2)).clamp_min(1e-12).unsqueeze(-1)
        like = [nodes.slope] * 4 + [nodes.row_weight] * 2
        return cls(unit, nodes.row_weight.clamp_min(1e-9).log(), [torch.zeros_like(each) for each in like])

    def take(self, index: Tensor) -> SlopeAscent:
        return SlopeAscent(self.unit[index], self.logits[index], [m[index] for m in self.moments], self.taken)

    def step(self, current: N, seen: Pass, enough: Tensor, pace: float) -> N:
        """One step from `current`, which was `seen`, as long as reaching `enough` [N] takes."""
        self.taken += 1
        moments = self.moments
        h, behind = seen.preactivation, seen.behind
        is_open = current.phase == 0
        slope_gradient = behind.clamp_min(0.0) * h * is_open / self.unit
        multiplier_gradient = -current.phase.to(h.dtype) * h
        slope = current.slope + pace * adam(slope_gradient, moments[0], moments[1], self.taken)
        ascent = adam(multiplier_gradient, moments[2], moments[3], self.taken)
        multiplier = (current.multiplier + 0.5 * pace * self.unit * ascent) * ~is_open
        weight = current.row_weight
        if weight.shape[1] > 1:
            tilt = weight * (seen.goal_values - (weight * seen.goal_values).sum(-1, keepdim=True))
            self.logits = self.logits + 3.0 * pace * adam(tilt, moments[4], moments[5], self.taken)
            weight = self.logits.softmax(-1)
        slope_step = slope.clamp(0.0, 1.0) - current.slope
        multiplier_step = multiplier.clamp_min(0.0) - current.multiplier
        # The distance is concave here: more than the linear model promises it cannot gain, and no more is wanted.
        promised = behind.clamp_min(0.0) * h * is_open * slope_step + multiplier_gradient * multiplier_step
        promised = (seen.rate * promised.sum(-1)).clamp_min(1e-30)
        share = ((TRUST * (enough - seen.distance)) / promised).clamp_max(1.0).unsqueeze(-1)
        return replace(
            current,
            slope=current.slope + share * slope_step,
            multiplier=current.multiplier + share * multiplier_step,
            row_weight=weight,
        )


def adam(gradient: Tensor, mean: Tensor, square: Tensor, step: int) -> Tensor:
    mean.mul_(FIRST_MOMENT).add_(gradient, alpha=1 - FIRST_MOMENT)
    square.mul_(SECOND_MOMENT).addcmul_(gradient, gradient, value=1 - SECOND_MOMENT)
    correction = (1 - SECOND_MOMENT**step) ** 0.5 / (1 - FIRST_MOMENT**step)
    step_taken: Tensor = correction * mean / (square.sqrt() + 1e-30)
    return step_taken
