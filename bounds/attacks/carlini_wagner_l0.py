"""Carlini & Wagner's form in L0: the L2 form on ever fewer inputs.

After each win the inputs (or pixels) whose moves bring the goal least, by its gradient there, are put back for good.
They put back one or a few at a time; here a share, which halves whenever the rest does not win without them, down to a
single one.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from bounds.attacks.base import Runs
from bounds.attacks.penalty_descent import penalised, square
from bounds.attacks.pixel_greedy import moved_together
from bounds.attacks.walk import Nearest

ROUNDS = 32
WEIGHTS = 3  # tried for the first win
GROW = 10.0
RATE = 0.1  # of Adam
FIRST_SHARE = 0.5  # of the pixels, put back at once
LONGER = 2  # times the steps of the other attacks


def fewest(runs: Runs, weight: Tensor, scale: Tensor, nearest: Nearest) -> None:
    """Show `nearest` what is found; `weight` is the first, the goal's value is divided by `scale`."""
    batch, steps = runs.batch, LONGER * runs.batch.options.steps
    weight = GROW * weight
    pixel = moved_together(batch)
    best, won = runs.start, torch.zeros_like(runs.goal, dtype=torch.bool)
    for _ in range(WEIGHTS):
        if won.all() or batch.time_left <= 0:
            break
        now, x = penalised(runs, best, weight / scale, square, RATE, steps, nearest)
        best, weight = torch.where((now & ~won).unsqueeze(1), x, best), torch.where(won | now, weight, GROW * weight)
        won = won | now
    share = torch.full_like(weight, FIRST_SHARE)
    for _ in range(ROUNDS):
        if batch.time_left <= 0:
            break
        _, gradient = runs.linearised(best)
        gain = (gradient * (runs.center - best)).clamp_min(0.0)
        moves = by_pixel(best != runs.center, pixel) > 0
        gain = by_pixel(gain, pixel).masked_fill(~moves, torch.inf)
        left = moves.sum(1)
        fewer = (share * left).long().clamp_min(1)
        frees = won & (left > 1) & (share > 0)
        if not frees.any():
            break
        rank = gain.argsort(dim=1, stable=True).argsort(dim=1)
        kept = (moves & (rank >= fewer.unsqueeze(1)))[:, pixel]
        closed = replace(
            runs, lower=torch.where(kept, runs.lower, runs.center), upper=torch.where(kept, runs.upper, runs.center)
        )
        now, x = penalised(closed, torch.where(kept, best, runs.center), weight / scale, square, RATE, steps, nearest)
        best = torch.where((now & frees).unsqueeze(1), x, best)
        # One alone that cannot be spared ends a row.
        share = torch.where(now, share, torch.where(fewer > 1, share / 2.0, 0.0))


def by_pixel(of_inputs: Tensor, pixel: Tensor) -> Tensor:
    """Sums over the inputs [B, n] of each pixel."""
    none = torch.zeros(len(of_inputs), int(pixel.max()) + 1, dtype=torch.float64, device=of_inputs.device)
    return none.index_add(1, pixel, of_inputs.to(torch.float64))
