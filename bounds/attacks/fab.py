"""Minimal-norm linearised steps: walk to the boundary as the gradient sees it, and always a little to the center.

After FAB (Croce & Hein, Minimally distorted adversarial examples with a fast adaptive boundary attack, 2020). At x the
goal's worst row is taken for linear; x moves to a mean of the nearest point of that halfspace ∩ box from x (it keeps
the step where the linear form is true) and from the center (it makes the distance minimal). After each win x is
pulled back towards the center. All goals and all restarts are one batch.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bounds.attacks.base import Attack, AttackProblem, Candidates, lengths
from bounds.halfspace import nearest_in_halfspace

OVERSHOOT = 1.05
MOST_FROM_CENTER = 0.3
PULL_BACK = 0.9
NEAR = 1.5  # relative to the nearest goal


class Fab(Attack):
    """See the module."""

    name: ClassVar[str] = "fab"

    def search(self, problem: AttackProblem, known: Candidates) -> Candidates:
        generator = torch.Generator().manual_seed(problem.options.seed)
        goal = torch.arange(len(problem.goals), device=problem.center.device)
        found, distance = self.walk(problem, problem.center.expand(len(goal), -1), goal)
        parts = [problem.proposals(found, distance, goal)]
        if problem.options.restarts and problem.time_left > 0:
            # The nearest goals get the random starts: a far goal's local minima decide nothing.
            distance = torch.minimum(distance, problem.best_known(known)[1])
            near = goal[distance <= NEAR * distance.min()]
            again = near[torch.arange(problem.options.restarts, device=near.device) % len(near)]
            noise = torch.rand((len(again), problem.center.numel()), generator=generator, dtype=torch.float64)
            noise = noise.to(found) * 2 - 1
            size = distance[again].nan_to_num(posinf=min(problem.radius, problem.region.reach(problem.norm)))
            size = size * torch.linspace(0.4, 1.0, len(again)).to(size)
            noise = noise * (size / lengths(noise, problem.norm).clamp_min(1e-30)).unsqueeze(1)
            found, distance = self.walk(problem, problem.clip(problem.center + noise), again)
            parts.append(problem.proposals(found, distance, again))
        return Candidates.merged(parts)

    def walk(self, problem: AttackProblem, start: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest adversaries met on the way from `start` [B, n], and their distances (inf: none)."""
        x, best = start, start
        distance = start.new_full((len(start),), torch.inf)
        center, lower, upper, norm = problem.center, problem.lower, problem.upper, problem.norm
        for _ in range(problem.options.steps):
            value, gradient = problem.linearised(x, goal)
            length = problem.length(x)
            won = (value <= 0) & (length < distance)
            best = torch.where(won.unsqueeze(1), x, best)
            distance = torch.where(won, length, distance)
            if problem.time_left <= 0:
                break
            # Beyond the boundary the same halfspace is approached from its other side.
            side = torch.where(value > 0, 1.0, -1.0).to(value)
            slope = gradient * side.unsqueeze(1)
            _, here, _ = nearest_in_halfspace(slope, value.abs(), x - lower, upper - x, norm)
            at_center = value + (gradient * (center - x)).sum(1)
            _, home, _ = nearest_in_halfspace(gradient, at_center, center - lower, upper - center, norm)
            here, home = here.nan_to_num(), home.nan_to_num()
            near, far = lengths(here, norm), lengths(home, norm)
            mix = (near / (near + far).clamp_min(1e-30)).clamp_max(MOST_FROM_CENTER).unsqueeze(1)
            x = problem.clip((1 - mix) * (x + OVERSHOOT * here) + mix * (center + OVERSHOOT * home))
            x = torch.where(won.unsqueeze(1), center + PULL_BACK * (best - center), x)
        return best, distance
