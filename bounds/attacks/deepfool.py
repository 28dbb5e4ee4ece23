"""Straight to the boundary as the gradient sees it, again and again until it is crossed.

Moosavi-Dezfooli, Fawzi & Frossard, DeepFool: a simple and accurate method to fool deep neural networks, 2016. They
follow the class that looks nearest at each step; here every goal is followed at once, and the nearest result wins.
The steps heed the box: the closed form is that of halfspace ∩ box, not of the halfspace alone.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from bounds.attacks.base import Attack, AttackBatch, Candidates
from bounds.attacks.walk import Nearest
from bounds.geometry.halfspace_distance import nearest_in_halfspace

OVERSHOOT = 1.02


class DeepFool(Attack):
    """See the module."""

    name: ClassVar[str] = "deepfool"

    def search(self, batch: AttackBatch, known: Candidates) -> Candidates:
        runs = batch.every_goal()
        x, nearest = runs.start, Nearest.of(runs)
        for _ in range(batch.options.steps + 1):
            value, gradient = runs.linearised(x)
            nearest.see(x, value)
            left = value > 0
            if not left.any() or batch.time_left <= 0:
                break
            step = nearest_in_halfspace(gradient, value, x - runs.lower, runs.upper - x, runs.norm)[1]
            x = torch.where(left.unsqueeze(1), runs.clip(x + OVERSHOOT * step.nan_to_num()), x)
        return nearest.proposals()
