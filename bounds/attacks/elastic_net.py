"""The elastic net: squared distance plus L1 distance plus a weight times how far the goal is from holding.

Chen, Sharma, Zhang, Yi & Hsieh, EAD: elastic-net attacks to deep neural networks via adversarial examples, 2018.
Accelerated proximal steps: the L1 part is a soft threshold, the box a clip. The weight of each goal is searched for:
more while it is not reached, then bisection. The goal's value is taken in units of its largest partial derivative at
the center, so that one set of constants serves any net.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bounds.attacks.base import Attack, AttackBatch, Candidates, Runs
from bounds.attacks.walk import Nearest
from encoders.question import Norm

WEIGHTS = 9  # tried one after the other
GROW = 4.0
SPARSITY = 1.0  # of the L1 part; the square has one
SQUARE = 0.1
STEP = 0.2  # of the distance that the linear goal promises; falls to a tenth


class ElasticNet(Attack):
    """See the module."""

    name: ClassVar[str] = "elastic-net"
    norms: ClassVar[frozenset[Norm]] = frozenset({Norm.L1})

    def search(self, batch: AttackBatch, known: Candidates) -> Candidates:
        runs = batch.every_goal()
        nearest = Nearest.of(runs)
        value, gradient = runs.linearised(runs.start)
        nearest.see(runs.start, value)
        size = gradient.abs().amax(1)
        scale = torch.where(size > 0, size, 1.0)
        weight = torch.full_like(scale, 2.0 * SPARSITY)
        pace = (value.clamp_min(0.0) / scale).clamp(1e-3, 1.0) * STEP
        low, high = torch.zeros_like(weight), torch.full_like(weight, torch.inf)
        for _ in range(WEIGHTS):
            if batch.time_left <= 0:
                break
            won = self.minimise(runs, weight / scale, pace, nearest)
            high = torch.where(won, torch.minimum(high, weight), high)
            low = torch.where(won, low, torch.maximum(low, weight))
            weight = torch.where(high.isfinite(), (low + high) / 2.0, weight * GROW)
        return nearest.proposals()

    def minimise(self, runs: Runs, weight: Tensor, pace: Tensor, nearest: Nearest) -> Tensor:
        """One run of proximal steps from the center; which rows ever were adversaries."""
        center = runs.center
        x = ahead = runs.start
        won = torch.zeros(len(runs), dtype=torch.bool, device=x.device)
        steps = runs.batch.options.steps
        for step in range(steps):
            value, gradient = runs.linearised(ahead)
            nearest.see(ahead, value)
            won |= value <= 0
            if runs.batch.time_left <= 0:
                break
            slope = weight.unsqueeze(1) * gradient * (value > 0).unsqueeze(1) + 2.0 * SQUARE * (ahead - center)
            length = (pace * (1.0 - 0.9 * step / steps)).unsqueeze(1)
            moved = ahead - length * slope - center
            moved = moved.sign() * (moved.abs() - length * SPARSITY).clamp_min(0.0)
            before, x = x, runs.clip(center + moved)
            ahead = runs.clip(x + step / (step + 3.0) * (x - before))
        value = runs.worst(x)
        nearest.see(x, value)
        return won | (value <= 0)
