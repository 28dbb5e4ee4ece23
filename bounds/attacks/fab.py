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
from bounds.halfspace import minimiser_shift

OVERSHOOT = 1.05
MOST_FROM_CENTER = 0.1
PULL_BACK = 0.9


class Fab(Attack):
    """See the module."""

    name: ClassVar[str] = "fab"

    def search(self, problem: AttackProblem, known: Candidates) -> Candidates:
        generator = torch.Generator().manual_seed(problem.options.seed)
        count, device = len(problem.goals), problem.center.device
        goal = torch.arange(count, device=device)
        best = problem.center.expand(count, -1).clone()
        distance = best.new_full((count,), torch.inf)
        for k, length in enumerate(known.distances):
            g = int(known.goal[k])
            if length < distance[g]:
                best[g], distance[g] = problem.lowered.tensor(known.inputs[k]), length
        for restart in range(problem.options.restarts + 1):
            if problem.time_left <= 0:
                break
            start = problem.center.expand(count, -1)
            if restart:
                scale = torch.where(distance.isfinite(), distance, best.new_tensor(problem.radius)) / 2
                noise = 2 * torch.rand(best.shape, generator=generator, dtype=torch.float64).to(best) - 1
                noise = noise / lengths(noise, problem.norm).clamp_min(1e-12).unsqueeze(1)
                start = problem.clip(start + noise * scale.unsqueeze(1))
            found, length = self.walk(problem, start, goal)
            nearer = length < distance
            best = torch.where(nearer.unsqueeze(1), found, best)
            distance = torch.where(nearer, length, distance)
        hit = distance.isfinite()
        inputs = best[hit].double().cpu().numpy()
        distances = problem.norm.length(inputs - problem.region.center)
        return Candidates(inputs, distances, goal[hit].cpu().numpy())

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
            here, _ = minimiser_shift(slope, value.abs(), x - lower, upper - x, norm)
            at_center = value + (gradient * (center - x)).sum(1)
            home, _ = minimiser_shift(gradient, at_center, center - lower, upper - center, norm)
            here, home = here.nan_to_num(), home.nan_to_num()
            near, far = lengths(here, norm), lengths(home, norm)
            mix = (near / (near + far).clamp_min(1e-30)).clamp_max(MOST_FROM_CENTER).unsqueeze(1)
            x = problem.clip((1 - mix) * (x + OVERSHOOT * here) + mix * (center + OVERSHOOT * home))
            x = torch.where(won.unsqueeze(1), center + PULL_BACK * (best - center), x)
        return best, distance
