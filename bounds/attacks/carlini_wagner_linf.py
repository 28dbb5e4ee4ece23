"""Carlini & Wagner's form in L∞: only what moves farther than a threshold costs, and the threshold falls.

The largest move alone would give the descent one entry at a time to work on. With each win the threshold falls below
what was found; with each failure the goal counts more, and the threshold halves its way back up.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bounds.attacks.base import Runs, to_boundary
from bounds.attacks.penalty_descent import penalised
from bounds.attacks.walk import Nearest

THRESHOLDS = 12  # tried one after the other
FALL = 0.9
GROW = 4.0
RATE = 0.1  # of Adam
LONGER = 2  # times the steps of the other attacks


def least_largest(runs: Runs, weight: Tensor, scale: Tensor, nearest: Nearest) -> None:
    """Show `nearest` what is found; `weight` is the first, the goal's value is divided by `scale`."""
    low, threshold = torch.zeros_like(weight), runs.reach.expand(len(runs))
    start, steps = runs.start, LONGER * runs.batch.options.steps
    for _ in range(THRESHOLDS):
        if runs.batch.time_left <= 0:
            break
        allowed = threshold.unsqueeze(1)

        def excess(move: Tensor, allowed: Tensor = allowed) -> Tensor:
            return (move.abs() - allowed).clamp_min(0.0).sum(1)

        _, best = penalised(runs, start, weight / scale, excess, RATE, steps, nearest)
        pulled = to_boundary(runs, best)
        nearer = nearest.see(pulled, runs.worst(pulled)) | (nearest.distance < threshold)
        start = torch.where(nearest.distance.isfinite().unsqueeze(1), nearest.best, start)
        high = torch.minimum(nearest.distance, runs.reach)
        low = torch.where(nearer, low, torch.maximum(low, threshold)).minimum(high)
        weight = torch.where(nearer, weight, GROW * weight)
        threshold = torch.maximum(FALL * high, (low + high) / 2.0).minimum(high)
