"""The fast gradient sign method: one steepest step from the center, of the smallest size that wins.

Goodfellow, Shlens & Szegedy, Explaining and harnessing adversarial examples, 2015. They fix the size; here it is what
is looked for. In L2 and L1 the step is the steepest one of that norm.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bounds.attacks.base import Attack, AttackProblem, Candidates
from bounds.attacks.pgd import steepest
from bounds.attacks.walk import every_goal, first_wins
from encoders.question import Norm

ENTRIES = 0.1  # share of the inputs that an L1 step moves
BEYOND = 4.0  # of the reach: the steps of L2 and L1 go on in the other entries when the box has stopped some


class Fgsm(Attack):
    """See the module."""

    name: ClassVar[str] = "fgsm"

    def search(self, problem: AttackProblem, known: Candidates) -> Candidates:
        goal = every_goal(problem)
        center = problem.center.expand(len(goal), -1)
        _, gradient = problem.linearised(center, goal)
        step = steepest(problem, center, gradient, torch.full_like(goal, int(ENTRIES * center.shape[1])))
        reach = problem.region.reach(problem.norm) * (1.0 if problem.norm is Norm.LINF else BEYOND)

        def path(size: Tensor) -> Tensor:
            return center - size.unsqueeze(1) * step

        most = torch.full((len(goal),), reach).to(center)
        return first_wins(problem, goal, path, most).proposals()
