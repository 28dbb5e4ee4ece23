"""What several attacks share: the nearest adversary met on the way, and the first win along a path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.attacks.base import AttackProblem, Candidates

GRID = 33  # sizes tried at once along a path
REFINEMENTS = 3

Path = Callable[[Tensor], Tensor]
"""Sizes [B] → points [B, n]; the larger the size, the farther from the center."""


def every_goal(problem: AttackProblem, copies: int = 1) -> Tensor:
    """The positions of all goals, each `copies` times in a row."""
    return torch.arange(len(problem.goals), device=problem.center.device).repeat_interleave(copies)


def linear_rate(gradient: Tensor) -> Tensor:
    """‖gradient‖₂ of each row [B]; one where it is zero, so that it can be divided by."""
    size = gradient.square().sum(1).sqrt()
    return torch.where(size > 0, size, 1.0)


@dataclass(eq=False)
class Nearest:
    """Of each row the nearest adversary seen so far, and its distance (inf: none yet)."""

    problem: AttackProblem
    goal: Tensor
    best: Tensor
    distance: Tensor

    @classmethod
    def of(cls, problem: AttackProblem, goal: Tensor) -> Nearest:
        """Nothing seen yet."""
        best = problem.center.expand(len(goal), -1)
        return cls(problem, goal, best, best.new_full((len(goal),), torch.inf))

    def see(self, x: Tensor, value: Tensor) -> Tensor:
        """Keep the adversaries among x [B, n] (worst row value at most zero) that are nearer; says which those are."""
        length = self.problem.length(x)
        nearer = (value <= 0) & (length < self.distance)
        self.best = torch.where(nearer.unsqueeze(1), x, self.best)
        self.distance = torch.where(nearer, length, self.distance)
        return nearer

    def proposals(self) -> Candidates:
        """What was seen, as candidates still to be checked."""
        return self.problem.proposals(self.best, self.distance, self.goal)


def first_wins(problem: AttackProblem, goal: Tensor, path: Path, most: Tensor) -> Nearest:
    """The first adversary on each row's path from size 0 to `most` [B], as finely as a grid of grids sees it."""
    nearest = Nearest.of(problem, goal)
    low, high = torch.zeros_like(most), most
    rows = torch.arange(len(goal), device=goal.device)
    share = torch.linspace(0.0, 1.0, GRID).to(most).unsqueeze(1)
    for refinement in range(REFINEMENTS):
        if problem.time_left <= 0:
            break
        # The first grid is finer near the center, where most adversaries are.
        sizes = low + (share.square() if refinement == 0 else share) * (high - low)
        points = problem.clip(torch.stack([path(size) for size in sizes]))
        values = problem.worst(points.flatten(0, 1), goal.repeat(GRID)).reshape(GRID, -1)
        won = values <= 0
        first = won.int().argmax(0)
        nearest.see(points[first, rows], values[first, rows])
        found = won.any(0)
        if not found.any():
            break
        high = torch.where(found, sizes[first, rows], high)
        low = torch.where(found, sizes[(first - 1).clamp_min(0), rows], low)
    return nearest
