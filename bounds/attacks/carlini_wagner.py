"""The penalty method of Carlini & Wagner: the squared distance plus a weight times how far the goal is from holding.

Towards evaluating the robustness of neural networks, 2017. The box is kept by a change of variable, x = middle +
span·tanh(w); Adam moves w; the weight of each goal is searched for: more while it is not reached, then bisection.
The goal's value is taken in units of its gradient at the center, so that one set of constants serves any net.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bounds.attacks.base import Attack, AttackBatch, Candidates, Runs
from bounds.attacks.walk import Nearest, linear_rate
from encoders.question import Norm

WEIGHTS = 9  # tried one after the other
GROW = 10.0
STEP = 0.05
LONGER = 4  # times the steps of the other attacks: each of Adam's is short
INSIDE = 1e-3  # a start this far (of half the box) from its sides: tanh is flat on them


class CarliniWagner(Attack):
    """See the module."""

    name: ClassVar[str] = "carlini-wagner"
    norms: ClassVar[frozenset[Norm]] = frozenset({Norm.L2})

    def search(self, batch: AttackBatch, known: Candidates) -> Candidates:
        runs = batch.every_goal()
        nearest = Nearest.of(runs)
        value, gradient = runs.linearised(runs.start)
        nearest.see(runs.start, value)
        scale = linear_rate(gradient)
        # Where the goal is linear, the minimum reaches it from the weight 2 · distance on.
        weight = (2.0 * value.clamp_min(0.0) / scale).clamp_min(1e-6)
        low, high = torch.zeros_like(weight), torch.full_like(weight, torch.inf)
        for _ in range(WEIGHTS):
            if batch.time_left <= 0:
                break
            won = self.minimise(runs, weight / scale, nearest)
            high = torch.where(won, torch.minimum(high, weight), high)
            low = torch.where(won, low, torch.maximum(low, weight))
            weight = torch.where(high.isfinite(), (low + high) / 2.0, weight * GROW)
        return nearest.proposals()

    def minimise(self, runs: Runs, weight: Tensor, nearest: Nearest) -> Tensor:
        """One run of Adam from the center; which rows ever were adversaries."""
        middle, span = (runs.upper + runs.lower) / 2.0, (runs.upper - runs.lower) / 2.0
        place = ((runs.center - middle) / span.clamp_min(1e-300)).clamp(INSIDE - 1.0, 1.0 - INSIDE)
        won = torch.zeros(len(runs), dtype=torch.bool, device=weight.device)
        with torch.enable_grad():
            w = torch.atanh(place).expand(len(runs), -1).clone().requires_grad_()
            descent = torch.optim.Adam([w], lr=STEP)
            for _ in range(LONGER * runs.batch.options.steps):
                x = runs.clip(middle + span * torch.tanh(w))
                value = runs.worst(x)
                nearest.see(x.detach(), value.detach())
                won |= value.detach() <= 0
                loss = (x - runs.center).square().sum(1) + weight * value.clamp_min(0.0)
                descent.zero_grad()
                loss.sum().backward()  # type: ignore[no-untyped-call]
                descent.step()
                if runs.batch.time_left <= 0:
                    break
        return won
