"""Projected gradient descent that follows an adversary: from each win on, one a hundredth nearer is asked for.

Made for the portfolio, where another attack has found an adversary already. By itself it starts from the whole box,
and can come nearer by so many hundredths only as it has steps: `pgd.py` searches for the ball instead.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from bounds.attacks.base import Attack, AttackBatch, Candidates
from bounds.attacks.batch import lengths
from bounds.attacks.steps import project, steepest

SHRINK = 0.99  # the next radius, relative to the distance of the last win
FIRST_STEP = 0.25  # of the radius; falls linearly to LAST_STEP
LAST_STEP = 0.02


class ShrinkingPgd(Attack):
    """See the module."""

    name: ClassVar[str] = "shrinking-pgd"

    def search(self, batch: AttackBatch, known: Candidates) -> Candidates:
        generator = torch.Generator().manual_seed(batch.options.seed + 1)
        runs = batch.every_goal()
        best, distance = batch.best_known(known)
        radius = SHRINK * torch.minimum(distance, runs.most)
        noise = batch.noise(generator, batch.each, best.shape[1])
        noise = noise * (radius / lengths(noise, batch.norm).clamp_min(1e-30)).unsqueeze(1)
        x = torch.where(distance.isfinite().unsqueeze(1), best, runs.center + noise)
        x = project(runs, x, radius)
        steps = batch.options.steps
        for step in range(steps + 1):
            value, gradient = runs.linearised(x)
            length = runs.length(x)
            won = (value <= 0) & (length < distance)
            best = torch.where(won.unsqueeze(1), x, best)
            distance = torch.where(won, length, distance)
            radius = torch.where(won, SHRINK * length, radius)
            if step == steps or batch.time_left <= 0:
                break
            share = FIRST_STEP + (LAST_STEP - FIRST_STEP) * step / steps
            x = project(runs, x - steepest(runs, x, gradient) * (share * radius).unsqueeze(1), radius)
        return runs.proposals(best, distance)
