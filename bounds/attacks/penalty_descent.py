"""Adam on a distance plus a weight times how far the goal is from holding, as Carlini & Wagner have it.

The box is kept by a change of variable, x = middle + span·tanh(w).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bounds.adam import Adam
from bounds.attacks.base import Runs
from bounds.attacks.walk import Nearest

INSIDE = 1e-3  # a start this far (of half the box) from its sides: tanh is flat on them

Distance = Callable[[Tensor], Tensor]
"""Moves x - center [B, n] → what is to be small [B]; differentiable."""


def square(move: Tensor) -> Tensor:
    """The squared distance."""
    return move.square().sum(1)


def penalised(
    runs: Runs, start: Tensor, weight: Tensor, distance: Distance, rate: float, steps: int, seen: Nearest
) -> tuple[Tensor, Tensor]:
    """One run of Adam from `start` [B, n]: which rows ever were adversaries, and of those the least by `distance`."""
    middle, span = (runs.upper + runs.lower) / 2.0, (runs.upper - runs.lower) / 2.0
    place = ((start - middle) / span.clamp_min(1e-300)).clamp(INSIDE - 1.0, 1.0 - INSIDE)
    best, least = start, torch.full_like(weight, torch.inf)
    with torch.enable_grad():
        w = torch.atanh(place).expand(len(runs), -1).clone().requires_grad_()
        descent = Adam([w])
        for _ in range(steps):
            x = runs.clip(middle + span * torch.tanh(w))
            value, length = runs.worst(x), distance(x - runs.center)
            seen.see(x.detach(), value.detach())
            better = (value.detach() <= 0) & (length.detach() < least)
            best = torch.where(better.unsqueeze(1), x.detach(), best)
            least = torch.where(better, length.detach(), least)
            loss = length + weight * value.clamp_min(0.0)
            loss.sum().backward()  # type: ignore[no-untyped-call]
            descent.step(rate)
            if runs.batch.time_left <= 0:
                break
    return least.isfinite(), best
