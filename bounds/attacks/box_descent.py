"""Where in a box a goal is nearest: signed steps of a share of the box's width, from random points and its center.

For questions about a whole box, which ask for no near adversary: what falls is the goal's worst row alone. Each input
moves in the unit of its own width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bounds.attacks.base import AttackBatch, Candidates
from bounds.attacks.problem import AttackProblem

STEPS = 60
STEP, FALL = 0.25, 0.9  # of the width, the first; each step is this part of the one before


@torch.no_grad()
def lowest_in_box(problem: AttackProblem, rounds: int = 1) -> Candidates:
    """Adversaries of the problem's goals anywhere in its box, if any are found; still to be replayed."""
    batch = AttackBatch((problem,))
    copies = max(1, problem.options.restarts // max(1, batch.each))
    runs = batch.every_goal(copies)
    generator = torch.Generator().manual_seed(problem.options.seed + 4)
    width = runs.upper - runs.lower
    for number in range(rounds):
        share = torch.rand((len(runs), width.shape[1]), generator=generator, dtype=torch.float64).to(width)
        x = runs.lower + share * width
        if number == 0:
            x[::copies] = runs.center
        best, lowest = x, torch.full_like(x[:, 0], torch.inf)
        size: Tensor = STEP * width
        for _ in range(STEPS):
            value, gradient = runs.linearised(x)
            nearer = value < lowest
            best, lowest = torch.where(nearer.unsqueeze(1), x, best), torch.where(nearer, value, lowest)
            if batch.time_left <= 0 or bool((lowest < 0).any()):
                break
            x = runs.clip(x - size * gradient.sign())
            size = FALL * size
        if bool((lowest <= 0).any()) or batch.time_left <= 0:
            break
    won = lowest <= 0
    inputs = best[won].cpu().numpy()
    distances = runs.norm.length(inputs - runs.start[won].cpu().numpy())
    return Candidates(inputs, distances, runs.goal[won].cpu().numpy())
