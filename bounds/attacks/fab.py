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

from bounds.attacks.base import Attack, AttackBatch, Candidates, Runs
from bounds.attacks.batch import lengths
from bounds.geometry.halfspace_distance import nearest_in_halfspace

OVERSHOOT = 1.05
MOST_FROM_CENTER = 0.3
PULL_BACK = 0.9
NEAR = 1.5  # relative to the nearest goal


class Fab(Attack):
    """See the module."""

    name: ClassVar[str] = "fab"

    def search(self, batch: AttackBatch, known: Candidates) -> Candidates:
        runs = batch.every_goal()
        found, distance = self.walk(runs, runs.start)
        parts = [runs.proposals(found, distance)]
        if batch.options.restarts and batch.time_left > 0:
            distance = torch.minimum(distance, batch.best_known(known)[1])
            again = batch.runs(self.nearest_goals(batch, distance))
            noise = batch.noise(
                torch.Generator().manual_seed(batch.options.seed), batch.options.restarts, found.shape[1]
            )
            size = distance[again.goal]
            size = torch.where(size.isfinite(), size, again.most)
            size = size * torch.linspace(0.4, 1.0, batch.options.restarts).to(size).repeat(len(batch.problems))
            noise = noise * (size / lengths(noise, batch.norm).clamp_min(1e-30)).unsqueeze(1)
            found, distance = self.walk(again, again.clip(again.center + noise))
            parts.append(again.proposals(found, distance))
        return Candidates.merged(parts)

    @staticmethod
    def nearest_goals(batch: AttackBatch, distance: Tensor) -> Tensor:
        """Goals for the random starts: each sample's nearest in turn, as a far goal's local minima decide nothing."""
        own = distance.reshape(-1, batch.each)
        near = own <= NEAR * own.amin(1, keepdim=True)
        order = near.int().argsort(dim=1, descending=True, stable=True)
        turn = torch.arange(batch.options.restarts, device=near.device) % near.sum(1, keepdim=True)
        first = batch.each * torch.arange(len(own), device=near.device).unsqueeze(1)
        return (first + order.gather(1, turn)).flatten()

    def walk(self, runs: Runs, start: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest adversaries met on the way from `start` [B, n], and their distances (inf: none)."""
        x, best = start, start
        distance = start.new_full((len(start),), torch.inf)
        center, lower, upper, norm = runs.center, runs.lower, runs.upper, runs.norm
        from_lower, to_upper = (side.expand_as(start) for side in (center - lower, upper - center))
        for _ in range(runs.batch.options.steps):
            value, gradient = runs.linearised(x)
            length = runs.length(x)
            won = (value <= 0) & (length < distance)
            best = torch.where(won.unsqueeze(1), x, best)
            distance = torch.where(won, length, distance)
            if runs.batch.time_left <= 0:
                break
            # Beyond the boundary the same halfspace is approached from its other side.
            side = torch.where(value > 0, 1.0, -1.0).to(value)
            slope = gradient * side.unsqueeze(1)
            at_center = value + (gradient * (center - x)).sum(1)
            both = torch.cat([slope, gradient]), torch.cat([value.abs(), at_center])
            rooms = torch.cat([x - lower, from_lower]), torch.cat([upper - x, to_upper])
            here, home = nearest_in_halfspace(*both, *rooms, norm)[1].chunk(2)
            here, home = here.nan_to_num(), home.nan_to_num()
            near, far = lengths(here, norm), lengths(home, norm)
            mix = (near / (near + far).clamp_min(1e-30)).clamp_max(MOST_FROM_CENTER).unsqueeze(1)
            x = runs.clip((1 - mix) * (x + OVERSHOOT * here) + mix * (center + OVERSHOOT * home))
            x = torch.where(won.unsqueeze(1), center + PULL_BACK * (best - center), x)
        return best, distance
