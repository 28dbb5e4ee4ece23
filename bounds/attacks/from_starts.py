"""Adversaries near given points: a descent from each in a ball that shrinks for as long as it still holds one.

Good starts make the difference. Random inputs with the moments of a semidefinite relaxation are good ones: by steps of
a few hundredths of the ball they end far below where random starts of long steps do.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bounds.attacks.base import checked
from bounds.attacks.batch import AttackBatch, Runs
from bounds.attacks.problem import AttackProblem, Candidates
from bounds.attacks.steps import project, steepest_direction
from bounds.attacks.walk import Nearest

NAME = "from-starts"
SHRINKS = (0.96, 0.99, 0.997)  # of the ball, each for as long as it helps
STEPS = 24  # in each ball
STEP = 0.1  # of the radius, the first
KEPT = 0.75  # of a step's direction, for the next


@torch.no_grad()
def nearest_from(problem: AttackProblem, starts: Tensor) -> Candidates:
    """What is found from `starts` [B, n], towards the problem's only goal, nearer than its radius."""
    if not len(starts):
        return Candidates.none(starts.shape[1])
    batch = AttackBatch((problem,))
    runs = batch.runs(torch.zeros(len(starts), dtype=torch.int64, device=starts.device))
    found, x, radius = Nearest.of(runs), starts, problem.most
    for shrink in SHRINKS:
        while batch.time_left > 0:
            seen = _descended(runs, x, torch.full_like(found.distance, shrink * radius))
            hits = torch.isfinite(seen.distance)
            if not bool(hits.any()):
                break
            found.see(seen.best, torch.where(hits, -1.0, 1.0).to(seen.distance))
            nearest = seen.distance.argsort()[: int(hits.sum())]
            x = seen.best[nearest[torch.arange(len(x), device=x.device) % len(nearest)]]
            radius = float(seen.distance.min())
    return checked(batch, found.proposals(), NAME)


def _descended(runs: Runs, x: Tensor, radius: Tensor) -> Nearest:
    """Signs of a mean of gradients, by steps that fall to zero, every adversary noted."""
    seen, x = Nearest.of(runs), project(runs, x, radius)
    mean = torch.zeros_like(x)
    for step in range(STEPS + 1):
        value, gradient = runs.linearised(x)
        seen.see(x, value)
        if step == STEPS or runs.batch.time_left <= 0:
            break
        mean = KEPT * mean + gradient / gradient.abs().mean(1, keepdim=True).clamp_min(1e-30)
        share = 0.5 * STEP * (1.0 + math.cos(math.pi * step / STEPS))
        x = project(runs, x - steepest_direction(mean, runs.norm) * (share * radius).unsqueeze(1), radius)
    return seen
