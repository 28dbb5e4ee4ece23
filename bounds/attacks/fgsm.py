"""The fast gradient sign method: one steepest step from the center, of the smallest size that wins.

Goodfellow, Shlens & Szegedy, Explaining and harnessing adversarial examples, 2015. They fix the size; here it is what
is looked for. In L2 and L1 the step is the steepest one of that norm.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bounds.attacks.base import Attack, AttackBatch, Candidates, Runs
from bounds.attacks.steps import steepest
from bounds.attacks.walk import first_wins
from encoders.question import Norm

ENTRIES = 0.1  # share of the inputs that an L1 step moves
BEYOND = 4.0  # of the reach: the steps of L2 and L1 go on in the other entries when the box has stopped some


class Fgsm(Attack):
    """See the module."""

    name: ClassVar[str] = "fgsm"

    def search(self, batch: AttackBatch, known: Candidates) -> Candidates:
        runs = batch.every_goal()
        return one_step(runs, runs.linearised(runs.start)[1])


def one_step(runs: Runs, gradient: Tensor) -> Candidates:
    """The first adversaries on the steepest steps down the gradient [B, n], from the centers."""
    center = runs.start
    step = steepest(runs, center, gradient, torch.full_like(runs.goal, int(ENTRIES * center.shape[1])))
    most = runs.reach.expand(len(runs)) * (1.0 if runs.norm is Norm.LINF else BEYOND)

    def path(size: Tensor) -> Tensor:
        return center - size.unsqueeze(-1) * step

    return first_wins(runs, path, most).proposals()
