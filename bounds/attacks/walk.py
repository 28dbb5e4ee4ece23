"""What several attacks share: the nearest adversary met on the way, and the first win along a path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.attacks.base import Candidates, Runs

GRID = 33  # sizes tried at once along a path
REFINEMENTS = 3

Path = Callable[[Tensor], Tensor]
"""Sizes [G, B] → points [G, B, n]; the larger the size, the farther from the center."""


def linear_rate(gradient: Tensor) -> Tensor:
    """‖gradient‖₂ of each row [B]; one where it is zero, so that it can be divided by."""
    size = gradient.square().sum(1).sqrt()
    return torch.where(size > 0, size, 1.0)


@dataclass(eq=False)
class Nearest:
    """Of each row the nearest adversary seen so far, and its distance (inf: none yet)."""

    runs: Runs
    best: Tensor
    distance: Tensor

    @classmethod
    def of(cls, runs: Runs) -> Nearest:
        """Nothing seen yet."""
        return cls(runs, runs.start, runs.start.new_full((len(runs),), torch.inf))

    def see(self, x: Tensor, value: Tensor) -> Tensor:
        """Keep the adversaries among x [B, n] (worst row value at most zero) that are nearer; says which those are."""
        length = self.runs.length(x)
        nearer = (value <= 0) & (length < self.distance)
        self.best = torch.where(nearer.unsqueeze(1), x, self.best)
        self.distance = torch.where(nearer, length, self.distance)
        return nearer

    def proposals(self) -> Candidates:
        """What was seen, as candidates still to be checked."""
        return self.runs.proposals(self.best, self.distance)


def first_wins(runs: Runs, path: Path, most: Tensor) -> Nearest:
    """The first adversary on each row's path from size 0 to `most` [B], as finely as a grid of grids sees it."""
    nearest = Nearest.of(runs)
    low, high = torch.zeros_like(most), most
    rows = torch.arange(len(runs), device=most.device)
    share = torch.linspace(0.0, 1.0, GRID).to(most).unsqueeze(1)
    for refinement in range(REFINEMENTS):
        if runs.batch.time_left <= 0:
            break
        # The first grid is finer near the center, where most adversaries are.
        sizes = low + (share.square() if refinement == 0 else share) * (high - low)
        points = runs.clip(path(sizes))
        values = runs.worst(points)
        won = values <= 0
        first = won.int().argmax(0)
        nearest.see(points[first, rows], values[first, rows])
        found = won.any(0)
        high = torch.where(found, sizes[first, rows], high)
        low = torch.where(found, sizes[(first - 1).clamp_min(0), rows], low)
    return nearest
